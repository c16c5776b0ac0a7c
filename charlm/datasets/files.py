"""The files of a labelled corpus, found in a folder, and the corpus that is made of them."""

import gc
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.datasets.lines import mistake
from charlm.errors import DatasetError

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
        named: the names of the files for train, dev and test; without any, the names in the folder tell.
        read: gives the sentences of a file.
        suffix: of the names that tell.
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
    """The files that are named, in `folder`; where none is and `look` is true, those whose names tell what they are.

    `train` stands for train; `dev`, `valid` or `testa` for dev; `test` for test. Raises DatasetError when a file is
    missing, when no name tells anything, or when two files could be the same split.
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
    train = [name for name in names if "train" in name.lower()]
    dev = [name for name in names if any(word in name.lower() for word in ("dev", "valid", "testa"))]
    test = [name for name in names if "test" in name.lower() and name not in dev and name not in train]
    files = SplitFiles(*(_only(folder, found) for found in (train, dev, test)))
    if not files.found:
        raise DatasetError(f"no file in {folder} has train, dev or test in its name; name them: train_file=…")
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


def _named(folder: Path, name: Path | str | None) -> Path | None:
    if name is None:
        return None
    path = folder / name
    if not path.is_file():
        raise DatasetError(f"no file {path}")
    return path


def _only(folder: Path, names: list[str]) -> Path | None:
    if len(names) > 1:
        raise DatasetError(f"{folder} has several files for one split ({', '.join(names)}); name them: train_file=…")
    return folder / names[0] if names else None
