"""A workspace at gs://, in a stand-in for Google's object store that answers over HTTP."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from charlm.errors import StoreError
from charlm.remote.lease import leased
from charlm.remote.object_store import ObjectStore
from charlm.remote.replica import Replica
from charlm.remote.sweeping import Sweeper
from tests.google_store import BUCKET, google_store

RUN = "runs/one"


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    with google_store() as found:
        yield found


@pytest.fixture
def store(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"gs://{BUCKET}/{tmp_path.name}")


def test_objects_are_written_read_listed_and_deleted(store: ObjectStore, tmp_path: Path) -> None:
    assert store.read("refs/a") is None
    assert store.keys("refs") == []
    store.write("refs/a", b"one")
    store.write("refs/sub/b", b"three")
    assert store.read("refs/a") == b"one"
    assert store.sizes("refs") == {"refs/a": 3, "refs/sub/b": 5}
    assert store.keys("refs", prefix="s") == ["refs/sub/b"]
    changed = store.changed("refs/a")
    assert changed is not None
    assert changed.tzinfo is not None
    (tmp_path / "large").write_bytes(b"x" * 6_000_000)
    store.upload(tmp_path / "large", "objects/large")
    store.download("objects/large", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "large").read_bytes()
    store.delete(["refs/a", "refs/none", "objects/large"])
    assert store.keys("refs") == ["refs/sub/b"]
    assert store.changed("refs/a") is None


def test_an_object_is_created_by_one_machine(store: ObjectStore) -> None:
    assert store.create("locks/x", b"first")
    assert not ObjectStore(store.address).create("locks/x", b"second")
    assert store.read("locks/x") == b"first"


def test_two_machines_share_a_run_take_turns_and_prune(store: ObjectStore, tmp_path: Path) -> None:
    first, second = (Replica(ObjectStore(store.address), tmp_path / name) for name in ("first", "second"))
    folder = first.folder(RUN)
    folder.mkdir(parents=True)
    for text in ("early", "late"):
        (folder / "new").write_text(text)
        (folder / "new").replace(folder / "checkpoint.pt")
        first.push(RUN)
    assert second.fetch(RUN)
    assert (second.folder(RUN) / "checkpoint.pt").read_text() == "late"
    assert Sweeper(second.store, second.catalogue, grace=timedelta(0)).sweep().num_bytes == len("early")
    with leased(first.store, "work", on_wait=lambda holder: None):
        pass
    with leased(second.store, "work", on_wait=lambda holder: None) as lease:
        assert lease is not None


def test_a_missing_bucket_is_one_line(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="there is no 'nowhere'; create it, or correct the address"):
        ObjectStore("gs://nowhere/ws").write("refs/a", b"")


@pytest.mark.parametrize(
    ("status", "message", "line"),
    [
        (401, "Anonymous caller does not have storage.objects.get access", "needs credentials, and there are none"),
        (403, "ws@x.iam does not have storage.objects.get access", "denies access .* grant reading, writing"),
    ],
)
def test_denied_access_is_one_line(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, status: int, message: str, line: str
) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as the library calls it
            content = f'{{"error": {{"code": {status}, "message": "{message}"}}}}'.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(StoreError, match=line):
        ObjectStore("gs://bucket/ws").read("format.json")
    server.shutdown()
    server.server_close()
