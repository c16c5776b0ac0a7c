"""Sweeping content that nothing names, beside machines that send some at the same time."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from charlm.errors import StoreError
from charlm.remote import sending, sweeping
from charlm.remote.drafts import condemn, condemned, read_drafts, write_draft
from charlm.remote.object_store import ObjectStore
from charlm.remote.replica import Replica
from charlm.remote.sweeping import Sweeper
from charlm.remote.units import unit_and_version
from tests.charlm.remote.stepped_store import KilledError, Machine, SteppedStore
from tests.object_store import BUCKET, object_store

RUN = "runs/one"


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    with object_store() as server:
        yield server.variables


@pytest.fixture
def store(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"s3://{BUCKET}/{tmp_path.name}")


def write(replica: Replica, unit: str = RUN, **files: str) -> None:
    folder = replica.folder(unit)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        new = folder / f".{name}"
        new.write_text(text)
        new.replace(folder / name)


def sweeper(replica: Replica, grace: timedelta = sweeping.GRACE) -> Sweeper:
    return Sweeper(replica.store, replica.catalogue, grace=grace)


def objects(store: ObjectStore) -> int:
    return len(store.keys("objects"))


def test_what_no_manifest_names_goes_and_the_rest_stays(store: ObjectStore, tmp_path: Path) -> None:
    first, second = (Replica(store, tmp_path / name) for name in ("first", "second"))
    for checkpoint in ("early", "later", "latest"):
        write(first, checkpoint=checkpoint, weights="the same")
        first.push(RUN)
    plan = sweeper(first).plan()
    assert (len(plan.sizes), plan.num_bytes) == (2, len("early") + len("later"))
    assert objects(store) == 4
    assert sweeper(first).sweep() == plan
    assert objects(store) == 2
    assert len(store.keys("refs")) == 1
    assert second.fetch(RUN)
    assert (second.folder(RUN) / "checkpoint").read_text() == "latest"
    assert not sweeper(first).sweep().sizes


def test_a_push_that_has_begun_keeps_what_it_relies_on(store: ObjectStore, tmp_path: Path) -> None:
    first = Replica(store, tmp_path / "first")
    write(first, weights="text")
    first.push(RUN)
    (key,) = store.keys("objects")
    first.forget(RUN, first.folder(RUN) / "weights")
    digest = key.rpartition("/")[2].partition("-")[0]
    draft = write_draft(store, "runs/two", 1, [digest])
    assert not sweeper(first).sweep().sizes
    store.delete([draft])
    assert list(sweeper(first).sweep().sizes) == [key]


def test_what_is_condemned_is_sent_anew(store: ObjectStore, tmp_path: Path) -> None:
    first = Replica(store, tmp_path / "first")
    write(first, weights="text")
    first.push(RUN)
    (key,) = store.keys("objects")
    announcement = condemn(store, [key])  # and the sweep is killed here
    write(first, "runs/two", weights="text")
    first.push("runs/two")
    assert objects(store) == 2
    sweeper(first).sweep()
    assert list(condemned(store)) == [announcement]  # what the first run needs must not be relied on again
    first.forget(RUN, first.folder(RUN))
    sweeper(first).sweep()
    assert not condemned(store)
    assert objects(store) == 1
    assert Replica(store, tmp_path / "second").fetch("runs/two")


KILLED_SWEEP = """
import os, signal, sys
from pathlib import Path
from charlm.remote.catalogue import Catalogue
from charlm.remote.object_store import ObjectStore
from charlm.remote.sweeping import Sweeper
store = ObjectStore(sys.argv[1])
delete = ObjectStore.delete
def die_halfway(self, keys):
    keys = list(keys)
    delete(self, keys[:1])
    if keys and keys[0].startswith("objects/"):
        os.kill(os.getpid(), signal.SIGKILL)
