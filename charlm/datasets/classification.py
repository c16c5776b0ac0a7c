"""Labelled texts: a line, a row of a table or a JSON object each.

Reads  train.txt …     `__label__spam __label__short buy now`     (ClassificationCorpus, the format of fastText)
Reads  train.csv …     columns of a table                          (CSVClassificationCorpus)
Reads  train.jsonl …   `{"text": "buy now", "label": "spam"}`      (JSONLClassificationCorpus)
"""

from collections.abc import Mapping
from pathlib import Path

from charlm.data.sentence import Sentence
from charlm.datasets.files import FileCorpus
from charlm.datasets.lines import ReadingRules
from charlm.datasets.texts import label_texts, read_labelled_lines, read_objects, read_table
from charlm.errors import DatasetError


class ClassificationCorpus(FileCorpus):
    """Texts with labels `__label__X`, one a line.

    Args:
        data_folder: where the files are.
        label_type: the layer that the labels get.
        train_file, test_file, dev_file: their names; without any, the names in the folder decide (see `find_splits`).
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
            texts = read_labelled_lines(path, ReadingRules(encoding=encoding))
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
        skip_header: whether the first row is left out; None leaves it out where it is a header (see `find_header`).
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
        skip_header: bool | None = None,
        delimiter: str = ",",
        use_tokenizer: bool = True,
        encoding: str = "utf-8",
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        texts = sorted(column for column, what in column_name_map.items() if what == "text")
        labels = sorted(column for column, what in column_name_map.items() if what.startswith("label"))
        if not texts or not labels:
            raise DatasetError('name the columns of "text" and "label", for example {0: "label", 1: "text"}')

        def read(path: Path) -> list[Sentence]:
            rules = ReadingRules(encoding=encoding, header=skip_header)
            rows = read_table(path, texts, labels, delimiter, rules)
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
        encoding: str = "utf-8",
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        def read(path: Path) -> list[Sentence]:
            texts = read_objects(path, text_field, label_field, ReadingRules(encoding=encoding))
            return label_texts(path, texts, label_type, use_tokenizer=use_tokenizer)

        named = (train_file, dev_file, test_file)
        super().__init__(data_folder, named, read, name=name, sample_missing_splits=sample_missing_splits)
