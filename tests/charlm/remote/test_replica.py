"""Two cache folders over one object store, as two machines; the store is a server process that speaks S3."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from charlm.errors import ConfigError, StoreError
from charlm.remote.object_store import ObjectStore, check_store_address
from charlm.remote.replica import Replica
from charlm.remote.units import manifest_key
from tests.object_store import BUCKET, object_store
from tests.object_store import ObjectStore as Server

UNIT = "corpora/books"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with object_store() as running:
        yield running


@pytest.fixture
def address(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


class Machines:
    """A first and a second machine."""

    def __init__(self, address: str, root: Path) -> None:
        self.lines: list[str] = []
        self.address = address
        self.first, self.second = (self.new(root / name) for name in ("first", "second"))

    def new(self, root: Path) -> Replica:
        return Replica(ObjectStore(self.address), root, self.lines.append)


@pytest.fixture
def machines(address: str, tmp_path: Path) -> Machines:
    return Machines(address, tmp_path)


def write(replica: Replica, unit: str = UNIT, **files: str) -> None:
    for name, text in files.items():
        path = replica.folder(unit) / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def files_of(replica: Replica, unit: str = UNIT) -> dict[str, str]:
    folder = replica.folder(unit)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_one_machine_has_made_comes_whole_to_another(machines: Machines) -> None:
    write(machines.first, corpus_json="{}", train__one="some text", valid="other text")
    machines.first.push(UNIT)
    assert machines.second.fetch(UNIT)
    assert files_of(machines.second) == {"corpus.json": "{}", "train/one": "some text", "valid": "other text"}


def test_hidden_files_and_what_every_machine_makes_itself_stay_here(machines: Machines) -> None:
    write(machines.first, corpus_json="{}", **{".lock": "", ".staging__one": "half", "baseline__order": "counts"})
    machines.first.push(UNIT)
    machines.second.fetch(UNIT)
    assert files_of(machines.second) == {"corpus.json": "{}"}


def test_a_change_brings_only_what_has_changed(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    write(machines.first, corpus_json="1", train__one="some text")
    machines.first.push(UNIT)
    machines.second.fetch(UNIT)
    write(machines.first, corpus_json="2", train__two="more text")
    uploaded: list[Path] = []
    upload = ObjectStore.upload
    monkeypatch.setattr(ObjectStore, "upload", lambda self, path, key: (uploaded.append(path), upload(self, path, key)))
    machines.first.push(UNIT)
    assert len(uploaded) == 2
    downloaded: list[str] = []
    download = ObjectStore.download
    monkeypatch.setattr(
        ObjectStore, "download", lambda self, key, path: (downloaded.append(key), download(self, key, path))
    )
    machines.second.refresh()
    machines.second.fetch(UNIT)
    assert len(downloaded) == 2
    assert files_of(machines.second) == {"corpus.json": "2", "train/one": "some text", "train/two": "more text"}


def test_nothing_is_sent_again_that_has_not_changed(machines: Machines) -> None:
    write(machines.first, corpus_json="1")
    machines.first.push(UNIT)
    machines.first.push(UNIT)
    assert machines.first.catalogue.versions("corpora") == {UNIT: 1}


def test_one_file_of_a_unit_comes_alone_and_the_rest_later(machines: Machines) -> None:
    write(machines.first, "runs/r", run_json="{}", large="weights")
    machines.first.push("runs/r")
    machines.second.fetch("runs/r", only="run.json".__eq__)
    assert files_of(machines.second, "runs/r") == {"run.json": "{}"}
    machines.second.push("runs/r")
    assert machines.second.catalogue.versions("runs") == {"runs/r": 1}
    machines.second.fetch("runs/r")
    assert files_of(machines.second, "runs/r") == {"run.json": "{}", "large": "weights"}


def test_an_interrupted_push_leaves_nothing_that_can_be_seen(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(machines.first, corpus_json="1", train__one="some text")

    def fail(self: ObjectStore, key: str, content: bytes) -> bool:
        raise StoreError("away")

    with monkeypatch.context() as context:
        context.setattr(ObjectStore, "create", fail)
        with pytest.raises(StoreError):
            machines.first.push(UNIT)
    assert not machines.second.fetch(UNIT)
    machines.second.refresh()
    machines.first.push(UNIT)
    assert machines.second.fetch(UNIT)


def test_a_file_that_is_written_while_it_is_sent_is_not_sent_by_a_wrong_name(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(machines.first, "runs/r", run_json="{}", table="one line\n")
    upload = ObjectStore.upload

    def late(self: ObjectStore, path: Path, key: str) -> None:
        with (machines.first.folder("runs/r") / "table").open("a") as file:
            file.write("another line\n")
        upload(self, path, key)

    with monkeypatch.context() as context:
        context.setattr(ObjectStore, "upload", late)
        with pytest.raises(StoreError, match="table changed while it was sent; run the command again"):
            machines.first.push("runs/r")
    machines.first.push("runs/r")
    assert machines.second.fetch("runs/r")
    assert files_of(machines.second, "runs/r") == files_of(machines.first, "runs/r")


def test_an_interrupted_fetch_goes_on(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    write(machines.first, corpus_json="1", train__one="some text", train__two="more text")
    machines.first.push(UNIT)
    download = ObjectStore.download
    count = 0

    def fail(self: ObjectStore, key: str, path: Path) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise StoreError("away")
        download(self, key, path)

    with monkeypatch.context() as context:
        context.setattr(ObjectStore, "download", fail)
        with pytest.raises(StoreError):
            machines.second.fetch(UNIT)
    assert not (machines.second.folder(UNIT) / "corpus.json").exists()
    machines.second.refresh()
    machines.second.fetch(UNIT)
    assert files_of(machines.second) == files_of(machines.first)
    assert not (machines.second.root / "set-aside").exists()


def test_two_machines_that_change_one_unit_lose_nothing(machines: Machines) -> None:
    write(machines.first, corpus_json="1")
    machines.first.push(UNIT)
    machines.second.fetch(UNIT)
    write(machines.first, corpus_json="by the first")
    write(machines.second, corpus_json="by the second")
    machines.first.push(UNIT)
    with pytest.raises(StoreError, match="another machine has changed corpora/books"):
        machines.second.push(UNIT)
    machines.second.refresh()
    machines.second.fetch(UNIT)
    assert files_of(machines.second) == {"corpus.json": "by the first"}
    (aside,) = (machines.second.root / "set-aside").glob("*/corpus.json")
    assert aside.read_text() == "by the second"
    assert "another machine has gone on with it" in machines.lines[0]


def test_a_process_killed_right_after_its_push_is_not_taken_for_another_machine(machines: Machines) -> None:
    write(machines.first, corpus_json="1")
    machines.first.push(UNIT)
    index = machines.first.root / ".remote/index/corpora/books.json"
    before = index.read_text()
    write(machines.first, corpus_json="2")
    machines.first.push(UNIT)
    index.write_text(before)
    machines.first.fetch(UNIT)
    assert not machines.lines
    assert files_of(machines.first) == {"corpus.json": "2"}


@pytest.mark.parametrize("has_fast_digest", [True, False], ids=["by the fast digest", "stored without one"])
def test_content_that_has_been_damaged_is_one_line(
    machines: Machines, server: Server, has_fast_digest: bool, tmp_path: Path
) -> None:
    write(machines.first, corpus_json="1", train__one="some text")
    machines.first.push(UNIT)
    manifest, place = machines.first.catalogue.latest(UNIT), machines.address.rpartition("/")[2]
    assert manifest is not None
    assert all(file.xxh3 for file in manifest.files.values())
    if not has_fast_digest:
        value = json.loads(manifest.to_bytes())
        for file in value["files"]:
            del file["xxh3"]
        server.put(f"{place}/{manifest_key(UNIT, 1)}", json.dumps(value).encode())
        third = machines.new(tmp_path / "third")
        third.fetch(UNIT)
        assert files_of(third) == {"corpus.json": "1", "train/one": "some text"}
    server.put(f"{place}/{manifest.files['train/one'].key}", b"SOME TEXT")
    with pytest.raises(StoreError, match=r"train/one of books, is damaged: its content has another digest"):
        machines.second.fetch(UNIT)
    assert not (machines.second.folder(UNIT) / "corpus.json").exists()


def test_a_manifest_that_leads_out_of_the_workspace_is_refused(machines: Machines) -> None:
    file = {"path": "../../.bashrc", "size": 1, "sha256": "0" * 64, "key": "objects/00/0"}
    value = {"format": "charlm.unit/1", "unit": UNIT, "writer": "x", "removed": False, "since": 1, "files": [file]}
    ObjectStore(machines.address).create(manifest_key(UNIT, 1), json.dumps(value).encode())
    with pytest.raises(StoreError, match="it names files outside of its folder"):
        machines.first.fetch(UNIT)


def test_an_old_client_is_refused_by_a_newer_workspace(machines: Machines) -> None:
    ObjectStore(machines.address).create("format.json", b'{"format": "charlm.workspace/2"}')
    with pytest.raises(StoreError, match="install the newer charlm"):
        machines.first.catalogue.check_format()
    write(machines.first, corpus_json="1")
    with pytest.raises(StoreError, match="install the newer charlm"):
        machines.first.push(UNIT)


def test_a_removed_unit_goes_everywhere(machines: Machines) -> None:
    write(machines.first, corpus_json="1")
    machines.first.push(UNIT)
    machines.second.fetch(UNIT)
    machines.first.forget(UNIT, machines.first.folder(UNIT))
    assert not machines.first.folder(UNIT).exists()
    machines.second.refresh()
    assert not machines.second.fetch(UNIT)


def test_a_bucket_that_was_emptied_is_filled_again(machines: Machines) -> None:
    write(machines.first, corpus_json="1")
    machines.first.push(UNIT)
    store = ObjectStore(machines.address)
    store.delete(store.keys("refs") + store.keys("objects"))
    machines.first.push(UNIT)
    assert machines.second.fetch(UNIT)


def test_denied_access_and_a_wrong_clock_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = ["AccessDenied", "RequestTimeTooSkewed"]

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as the library calls it
            content = f"<Error><Code>{codes[0]}</Code><Message>no</Message></Error>".encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_PUT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "stand-in")
    store = ObjectStore("s3://bucket/ws")
    with pytest.raises(StoreError, match=r"denies access .* grant reading, writing and listing in 'bucket'"):
        store.read("format.json")
    codes.pop(0)
    with pytest.raises(StoreError, match="refuses requests of this machine: its clock differs"):
        store.create("format.json", b"")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("memory://ws", "a workspace cannot be at memory://ws"),
        ("no-such://ws", "a workspace cannot be at no-such://ws"),
        ("s3://", "names no bucket"),
        ("gs://bucket/ws", "needs the package gcsfs"),
    ],
)
def test_an_address_where_no_workspace_can_be_is_one_line(
    address: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=line):
        check_store_address(address)


def test_a_missing_bucket_is_one_line(address: str) -> None:
    with pytest.raises(StoreError, match="there is no 'nowhere'; create it, or correct the address"):
        ObjectStore("s3://nowhere/ws").keys("refs")


def test_missing_credentials_are_one_line(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="needs credentials, and there are none; set AWS_ACCESS_KEY_ID"):
        ObjectStore(address).read("x")


def test_a_server_that_is_away_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store() as gone:
        pass
    for name, value in gone.variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="does not answer; nothing is lost: run the command again when it does"):
        ObjectStore(f"s3://{BUCKET}/ws").read("x")


def test_a_small_cache_keeps_what_is_in_use_and_what_the_store_lacks(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("one", "two", "three", "four"):
        write(machines.first, f"runs/{name}", run_json="{}", weights=name * 1000)
        machines.first.push(f"runs/{name}")
    monkeypatch.setenv("CHARLM_WORKSPACE_CACHE_SIZE", "8kB")  # of 3, 3, 5 and 4 kB
    ended = machines.new(tmp_path / "second")  # an earlier process of the second machine
    ended.fetch("runs/one")
    ended.fetch("runs/two")
    write(ended, "runs/two", weights="changed here")
    ended._room.leave()
    machines.second.fetch("runs/three")
    assert not files_of(machines.second, "runs/one")
    assert files_of(machines.second, "runs/two")["weights"] == "changed here"
    machines.second.fetch("runs/four")  # there is too little room even so: all others are in use
    assert files_of(machines.second, "runs/three").keys() == {"run.json", "weights"}
    machines.second.refresh()
    machines.second.fetch("runs/one")
    assert files_of(machines.second, "runs/one")["weights"] == "one" * 1000
    assert machines.lines[0].startswith("- runs/one left the cache folder")
