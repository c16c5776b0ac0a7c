"""Corpora of words in columns, under the names and with the arguments that they have in Flair.

Reads  train.txt …   `Berlin<TAB>B-LOC`, in BIO, IOB1, BIOES, BILOU or BMES where a column labels spans

How columns are read: columns.py; what columns other than labels mean, and the options: column_options.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.datasets.base import FlairDatapointDataset
from charlm.datasets.column_options import ColumnOptions
from charlm.datasets.columns import read_columns
from charlm.datasets.files import find_splits
from charlm.datasets.lines import ReadingRules
from charlm.errors import DatasetError

Files = Sequence[Path | str] | None


class MultiFileColumnCorpus(Corpus):
    """A corpus of words in columns, from any number of files for each split.

    Args:
        column_format: what stands in which column, counted from 0: `{0: "text", 1: "pos", 3: "ner"}`; some names have
            a meaning of their own (column_options.py).
        train_files, test_files, dev_files: their paths.
        column_delimiter: what stands between columns, as text or as a regular expression; by default a tab where most
            rows have one, else ASCII blanks.
        comment_symbol: lines that begin with it are left out. Comments `# …` before sentences always are.
        encoding: of the files.
        in_memory: has no effect; all sentences are held in memory.
        check_tags: whether tags in a wrong order are an error; otherwise they are read as conlleval reads them.
        name, sample_missing_splits, random_seed: see Corpus.
        options: the fields of ColumnOptions, such as `skip_first_line`, `label_name_map`, `banned_sentences`.

    Raises DatasetError with file and line where a row has too few or too many columns, or a tag is wrong.
    """

    def __init__(
        self,
        column_format: Mapping[int, str],
        train_files: Files = None,
        test_files: Files = None,
        dev_files: Files = None,
        column_delimiter: str | None = None,
        comment_symbol: str | None = None,
        encoding: str = "utf-8",
        *,
        in_memory: bool = True,
        check_tags: bool = True,
        name: str = "corpus",
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        random_seed: int | None = 0,
        **options: object,
    ) -> None:
        splits = [[Path(path) for path in files or ()] for files in (train_files, dev_files, test_files)]
        reading = _column_options(options)
        read = iter(
            read_columns(
                [path for paths in splits for path in paths],
                column_format,
                column_delimiter=column_delimiter,
                comment_symbol=comment_symbol,
                rules=ReadingRules(encoding=encoding),
                check_tags=check_tags,
                options=reading,
            )
        )
        train, dev, test = (
            [s for _ in paths for s in reading.finish(next(read))] if paths else None for paths in splits
        )
        super().__init__(train, dev, test, name, sample_missing_splits, random_seed)


class ColumnCorpus(MultiFileColumnCorpus):
    """A corpus of words in columns, from a file for each split.

    Args:
        data_folder: where the files are.
        column_format: see MultiFileColumnCorpus, as are all other arguments.
        train_file, test_file, dev_file: their names; without any, the names in the folder tell (see `find_splits`).
        autofind_splits: whether names are looked for in the folder.
        comment_symbol: `# ` in Flair; here comments before sentences are known without it.
    """

    def __init__(
        self,
        data_folder: Path | str,
        column_format: Mapping[int, str],
        train_file: Path | str | None = None,
        test_file: Path | str | None = None,
        dev_file: Path | str | None = None,
        autofind_splits: bool = True,
        name: str | None = None,
        comment_symbol: str | None = None,
        *,
        column_delimiter: str | None = None,
        encoding: str = "utf-8",
        in_memory: bool = True,
        check_tags: bool = True,
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        random_seed: int | None = 0,
        **options: object,
    ) -> None:
        files = find_splits(data_folder, train_file, dev_file, test_file, look=autofind_splits)
        super().__init__(
            column_format,
            [files.train] if files.train else None,
            [files.test] if files.test else None,
            [files.dev] if files.dev else None,
            column_delimiter,
            comment_symbol,
            encoding,
            in_memory=in_memory,
            check_tags=check_tags,
            name=name or str(data_folder),
            sample_missing_splits=sample_missing_splits,
            random_seed=random_seed,
            **options,
        )


class ColumnDataset(FlairDatapointDataset[Sentence]):
    """The sentences of one file of words in columns; the arguments are those of MultiFileColumnCorpus."""

    def __init__(
        self,
        path_to_column_file: Path | str,
        column_name_map: Mapping[int, str],
        column_delimiter: str | None = None,
        comment_symbol: str | None = None,
        *,
        encoding: str = "utf-8",
        in_memory: bool = True,
        check_tags: bool = True,
        **options: object,
    ) -> None:
        reading = _column_options(options)
        (sentences,) = read_columns(
            [Path(path_to_column_file)],
            column_name_map,
            column_delimiter=column_delimiter,
            comment_symbol=comment_symbol,
            rules=ReadingRules(encoding=encoding),
            check_tags=check_tags,
            options=reading,
        )
        super().__init__(reading.finish(sentences))


def _column_options(options: dict[str, object]) -> ColumnOptions:
    """The options by their names; those that are None are not set."""
    known = ColumnOptions.__dataclass_fields__
    if unknown := [name for name in options if name not in known]:
        raise DatasetError(f"no option {unknown[0]!r} of a reader of columns; there are {', '.join(known)}")
    return ColumnOptions(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
