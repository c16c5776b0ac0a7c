"""Labelled texts: a line, a row of a table or a JSON object each.

Reads  train.txt …     `__label__spam __label__short buy now`     (ClassificationCorpus, the format of fastText)
Reads  train.csv …     columns of a table                          (CSVClassificationCorpus)
Reads  train.jsonl …   `{"text": "buy now", "label": "spam"}`      (JSONLClassificationCorpus)
"""

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from charlm.data.sentence import Sentence
from charlm.datasets.files import FileCorpus, check_known, collector_paused, mistake, read_json_lines, read_lines
from charlm.errors import DatasetError

PREFIX = "__label__"
LabelledText = tuple[int, list[str], str]
"""Line number, labels and text."""


class ClassificationCorpus(FileCorpus):
    """Texts with `__label__X` in front, one a line.

    Args:
        data_folder: where the files are.
        label_type: the layer that the labels get.
        train_file, test_file, dev_file: their names; without any, the names in the folder tell (see `find_splits`).
        use_tokenizer: whether words are looked for; otherwise they stand between spaces.
        encoding: of the files.

    Raises DatasetError with file and line where a line has no label or no text.
    """

    def __init__(
        self,
        data_folder: Path | str,
        label_type: str = "class",
        train_file: Path | str | None = None,
        test_file: Path | str | None = None,
        dev_file: Path | str | None = None,
        *,
        use_tokenizer: bool = True,
        encoding: str = "utf-8",
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        def read(path: Path) -> list[Sentence]:
            texts = read_labelled_lines(path, encoding)
            return label_texts(path, texts, label_type, use_tokenizer=use_tokenizer)

        named = (train_file, dev_file, test_file)
        super().__init__(data_folder, named, read, name=name, sample_missing_splits=sample_missing_splits)


class CSVClassificationCorpus(FileCorpus):
    """Texts in the rows of a table.

    Args:
        data_folder: where the files are.
        column_name_map: which columns hold `text` (joined where there are several) and which hold a `label`, counted
            from 0: `{0: "label", 2: "text"}`. Columns whose name begins with `label` all hold one.
        label_type: the layer that the labels get.
        skip_header: whether the first row is left out.
        delimiter: what stands between columns.
    """

    def __init__(
        self,
        data_folder: Path | str,
        column_name_map: Mapping[int, str],
        label_type: str = "class",
        train_file: Path | str | None = None,
        test_file: Path | str | None = None,
        dev_file: Path | str | None = None,
        *,
        skip_header: bool = False,
        delimiter: str = ",",
        use_tokenizer: bool = True,
        encoding: str = "utf-8",
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        texts = sorted(column for column, what in column_name_map.items() if what == "text")
        labels = sorted(column for column, what in column_name_map.items() if what.startswith("label"))
        if not texts or not labels:
            raise DatasetError('say which columns hold "text" and "label", for example {0: "label", 1: "text"}')

        def read(path: Path) -> list[Sentence]:
            rows = read_rows(path, texts, labels, skip_header, delimiter, encoding)
            return label_texts(path, rows, label_type, use_tokenizer=use_tokenizer)

        named = (train_file, dev_file, test_file)
        super().__init__(data_folder, named, read, name=name, sample_missing_splits=sample_missing_splits)


class JSONLClassificationCorpus(FileCorpus):
    """Texts in JSON objects, one a line.

    Args:
        data_folder: where the files are.
        text_field: name of the field with the text.
        label_field: name of the field with its label, or with a list of labels. Where the text is a list too, each of
            its texts has the label at the same place: `{"sentences": ["A.", "B."], "labels": ["aim", "result"]}`.
        label_type: the layer that the labels get.
    """

    def __init__(
        self,
        data_folder: Path | str,
        text_field: str = "text",
        label_field: str = "label",
        label_type: str = "class",
        train_file: Path | str | None = None,
        test_file: Path | str | None = None,
        dev_file: Path | str | None = None,
        *,
        use_tokenizer: bool = True,
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        def read(path: Path) -> list[Sentence]:
            texts = read_objects(path, text_field, label_field)
            return label_texts(path, texts, label_type, use_tokenizer=use_tokenizer)

        named = (train_file, dev_file, test_file)
        super().__init__(data_folder, named, read, name=name, sample_missing_splits=sample_missing_splits)


@collector_paused()
def label_texts(
    path: Path,
    texts: Iterator[LabelledText],
    label_type: str,
    *,
    use_tokenizer: bool = True,
    known: Collection[str] | None = None,
) -> list[Sentence]:
    """Sentences with their labels.

    Raises DatasetError with file and line where one has no label or no text, or a label is not among `known`.
    """
    sentences = []
    for number, labels, text in texts:
        sentence = Sentence(text, use_tokenizer=use_tokenizer)
        if not len(sentence):
            raise mistake(path, number, "the text is empty")
        if not labels:
            raise mistake(path, number, f"the text has no label: {text.strip()[:60]!r}")
        for label in dict.fromkeys(labels):
            check_known(path, number, label, known)
            sentence.add_label(label_type, label)
        sentences.append(sentence)
    if not sentences:
        raise mistake(path, 1, "the file holds no text")
    return sentences


def read_labelled_lines(path: Path, encoding: str = "utf-8") -> Iterator[LabelledText]:
    """The lines of the format of fastText."""
    for number, line in read_lines(path, encoding):
        if not line.strip():
            continue
        labels = []
        rest = line.lstrip()
        while rest.startswith(PREFIX):
            label, _, rest = rest.partition(" ")
            labels.append(label.removeprefix(PREFIX))
            rest = rest.lstrip()
        if not all(labels):
            raise mistake(path, number, f"a label is missing behind {PREFIX}")
        yield number, labels, rest


def read_rows(
    path: Path,
    texts: Sequence[int],
    labels: Sequence[int],
    skip_header: bool = False,
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> Iterator[LabelledText]:
    """The rows of a table; a quoted field may hold line breaks."""
    rows = csv.reader((f"{line}\n" for _, line in read_lines(path, encoding)), delimiter=delimiter, strict=True)
    width = max(chain(texts, labels)) + 1
    number = 1  # the line that the next row begins at
    try:
        for row in rows:
            if row and not (skip_header and number == 1):
                if len(row) < width:
                    raise mistake(path, number, f"{width} columns are needed, and {len(row)} found")
                yield (
                    number,
                    [row[column] for column in labels if row[column]],
                    " ".join(row[column] for column in texts),
                )
            number = rows.line_num + 1
    except csv.Error as error:
        raise mistake(path, number, f"this is no table: {error}") from error


def read_objects(path: Path, text_field: str = "text", label_field: str = "label") -> Iterator[LabelledText]:
    """The texts of JSON objects, one object a line."""
    for number, value in read_json_lines(path):
        text, labels = (_field(path, number, value, name) for name in (text_field, label_field))
        if isinstance(text, str):
            yield number, [labels] if isinstance(labels, str) else labels, text
            continue
        if isinstance(labels, str) or len(text) != len(labels):
            raise mistake(path, number, f"there must be as many labels in {label_field!r} as texts in {text_field!r}")
        for one_text, label in zip(text, labels, strict=True):
            yield number, [label], one_text


def _field(path: Path, number: int, value: Any, name: str) -> str | list[str]:
    """A text, or a list of texts."""
    if not isinstance(value, dict) or name not in value:
        raise mistake(path, number, f"the object has no field {name!r}")
    found = value[name]
    if isinstance(found, str) or (isinstance(found, list) and all(isinstance(item, str) for item in found)):
        return found
    raise mistake(path, number, f"the field {name!r} holds neither text nor a list of texts")
