"""The text files of a prepared corpus, with what its manifest knows of each, and in batches for several workers.

A worker is given what it needs to know of its files, so that it never reads the manifest: that of very many shards
takes longer to read than a shard takes to count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.text.corpus.encoding import split_files
from charlm.text.corpus.manifest import CorpusManifest

_NUM_ALONE = 64  # so many files are a batch each, and can be followed one by one
_MOST_BATCHES = 512
_BATCH_BYTES = 50_000_000
_BYTES_OF_A_FILE = 100_000  # as many take as long as a file without text


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A train shard, `valid` or `test`."""

    name: str
    """`train_split_0001`, `valid` or `test`."""

    path: Path
    sha256: str | None
    """None where the manifest does not have it."""

    bytes: int


@dataclass(frozen=True)
class FileBatch:
    """Some files in a row, for one worker."""

    files: tuple[TextFile, ...]

    @property
    def title(self) -> str:
        """Names of the first and the last one."""
        first, last = self.files[0].name, self.files[-1].name
        return first if first == last else f"{first} to {last}"


def text_files(corpus: CorpusFiles, manifest: CorpusManifest) -> list[TextFile]:
    """Every text file of a corpus: the train shards in their order, then `valid` and `test`."""
    known = {Path(name).name.removesuffix(".txt"): file for name, file in manifest.files.items()}
    files = []
    for name, path in split_files(corpus).items():
        record = known.get(name)
        size = record.end if record else path.stat().st_size
        files.append(TextFile(name=name, path=path, sha256=record.sha256 if record else None, bytes=size))
    return files


def in_batches(files: Sequence[TextFile]) -> list[FileBatch]:
    """The files in batches of about equal work; up to 64 files are a batch each."""
    if not files:
        return []
    num_bytes = sum(file.bytes for file in files)
    num_batches = min(len(files), max(_NUM_ALONE, min(_MOST_BATCHES, num_bytes // _BATCH_BYTES)))
    if num_batches == len(files):
        return [FileBatch((file,)) for file in files]
    work = np.array([file.bytes + _BYTES_OF_A_FILE for file in files], dtype=np.float64)
    middles = np.cumsum(work) - work / 2
    batch = (middles * num_batches / work.sum()).astype(np.int64)
    starts = np.flatnonzero(np.diff(batch, prepend=-1)).tolist()
    return [FileBatch(tuple(files[start:stop])) for start, stop in zip(starts, [*starts[1:], len(files)], strict=True)]
