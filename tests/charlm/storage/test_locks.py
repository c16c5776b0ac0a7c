"""One process at a time holds a lock, also when the lock file is deleted meanwhile."""

import threading
from pathlib import Path

import pytest

from charlm.errors import RunError
from charlm.storage.locks import exclusive_lock, remove_lock


def test_a_held_lock_is_refused_or_waited_for(tmp_path: Path) -> None:
    path, waits = tmp_path / "folder" / ".lock", []
    release, held, got = threading.Event(), threading.Event(), []

    def hold() -> None:
        with exclusive_lock(path, busy=None):
            held.set()
            release.wait()

    def wait() -> None:
        with exclusive_lock(path, busy=None, on_wait=lambda: waits.append("waits")):
            got.append(release.is_set())

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with pytest.raises(RunError, match="it is busy"), exclusive_lock(path, busy="it is busy"):
        pass
    waiter = threading.Thread(target=wait)
    waiter.start()
    while not waits:
        pass
    release.set()
    holder.join()
    waiter.join()
    assert (waits, got) == (["waits"], [True])


def test_a_lock_file_is_not_removed_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with exclusive_lock(path, busy=None):
        remove_lock(path)
        assert path.exists()
    remove_lock(path)
    assert not path.exists()
    remove_lock(path)  # nothing to do


def test_who_waited_for_a_lock_file_that_was_deleted_holds_the_new_one(tmp_path: Path) -> None:
    """A lock on a deleted file keeps nobody out: another process makes a new file and locks that."""
    path, waits = tmp_path / ".lock", []
    held, release, inside, done = (threading.Event() for _ in range(4))

    def hold_and_delete() -> None:
        with exclusive_lock(path, busy=None):
            held.set()
            release.wait()
            path.unlink()

    def wait() -> None:
        with exclusive_lock(path, busy=None, on_wait=lambda: waits.append("waits")):
            inside.set()
            done.wait()

    threads = [threading.Thread(target=hold_and_delete), threading.Thread(target=wait)]
    threads[0].start()
    held.wait()
    threads[1].start()
    while not waits:
        pass
    release.set()
    inside.wait()
    try:
        with pytest.raises(RunError, match="busy"), exclusive_lock(path, busy="busy"):
            pass
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
