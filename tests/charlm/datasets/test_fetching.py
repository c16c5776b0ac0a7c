"""What the prepared corpora fetch, and what they refuse."""

import hashlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from charlm.datasets import prepared
from charlm.datasets.checksums import SHA256, UD_RELEASE
from charlm.datasets.prepared import UD_ENGLISH, fetch
from charlm.errors import DatasetError


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """Address of a web server with the files of tmp_path/web."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/short.txt":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"ten bytes.")
            else:
                super().do_GET()

        def log_message(self, format, *args) -> None:
            pass

    (tmp_path / "web").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "web")) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def test_file_is_fetched_whole_or_not_at_all(server, tmp_path):
    (tmp_path / "web" / "data.txt").write_bytes(b"some text\n" * 200_000)
    fetch(f"{server}/data.txt", tmp_path / "got" / "data.txt")
    assert (tmp_path / "got" / "data.txt").read_bytes() == b"some text\n" * 200_000
    for name, reason in (("none.txt", "cannot fetch .*/none.txt .*put the file at"), ("short.txt", "10 bytes of 100")):
        with pytest.raises(DatasetError, match=reason):
            fetch(f"{server}/{name}", tmp_path / "got" / name)
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["data.txt"]


def test_a_file_that_has_changed_since_its_digest_was_taken_is_refused(server, tmp_path):
    text = b"some text\n"
    (tmp_path / "web" / "data.txt").write_bytes(text)
    digest = hashlib.sha256(text).hexdigest()
    fetch(f"{server}/data.txt", tmp_path / "same.txt", sha256=digest)
    with pytest.raises(DatasetError, match=rf"has changed: SHA-256 {digest}, expected 0000; put the file"):
        fetch(f"{server}/data.txt", tmp_path / "other.txt", sha256="0000")
    assert not (tmp_path / "other.txt").exists()


def test_a_treebank_is_fetched_from_its_release_and_checked(server, tmp_path, monkeypatch):
    address = f"{server}/UD_English-EWT/{UD_RELEASE}"
    (folder := tmp_path / "web" / "UD_English-EWT" / UD_RELEASE).mkdir(parents=True)
    sentence = "1\tGo\tgo\tVERB\tVB\t_\t0\troot\t_\t_\n\n"
    for split in ("train", "dev", "test"):
        (folder / f"en_ewt-ud-{split}.conllu").write_text(sentence)
        monkeypatch.setitem(
            SHA256, f"{address}/en_ewt-ud-{split}.conllu", hashlib.sha256(sentence.encode()).hexdigest()
        )
    monkeypatch.setattr(prepared, "UNIVERSAL_DEPENDENCIES", server)
    assert len(UD_ENGLISH(tmp_path / "ours").train) == 1
    monkeypatch.setitem(SHA256, f"{address}/en_ewt-ud-test.conllu", "0000")
    with pytest.raises(DatasetError, match="has changed"):
        UD_ENGLISH(tmp_path / "changed")


def test_every_prepared_corpus_has_the_digests_of_its_files():
    assert len(SHA256) == 11
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in SHA256.values())
    assert not any(re.search("/(master|main|dev)/", address) for address in SHA256)
