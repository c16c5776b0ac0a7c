"""Labelled texts: a line, a row of a table or a JSON object each.

Reads  train.txt …     `__label__spam __label__short buy now`     (ClassificationCorpus, the format of fastText)
Reads  train.csv …     columns of a table                          (CSVClassificationCorpus)
Reads  train.jsonl …   `{"text": "buy now", "label": "spam"}`      (JSONLClassificationCorpus)
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from charlm.data.sentence import Sentence
from charlm.datasets.base import FlairDatapointDataset
from charlm.datasets.files import FileCorpus
from charlm.datasets.lines import ReadingRules
from charlm.datasets.text_options import TextOptions
from charlm.datasets.texts import label_texts, read_labelled_lines, read_objects, read_table
from charlm.errors import DatasetError

_DIALECT = frozenset(
    ["doublequote", "escapechar", "lineterminator", "quotechar", "quoting", "skipinitialspace", "strict"]
)
"""What the module csv takes beside the delimiter."""


class ClassificationCorpus(FileCorpus):
    """Texts with labels `__label__X`, one a line.

    Args:
        data_folder: where the files are.
        label_type: the layer that the labels get.
        train_file, test_file, dev_file: their names; without any, the names in the folder decide (see `find_splits`).
        encoding: of the files.
        options: the fields of TextOptions, such as `tokenizer` (`use_tokenizer`), `truncate_to_max_tokens`,
            `label_name_map`, `skip_labels` and `allow_examples_without_labels`.

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
        encoding: str = "utf-8",
        name: str | None = None,
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        **options: object,
    ) -> None:
        taken = TextOptions.take(options)

        def read(path: Path) -> list[Sentence]:
            texts = read_labelled_lines(path, ReadingRules(encoding=encoding))
            return label_texts(path, texts, label_type, options=taken)

        named = (train_file, dev_file, test_file)
        super().__init__(data_folder, named, read, name=name, sample_missing_splits=sample_missing_splits)


class ClassificationDataset(FlairDatapointDataset[Sentence]):
    """The texts of one file of lines `__label__X`; the options are those of ClassificationCorpus."""

    def __init__(
        self, path_to_file: Path | str, label_type: str = "class", *, encoding: str = "utf-8", **options: object
    ) -> None:
        path = Path(path_to_file)
        texts = read_labelled_lines(path, ReadingRules(encoding=encoding))
        super().__init__(label_texts(path, texts, label_type, options=TextOptions.take(options)))


class CSVClassificationCorpus(FileCorpus):
    """Texts in the rows of a table.

    Args:
        data_folder: where the files are.
        column_name_map: which columns hold `text` (joined where there are several) and which hold a `label`, counted
            from 0: `{0: "label", 2: "text"}`. Columns whose name begins with `label` all hold one.
        label_type: the layer that the labels get.
        skip_header: whether the first row is left out; None leaves it out where it is a header (see `find_header`).
        delimiter: what stands between columns.
        options: those of ClassificationCorpus, `no_class_label`, and what the module csv takes, such as `quotechar`.
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
        encoding: str = "utf-8",
        name: str | None = None,
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        **options: object,
    ) -> None:
        rules = ReadingRules(encoding=encoding, header=skip_header)
        read = partial(
            _read_csv, column_name_map=column_name_map, label_type=label_type, delimiter=delimiter, rules=rules
        )
        named = (train_file, dev_file, test_file)
        super().__init__(
            data_folder,
            named,
            partial(read, options=options),
            name=name,
            sample_missing_splits=sample_missing_splits,
        )


class CSVClassificationDataset(FlairDatapointDataset[Sentence]):
    """The texts of one table; the arguments are those of CSVClassificationCorpus."""

    def __init__(
        self,
        path_to_file: Path | str,
        column_name_map: Mapping[int, str],
        label_type: str = "class",
        *,
        skip_header: bool | None = None,
        delimiter: str = ",",
        encoding: str = "utf-8",
        **options: object,
    ) -> None:
        rules = ReadingRules(encoding=encoding, header=skip_header)
        super().__init__(
            _read_csv(
                Path(path_to_file),
                column_name_map=column_name_map,
                label_type=label_type,
                delimiter=delimiter,
                rules=rules,
                options=options,
            )
        )


def _read_csv(
    path: Path,
    *,
    column_name_map: Mapping[int, str],
    label_type: str,
    delimiter: str,
    rules: ReadingRules,
    options: Mapping[str, object],
) -> list[Sentence]:
    texts = sorted(column for column, what in column_name_map.items() if what == "text")
    labels = sorted(column for column, what in column_name_map.items() if what.startswith("label"))
    if not texts or not labels:
        raise DatasetError('name the columns of "text" and "label", for example {0: "label", 1: "text"}')
    dialect = {name: value for name, value in options.items() if name in _DIALECT}
    taken = TextOptions.take({name: value for name, value in options.items() if name not in _DIALECT})
    rows = read_table(path, texts, labels, delimiter, rules, dialect=dialect)
    return label_texts(path, rows, label_type, options=taken)


class JSONLClassificationCorpus(FileCorpus):
    """Texts in JSON objects, one a line.

    Args:
        data_folder: where the files are.
        text_field: name of the field with the text.
        label_field: name of the field with its label, or with a list of labels. Where the text is a list too, each of
            its texts has the label at the same place: `{"sentences": ["A.", "B."], "labels": ["aim", "result"]}`.
        label_type: the layer that the labels get.
        options: those of ClassificationCorpus.
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
        encoding: str = "utf-8",
        name: str | None = None,
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        **options: object,
    ) -> None:
        taken = TextOptions.take(options)

        def read(path: Path) -> list[Sentence]:
            texts = read_objects(path, text_field, label_field, ReadingRules(encoding=encoding))
            return label_texts(path, texts, label_type, options=taken)

        named = (train_file, dev_file, test_file)
        super().__init__(data_folder, named, read, name=name, sample_missing_splits=sample_missing_splits)