ObjectStore.delete = die_halfway
Sweeper(store, Catalogue(store)).sweep()
"""


def test_a_sweep_that_was_killed_halfway_is_done_by_the_next_one(store: ObjectStore, tmp_path: Path) -> None:
    first = Replica(store, tmp_path / "first")
    for number in range(4):
        write(first, checkpoint=f"checkpoint {number}", weights="the same")
        first.push(RUN)
    killed = subprocess.run([sys.executable, "-c", KILLED_SWEEP, store.address])
    assert killed.returncode == -signal.SIGKILL
    assert (len(condemned(store)), objects(store)) == (1, 4)
    second = Replica(store, tmp_path / "second")
    assert second.fetch(RUN)
    write(second, checkpoint="checkpoint 1")  # what is condemned, if it is still there
    second.push(RUN)
    sweeper(first).sweep()
    assert (len(condemned(store)), objects(store)) == (0, 2)
    first.refresh()
    assert first.fetch(RUN)
    assert (first.folder(RUN) / "checkpoint").read_text() == "checkpoint 1"


@pytest.mark.parametrize("is_new", [True, False])
def test_a_push_that_slept_too_long_begins_anew(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    first, other = (Replica(ObjectStore(store.address), tmp_path / name) for name in ("first", "other"))
    write(first, weights="before")
    if not is_new:
        first.push(RUN)
    write(first, weights="after")
    create, swept = first.catalogue.create, []

    def sleep_before(manifest: Any) -> bool:
        if not swept:
            swept.append(sweeper(other, timedelta(0)).sweep().sizes)
        return create(manifest)

    monkeypatch.setattr(first.catalogue, "create", sleep_before)
    first.push(RUN)
    assert len(swept[0]) == 1  # what the push had sent
    assert not list(read_drafts(store))
    assert other.fetch(RUN)
    assert (other.folder(RUN) / "weights").read_text() == "after"


def test_a_unit_that_a_sweep_has_touched_is_not_taken_for_that_of_another_machine(
    store: ObjectStore, tmp_path: Path
) -> None:
    first, other = (Replica(ObjectStore(store.address), tmp_path / name) for name in ("first", "other"))
    write(first, weights="before")
    first.push(RUN)
    write_draft(store, RUN, 2, [])
    sweeper(other, timedelta(0)).sweep()
    write(first, weights="after")
    assert first.fetch(RUN)
    assert not (first.root / "set-aside").exists()
    assert other.fetch(RUN)
    assert (other.folder(RUN) / "weights").read_text() == "after"


def test_a_version_that_was_cleared_away_is_not_created_again(store: ObjectStore, tmp_path: Path) -> None:
    first = Replica(store, tmp_path / "first")
    for text in ("one", "two"):
        write(first, weights=text)
        first.push(RUN)
    old = first.catalogue.latest(RUN)
    for text in ("three", "four"):
        write(first, weights=text)
        first.push(RUN)
    assert old is not None
    assert not first.catalogue.create(old)
    assert first.catalogue.versions("runs") == {RUN: 4}


def test_a_reader_whose_version_is_swept_away_takes_the_next_one(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Replica(ObjectStore(store.address), tmp_path / name) for name in ("first", "second"))
    write(first, weights="old")
    first.push(RUN)
    download = ObjectStore.download

    def late(self: ObjectStore, key: str, path: Path) -> None:
        monkeypatch.setattr(ObjectStore, "download", download)
        write(first, weights="new")
        first.push(RUN)
        sweeper(first).sweep()
        download(self, key, path)

    monkeypatch.setattr(ObjectStore, "download", late)
    assert second.fetch(RUN)
    assert (second.folder(RUN) / "weights").read_text() == "new"


def test_a_damaged_draft_is_one_line(store: ObjectStore, tmp_path: Path) -> None:
    store.write("pushes/runs/one/x.json", b"{}")
    with pytest.raises(StoreError, match=r"pushes/runs/one/x.json is damaged"):
        sweeper(Replica(store, tmp_path)).sweep()


UNITS = ("runs/one", "runs/two")


def check_all_that_is_named(store: SteppedStore) -> None:
    """The objects of the newest manifest of each unit are there."""
    newest: dict[str, tuple[int, str]] = {}
    for key in store.content:
        if (found := unit_and_version(key)) is not None:
            newest[found[0]] = max((found[1], key), newest.get(found[0], (0, "")))
    for _, key in newest.values():
        for file in json.loads(store.content[key])["files"]:
            assert file["key"] in store.content, f"{key} names {file['key']}, which is gone"


def send_and_sweep(seed: int, folder: Path) -> None:
    """Two or three machines send the same few contents again and again, beside one to three that sweep."""
    choose = random.Random(seed)
    store = SteppedStore()

    def sending_machine(number: int) -> Machine:
        replica = Replica(store, folder / str(number))

        def work() -> None:
            for _ in range(choose.randint(1, 3)):
                unit = choose.choice(UNITS)
                replica.refresh()
                replica.fetch(unit)
                write(replica, unit, **{name: choose.choice("abc") for name in choose.choice(["x", "y", "xy"])})
                try:
                    replica.push(unit)
                except StoreError as error:
                    assert "another machine has changed" in str(error)  # noqa: PT017  # many do

        return Machine(work)

    def sweeping_machine(number: int) -> Machine:
        replica = Replica(store, folder / f"sweeper-{number}")
        grace = timedelta(seconds=choose.choice([0, 5, 10_000]))

        def work() -> None:
            for _ in range(2):
                sweeper(replica, grace).sweep()

        return Machine(work)

    store.machines = [sending_machine(number) for number in range(choose.randint(2, 3))]
    store.machines += [sweeping_machine(number) for number in range(choose.randint(1, 3))]
    store.run(choose, lambda: check_all_that_is_named(store), kills=choose.randint(0, 2))
    for machine in store.machines:
        if machine.error is not None and not isinstance(machine.error, KilledError):
            raise machine.error
    store.machines = []
    last = Replica(store, folder / "last")
    for unit in UNITS:
        last.fetch(unit)
    for _ in range(2):
        sweeper(last, timedelta(0)).sweep()
    assert not [key for key in store.content if key.startswith("pushes/")]
    assert {key for key in store.content if key.startswith("objects/")} == sweeper(last)._named()


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine has one thread."""

    def one_after_another(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [function(item) for item in items]

    for module in (sending, sweeping):
        monkeypatch.setattr(module, "in_parallel", one_after_another)


@pytest.mark.parametrize("first_seed", [1_000, pytest.param(0, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("in_turn")
def test_whatever_the_order_of_steps_all_that_is_named_is_there(first_seed: int, tmp_path: Path) -> None:
    for seed in range(first_seed, first_seed + (150 if first_seed == 0 else 30)):
        try:
            send_and_sweep(seed, tmp_path / str(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
