"""The files of a labelled corpus, found in a folder, and the corpus that is made of them."""

import gc
import logging
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.datasets.lines import mistake
from charlm.errors import DatasetError

_LOGGER = logging.getLogger("charlm")
_WORD = re.compile("[a-z]+")
_SPLIT_WORDS = {
    "train": frozenset(["train", "training"]),
    "dev": frozenset(["dev", "devel", "development", "val", "valid", "validation", "testa"]),
    "test": frozenset(["test", "testing", "testb"]),
}
_PACKED = {".gz", ".zip", ".xz", ".bz2", ".zst"}


@dataclass(frozen=True)
class SplitFiles:
    """The file of each split; None where the corpus has no such file."""

    train: Path | None
    dev: Path | None
    test: Path | None

    @property
    def found(self) -> list[Path]:
        return [path for path in (self.train, self.dev, self.test) if path is not None]


class FileCorpus(Corpus):
    """A corpus with a file for each split.

    Args:
        data_folder: where the files are, and the name of the corpus where it has no other.
        named: the names of the files for train, dev and test; without any, the names in the folder decide.
        read: gives the sentences of a file.
        suffix: of the names that are considered.
    """

    def __init__(
        self,
        data_folder: Path | str,
        named: tuple[Path | str | None, Path | str | None, Path | str | None],
        read: Callable[[Path], list[Sentence]],
        *,
        suffix: str = "",
        name: str | None,
        sample_missing_splits: bool | Literal["only_dev", "only_test"],
    ) -> None:
        files = find_splits(data_folder, *named, suffix=suffix)
        train, dev, test = (read(path) if path else None for path in (files.train, files.dev, files.test))
        super().__init__(train, dev, test, name or str(data_folder), sample_missing_splits=sample_missing_splits)


def find_splits(
    folder: Path | str,
    train_file: Path | str | None = None,
    dev_file: Path | str | None = None,
    test_file: Path | str | None = None,
    *,
    suffix: str = "",
    look: bool = True,
) -> SplitFiles:
    """The files that are named, in `folder`; where none is and `look` is true, those whose names show what they are.

    `train` stands for train; `dev`, `val`, `valid` or `testa` for dev; `test` for test. Files of the same suffix that
    are not read are reported. Raises DatasetError when a file is missing, when no name shows a split, or when two
    files could be the same split.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"no folder with labelled data at {folder}")
    if train_file or dev_file or test_file or not look:
        return SplitFiles(*(_named(folder, name) for name in (train_file, dev_file, test_file)))
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and path.name.lower().endswith(suffix)
        and path.suffix.lower() not in _PACKED
    )
    train = _of_split(names, "train")
    dev = _of_split([name for name in names if name not in train], "dev")
    test = _of_split([name for name in names if name not in dev and name not in train], "test")
    files = SplitFiles(*(_only(folder, found) for found in (train, dev, test)))
    if not files.found:
        raise DatasetError(f"no file in {folder} has train, dev or test in its name; rename or choose: train_file=…")
    _report_others(folder, names, files.found)
    return files


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection in the block.

    A corpus is a million small objects that all stay: while they come, the collector looks at all of them again and
    again, which takes three quarters of the time to read the English Web Treebank (12 s against 3.3 s).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_known(path: Path, line: int, value: str, known: Collection[str] | None) -> None:
    """Raise DatasetError where a label is not among those that a model knows."""
    if known is not None and value not in known:
        raise mistake(path, line, f"the label {value!r} is unknown; the model knows {', '.join(sorted(known))}")


def _of_split(names: list[str], split: str) -> list[str]:
    """The names that have a word for a split in them; where none has, those that have it in a longer word."""
    words = _SPLIT_WORDS[split]
    whole = [name for name in names if not words.isdisjoint(_WORD.findall(name.lower()))]
    return whole or [name for name in names if any(word in name.lower() for word in words if word != "val")]


def _report_others(folder: Path, names: list[str], found: list[Path]) -> None:
    """Say which files look like those that were found, and are not read."""
    suffixes = {path.suffix for path in found}
    others = [
        name
        for name in names
        if Path(name).suffix in suffixes
        and folder / name not in found
        and not name.lower().startswith(("readme", "license"))
    ]
    if others:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        _LOGGER.warning("%s: not read, for no name says which split it is: %s", folder, shown)


def _named(folder: Path, name: Path | str | None) -> Path | None:
    if name is None:
        return None
    path = folder / name
    if not path.is_file():
        raise DatasetError(f"no file {path}")
    return path


def _only(folder: Path, names: list[str]) -> Path | None:
    if len(names) > 1:
        raise DatasetError(
            f"{folder} has several files for one split ({', '.join(names)}); rename or choose: train_file=…"
        )
    return folder / names[0] if names else None
