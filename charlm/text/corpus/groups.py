"""Several processes read the sources of a revision, group by group, and one takes their documents in order.

Reads  raw text
Writes .groups/*    the batches of each group (batches.py), until they have been taken; then another group's

Groups are sources in a row, and always the same for the same sources. A few groups beyond the one that is being taken
are read ahead, so the disk holds a few groups twice. The corpus has the bytes that one process makes, as the documents
are the same and come in the same order. An error in a source is raised when its turn comes.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ParamSpec, Protocol, Self, TypeVar

from charlm.config import ReadConfig, SplitConfig
from charlm.errors import SourceError
from charlm.malloc import keep_freed_memory
from charlm.text.corpus.batches import Batch, SourceFacts, SourceReader, read_batch, write_batch
from charlm.text.sources.raw import Source, sha256_of_source

GROUP_BYTES = 32_000_000
"""Of the sources of a group, as stored, where there is less than 16 GB of text."""

_MOST_GROUPS = 512
_MOST_BYTES = 4_000_000_000
"""Of a source that is read ahead; a larger one is read when its turn comes, for want of room on the disk."""

_FILE_BUFFER = 1 << 20
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Awaited(Protocol[R_co]):
    """What a worker will have made."""

    def result(self) -> R_co:
        """It, when it is there; raises the error of the worker."""


class Workers(Protocol):
    """Processes that work for this one."""

    @property
    def groups_ahead(self) -> int:
        """How many groups they read beyond the one that is taken."""

    @property
    def are_here(self) -> bool:
        """True for processes of this machine, which see at once what is written over in a file."""

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Awaited[R]:
        """Let a worker call `read_group` or `measure_files`."""


@dataclass(frozen=True, kw_only=True)
class SourceRequest:
    """A source to read, as SourceReader takes it."""

    number: int
    source: Source
    held_out: str
    known: frozenset[str]
    """Digests with which it need not be read."""


@dataclass(frozen=True, kw_only=True)
class GroupRequest:
    """A group to read."""

    path: Path
    """Where its batches go."""

    sources: tuple[SourceRequest, ...]
    config: SplitConfig
    reading: ReadConfig
    sides: SplitConfig

    @property
    def title(self) -> str:
        """Names of the first and the last source."""
        first, last = self.sources[0].source.name, self.sources[-1].source.name
        return first if first == last else f"{first} to {last}"


@dataclass(frozen=True, kw_only=True)
class ReadSource:
    """A source that a worker has read."""

    start: int
    """The byte of the group's file where its batches begin."""

    num_batches: int
    facts: SourceFacts
    error: SourceError | None
    """Why the rest of it could not be read."""


@keep_freed_memory()
def read_group(request: GroupRequest) -> dict[int, ReadSource]:
    """Read the sources of a group; what is known of each by its number."""
    with open(request.path, "wb", buffering=_FILE_BUFFER, opener=_open_to_overwrite) as file:
        read = {asked.number: _read_source(asked, request, file) for asked in request.sources}
        file.truncate()
        return read


def _open_to_overwrite(path: str, flags: int) -> int:
    """Open a file without emptying it: pages that the system has for it already are cheaper to fill than new ones."""
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def _read_source(asked: SourceRequest, request: GroupRequest, file: IO[bytes]) -> ReadSource:
    start, num_batches, error = file.tell(), 0, None
    reader = SourceReader(asked.source, request.config, request.reading, sides=request.sides, held_out=asked.held_out)
    try:
        if asked.known and (digest := sha256_of_source(asked.source)) in asked.known:
            return ReadSource(start=start, num_batches=0, facts=SourceFacts(sha256=digest), error=None)
        for batch in reader.batches():
            write_batch(file, batch)
            num_batches += 1
    except SourceError as raised:
        error = raised
    return ReadSource(start=start, num_batches=num_batches, facts=reader.facts, error=error)


def in_groups(sources: Sequence[Source]) -> list[range]:
    """The numbers of the sources in each group."""
    num_bytes = sum(source.size or 0 for source in sources)
    most = max(GROUP_BYTES, num_bytes // _MOST_GROUPS)
    groups: list[range] = []
    start = size = 0
    for number, source in enumerate(sources):
        if number > start and size + (source.size or 0) > most:
            groups.append(range(start, number))
            start, size = number, 0
        size += source.size or 0
    return [*groups, range(start, len(sources))] if sources else []


class ReadByWorker:
    """A source that a worker has read."""

    def __init__(self, path: Path, read: ReadSource) -> None:
        self._path, self._read = path, read

    def batches(self) -> Iterator[Batch]:
        with self._path.open("rb") as file:
            file.seek(self._read.start)
            for _ in range(self._read.num_batches):
                yield read_batch(file)
        if self._read.error is not None:
            raise self._read.error

    @property
    def digest(self) -> str | None:
        """Its SHA-256, if all of it could be read."""
        return None if self._read.error else self._read.facts.sha256

    @property
    def facts(self) -> SourceFacts:
        return self._read.facts


class GroupReader:
    """Reads sources through workers, some groups ahead of the source that is asked for.

    Args:
        folder: for the batches of the groups; it is removed at the end.
        make_request: makes the request for the sources of these numbers that are to be read, None if there is none.
    """

    def __init__(
        self,
        workers: Workers,
        folder: Path,
        sources: Sequence[Source],
        make_request: Callable[[Path, Sequence[int]], GroupRequest | None],
    ) -> None:
        self._workers, self._folder, self._make_request = workers, folder, make_request
        self._groups = in_groups(sources)
        self._group_of = {number: index for index, group in enumerate(self._groups) for number in group}
        self._token = uuid.uuid4().hex[:12]  # a worker of a run that was killed may still write
        self._free: list[Path] = []
        """Files of groups that have been taken."""
        self._submitted: dict[int, tuple[GroupRequest, Awaited[dict[int, ReadSource]]] | None] = {}

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *exception: object) -> None:
        for submitted in self._submitted.values():
            if submitted is not None:
                _drop(submitted[1])
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, number: int) -> ReadByWorker | None:
        """The batches of a source; None where no worker reads it. Sources are asked for in their order."""
        index = self._group_of[number]
        for done in [group for group in self._submitted if group < index]:
            if (submitted := self._submitted.pop(done)) is not None:
                _drop(submitted[1])
                self._leave(submitted[0].path)
        for ahead in range(index, min(index + 1 + self._workers.groups_ahead, len(self._groups))):
            if ahead not in self._submitted:
                path = self._free.pop() if self._free else self._folder / f"{self._token}-{ahead}"
                request = self._make_request(path, [other for other in self._groups[ahead] if other >= number])
                self._submitted[ahead] = (
                    None if request is None else (request, self._workers.submit(read_group, request))
                )
        submitted = self._submitted[index]
        if submitted is None or all(asked.number != number for asked in submitted[0].sources):
            return None
        request, awaited = submitted
        return ReadByWorker(request.path, awaited.result()[number])

    def _leave(self, path: Path) -> None:
        """Let the file of a group that has been taken go, or be written over."""
        if self._workers.are_here:
            self._free.append(path)
        else:
            path.unlink(missing_ok=True)


def _drop(awaited: Awaited[object]) -> None:
    """Let a worker finish what nobody needs any more, so that it does not write while its folder is removed."""
    cancel = getattr(awaited, "cancel", None)  # futures of Prefect cannot be cancelled
    if cancel is None or not cancel():
        with suppress(Exception):  # the error of the run is the one that ended it
            awaited.result()


def may_read_ahead(source: Source) -> bool:
    """True for a file that is not too large."""
    return source.kind != "hub" and source.size is not None and source.size <= _MOST_BYTES
