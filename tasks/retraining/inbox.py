"""Find new text in an inbox: a folder for each corpus, in it files, or a folder of them for each domain.

Reads  INBOX/CORPUS/[DOMAIN/]files    (here, or at any fsspec address)
Writes inbox.json                     (what has been announced; every content once for a corpus)

The watcher, which always runs, scans with this file too: what reads text is imported where text is read.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from charlm.artifacts import Workspace, check_name
from charlm.errors import CharLMError, SourceError
from charlm.remote.workspace import RemoteWorkspace, alone, push
from charlm.storage.atomic import read_json, write_json
from tasks.terminal import terminal

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from tasks.retraining.arrivals import Arrival

# Suffixes that editors, browsers and copying programs give to unfinished files.
_UNFINISHED_SUFFIXES = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", "~")


@dataclass(frozen=True)
class InboxFile:
    """A file in an inbox, as one scan found it."""

    address: str
    corpus: str
    domain: str | None
    stamp: str
    """Changes when the file does: its size, and when it was written."""


def report_misplaced(path: str) -> None:
    """Print that a file of an inbox is in no folder."""
    terminal.print_line(f"! {path} is not in a folder; move it into the folder of its corpus")


def scan(inbox: str, *, on_misplaced: Callable[[str], None] = report_misplaced) -> list[InboxFile]:
    """The files in the folders of `inbox`; unfinished and hidden ones, and links, are left out.

    `on_misplaced` gets the path of each file that is in no folder.
    Raises SourceError when the inbox cannot be read; one that does not exist is empty.
    """
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(inbox)
        system.invalidate_cache()
        found = system.find(root, detail=True) if system.exists(root) else {}
    except Exception as error:  # every file system raises its own kinds
        raise SourceError(f"cannot read the inbox {inbox}: {' '.join(str(error).split())[:300]}") from error
    files = []
    for path, info in sorted(found.items()):
        parts = PurePosixPath(path).relative_to(PurePosixPath(root)).parts
        if info.get("islink") or _is_unfinished(parts):
            continue
        if len(parts) < 2:
            on_misplaced(path)
            continue
        address = path if "file" in _protocols(system) else system.unstrip_protocol(path)
        files.append(InboxFile(address, parts[0], parts[1] if len(parts) > 2 else None, _stamp(info)))
    return files


def stable_files(first: Iterable[InboxFile], second: Iterable[InboxFile]) -> list[InboxFile]:
    """The files that two scans found unchanged: nobody is writing them."""
    before = set(first)
    return [file for file in second if file in before]


def unseen_files(workspace: Workspace, files: Iterable[InboxFile]) -> list[InboxFile]:
    """Those of `files` that are new, or have changed since they were announced."""
    seen = _Memory.load(workspace).seen
    return [file for file in files if seen.get(file.address) != file.stamp]


def announce_arrivals(
    workspace: Workspace, files: Iterable[InboxFile], send: "Callable[[Arrival], None]"
) -> "list[Arrival]":
    """Send one arrival for each corpus and domain with new content in `files`, and remember it.

    What was sent before a crash may be sent again: the retraining recognises text by its content.
    """
    from tasks.retraining.arrivals import Arrival

    arrivals = []
    with alone(workspace, workspace.inbox_lock):
        memory = _Memory.load(workspace)
        for (corpus, domain), group in _by_folder(files).items():
            digests = {file: digest for file in group if (digest := _digest(file)) is not None}
            new = {digest: file.address for file, digest in digests.items() if digest not in memory.digests(corpus)}
            if new:
                arrivals.append(
                    Arrival(corpus=corpus, domain=domain, addresses=tuple(new.values()), digests=tuple(new))
                )
                send(arrivals[-1])
            memory.remember(corpus, group, digests)
            memory.save(workspace)
    return arrivals


def inbox_of(workspace: Workspace) -> str:
    """The folder or address of the inbox of a workspace."""
    return f"{workspace.address}/inbox" if isinstance(workspace, RemoteWorkspace) else str(workspace.inbox_dir)


@dataclass(frozen=True)
class _Memory:
    """What has been announced: the content of every corpus, and the stamp of every file at that time."""

    announced: dict[str, dict[str, str]]
    """Digest to address, for each corpus."""
    seen: dict[str, str]
    """Stamp of every address, so that a file is not read again at every scan."""

    @classmethod
    def load(cls, workspace: Workspace) -> "_Memory":
        if not workspace.inbox_memory.is_file():
            return cls({}, {})
        stored = read_json(
            workspace.inbox_memory,
            remedy="delete it: the files in the inbox then count as new, and text that a corpus holds is left out",
        )
        return cls(stored["told"], stored["seen"])

    def save(self, workspace: Workspace) -> None:
        write_json(workspace.inbox_memory, {"told": self.announced, "seen": self.seen})
        push(workspace, workspace.inbox_memory.parent)

    def digests(self, corpus: str) -> Mapping[str, str]:
        return self.announced.get(corpus, {})

    def remember(self, corpus: str, files: Iterable[InboxFile], digests: Mapping[InboxFile, str]) -> None:
        for file in files:
            self.seen[file.address] = file.stamp
            if file in digests:
                self.announced.setdefault(corpus, {}).setdefault(digests[file], file.address)


def _by_folder(files: Iterable[InboxFile]) -> dict[tuple[str, str | None], list[InboxFile]]:
    """The files by corpus and domain."""
    groups: dict[tuple[str, str | None], list[InboxFile]] = {}
    for file in files:
        groups.setdefault((file.corpus, file.domain), []).append(file)
    return groups


def _digest(file: InboxFile) -> str | None:
    """The SHA-256 of a file; none, with a warning, where it is not text, or its folder is no name of a corpus."""
    from charlm.text.sources.finding import find_sources
    from charlm.text.sources.raw import sha256_of_source

    try:
        check_name(file.corpus)
        (source,) = find_sources([file.address])
        return sha256_of_source(source)
    except CharLMError as error:
        terminal.print_line(f"! {error}")
        return None


def _is_unfinished(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") for part in parts) or parts[-1].lower().endswith(_UNFINISHED_SUFFIXES)


def _stamp(info: Mapping[str, object]) -> str:
    """Size and time of the last change, under the names that file systems use."""
    times = [str(info[key]) for key in ("mtime", "LastModified", "last_modified", "updated", "ETag") if key in info]
    return " ".join([str(info.get("size")), *times])


def _protocols(system: "AbstractFileSystem") -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)
