"""A lock that machines hold through an object store; here each machine is a connection of its own."""

import threading
import time
from collections.abc import Iterator

import pytest

from charlm.errors import ConfigError, StoreError
from charlm.remote import lease as leases
from charlm.remote.lease import Lease, leased
from charlm.remote.object_store import ObjectStore
from charlm.remote.settings import lease_seconds
from tests.object_store import BUCKET, object_store

SECONDS = 0.8


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    with object_store() as server:
        yield server.variables


@pytest.fixture
def store(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ObjectStore:
    for name, value in {**variables, "CHARLM_LEASE_SECONDS": str(SECONDS)}.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"s3://{BUCKET}/{request.node.name}")


def hold(store: ObjectStore, waits: list[str]) -> Lease:
    """A lease that its holder does not give back."""
    lease = leases._wait_for(store, "books.prepare", waits.append, lambda: False)
    assert lease is not None
    return lease


def test_a_machine_waits_until_the_other_one_is_done(store: ObjectStore) -> None:
    order: list[str] = []
    waits: list[str] = []

    def second() -> None:
        with leased(ObjectStore(store.address), "books.prepare", on_wait=waits.append):
            order.append("second")

    with leased(store, "books.prepare", on_wait=waits.append):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(3 * SECONDS)  # longer than a lease: it is renewed
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert len(waits) == 1


def test_the_lease_of_a_machine_that_has_died_runs_out(store: ObjectStore) -> None:
    dead = hold(store, [])
    dead._stop.set()  # as kill -9 does
    waits: list[str] = []
    with leased(ObjectStore(store.address), "books.prepare", on_wait=waits.append) as lease:
        assert lease is not None
        lease.check()
    assert len(waits) == 1


def test_a_machine_that_was_cut_off_learns_that_it_has_lost_the_lease(store: ObjectStore) -> None:
    cut_off = hold(store, [])
    assert store.create("locks/books.prepare/00000002.json", b"{}")  # by another machine
    cut_off._thread.join(10)
    with pytest.raises(StoreError, match="another one has taken over books"):
        cut_off.check()
    cut_off.release()
    assert "free" not in leases._generations(store, "books.prepare")[2]


def test_of_many_machines_one_at_a_time_has_it(store: ObjectStore) -> None:
    inside, most, done = 0, 0, []
    guard = threading.Lock()

    def machine(number: int) -> None:
        nonlocal inside, most
        with leased(ObjectStore(store.address), "work", on_wait=lambda holder: None):
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with guard:
                inside -= 1
                done.append(number)

    threads = [threading.Thread(target=machine, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, sorted(done)) == (1, [0, 1, 2, 3, 4])


def test_a_wait_can_be_interrupted(store: ObjectStore) -> None:
    holder = hold(store, [])
    stop = threading.Event()
    with leased(store, "books.prepare", on_wait=lambda holder: stop.set(), is_stopped=stop.is_set) as lease:
        assert lease is None
    holder.release()


def test_old_generations_are_cleared_away(store: ObjectStore) -> None:
    for _ in range(3):
        with leased(store, "work", on_wait=lambda holder: None):
            pass
    assert list(leases._generations(store, "work")) == [3]


def test_a_length_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLM_LEASE_SECONDS", "soon")
    with pytest.raises(ConfigError, match="CHARLM_LEASE_SECONDS is a number of seconds above 0, got 'soon'"):
        lease_seconds()
