"""A workspace in an object store: a local one in the cache folder, whose units come from the store when they are named.

All that works in a workspace works in this one; what makes content calls `push` when it is whole, and what must not be
done twice at a time is done in `alone`, on all machines.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from charlm.artifacts import CorpusFiles, DownstreamRunFiles, RunFiles, Workspace, check_name
from charlm.errors import RunError, StoreError
from charlm.remote.lease import Lease, leased
from charlm.remote.object_store import ObjectStore
from charlm.remote.replica import Replica
from charlm.remote.settings import cache_folder
from charlm.remote.units import is_no_train_text
from charlm.storage.atomic import read_json
from charlm.storage.locks import exclusive_lock

_CORPORA, _RUNS, _INBOX_MEMORY = "corpora", "runs", "inbox-memory"
_LOOK_SECONDS = 0.5
_on_event: Callable[[str], None] = lambda line: None  # noqa: E731
"""Receives lines about what people should know."""


@dataclass(frozen=True)
class RemoteWorkspace(Workspace):
    """The workspace at `address`; `root` is its cache folder on this machine."""

    address: str

    @classmethod
    def at(cls, address: str) -> "RemoteWorkspace":
        """Raises ConfigError for an address at which no workspace can be."""
        return cls(cache_folder(address), address)

    @property
    def inbox_memory(self) -> Path:  # type: ignore[override]
        """In a folder of its own, which is a unit."""
        self.replica.refresh(_INBOX_MEMORY)  # a watcher looks at it for months
        self.replica.fetch(_INBOX_MEMORY)
        return self.root / _INBOX_MEMORY / "inbox.json"

    def texts_dir(self, name: str) -> Path:
        """What lies in `to-embed/NAME` at the address: people put it there as it is."""
        folder = super().texts_dir(name)
        self.replica.mirror(folder.relative_to(self.root).as_posix())
        return folder

    def embeddings_dir(self, name: str, version: int) -> Path:
        folder = super().embeddings_dir(name, version)
        self.replica.fetch(folder.relative_to(self.root).as_posix())
        return folder

    @property
    def place(self) -> Path:
        return Path(self.address)

    @property
    def replica(self) -> Replica:
        return _replica(self.address, self.root, os.getpid())

    def corpus(self, name: str, *, train_text: bool = True) -> CorpusFiles:
        """Without `train_text`, it comes only where it is not encoded with the dictionary of the corpus."""
        corpus, unit = super().corpus(name), f"{_CORPORA}/{check_name(name)}"
        if not train_text:
            self.replica.fetch(unit, only=is_no_train_text)
            if _is_encoded(corpus):
                return corpus
        self.replica.fetch(unit)
        return corpus

    def prepared_corpus(self, name: str, *, train_text: bool = True) -> CorpusFiles:
        corpus = super().prepared_corpus(name, train_text=train_text)
        if self.replica.is_unsent(f"{_CORPORA}/{name}"):
            _on_event(f"! {self.address} lacks what was prepared of {name} here; send it with: charlm prepare")
        return corpus

    def corpus_names(self) -> list[str]:
        names = (unit.partition("/")[2] for unit in self.replica.catalogue.versions(_CORPORA))
        return sorted({*names, *super().corpus_names()})

    def run(self, name: str) -> RunFiles:
        self._fetch_run(name)
        return super().run(name)

    def _fetch_run(self, name: str) -> None:
        if name == Path(name).name:  # it may be the path of a folder elsewhere
            self.replica.fetch(f"{_RUNS}/{name}")

    def run_manifests(self) -> list[Path]:
        self.replica.fetch_heads(_RUNS)
        return super().run_manifests()

    def downstream_run(self, name: str) -> DownstreamRunFiles:
        self._fetch_run(name)
        return super().downstream_run(name)

    def report(self, name: str, version: int) -> Path:
        path = super().report(name, version)
        self.replica.fetch(path.parent.relative_to(self.root).as_posix())
        return path


def _is_encoded(corpus: CorpusFiles) -> bool:
    """True where every text file of a corpus has its encoded form, under the dictionary of the corpus."""
    if not corpus.manifest.is_file():
        return False
    manifest = read_json(corpus.manifest, remedy="prepare the corpus again", error=StoreError)
    dictionary = (manifest.get("dictionary") or {}).get("fingerprint")
    names = {Path(file["name"]).name for revision in manifest["revisions"] for file in revision["files"]}
    return dictionary is not None and all(
        corpus.encoded(dictionary, name.removesuffix(".txt")).is_file() for name in names
    )


@cache
def _replica(address: str, root: Path, process: int) -> Replica:
    """One for each process: connections do not survive a fork."""
    return Replica(ObjectStore(address), root, lambda line: _on_event(line))


def open_remote(address: str, on_event: Callable[[str], None]) -> RemoteWorkspace:
    """The workspace at an address, which is looked at anew; `on_event` gets a line about what people should know.

    Raises ConfigError or StoreError where it cannot be used, or where a newer charlm has written it.
    """
    global _on_event
    _on_event = on_event
    workspace = RemoteWorkspace.at(address)
    workspace.replica.refresh()
    workspace.replica.catalogue.check_format()
    return workspace


def push(workspace: Workspace, folder: Path) -> None:
    """Send what has changed in the folder of a unit, where the workspace is in an object store."""
    if isinstance(workspace, RemoteWorkspace) and folder.is_relative_to(workspace.root):
        workspace.replica.push(folder.relative_to(workspace.root).as_posix())


def contents(workspace: Workspace, folder: Path) -> dict[Path, int]:
    """The bytes of each file in the folder of a corpus or run, as the workspace has it: here, or in the store."""
    if not isinstance(workspace, RemoteWorkspace):
        found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {path: path.stat().st_size for path in found}
    latest = workspace.replica.catalogue.latest(folder.relative_to(workspace.root).as_posix())
    return {} if latest is None else {folder / name: file.size for name, file in latest.files.items()}


@contextmanager
def alone(
    workspace: Workspace,
    lock: Path,
    *,
    on_wait: Callable[[str], None] = lambda holder: None,
    is_stopped: Callable[[], bool] | None = None,
) -> Iterator[bool]:
    """Do the block while no other process, on this machine or another one that uses the workspace, holds `lock`.

    `on_wait` gets what holds it, before the wait. False where `is_stopped` has ended the wait.
    """
    with _alone_here(lock, on_wait, is_stopped) as is_held:
        if not is_held or not isinstance(workspace, RemoteWorkspace):
            yield is_held
            return
        stop = is_stopped or (lambda: False)
        with leased(workspace.replica.store, lock.name, on_wait=on_wait, is_stopped=stop) as lease:
            workspace.replica.refresh()  # what the holder before has made
            yield lease is not None
            if isinstance(lease, Lease):
                lease.check()


@contextmanager
def _alone_here(lock: Path, on_wait: Callable[[str], None], is_stopped: Callable[[], bool] | None) -> Iterator[bool]:
    """The same on this machine."""
    with ExitStack() as stack:
        if is_stopped is None:
            waiting = partial(on_wait, "another process")
            stack.enter_context(exclusive_lock(lock, busy=None, on_wait=waiting))
            yield True
            return
        is_waiting = False
        while not is_stopped():
            try:
                stack.enter_context(exclusive_lock(lock, busy="held by another process"))
            except RunError:
                if not is_waiting:
                    on_wait("another process")
                is_waiting = True
                time.sleep(_LOOK_SECONDS)  # a lock of the system cannot be waited for and be interrupted
            else:
                yield True
                return
        yield False
