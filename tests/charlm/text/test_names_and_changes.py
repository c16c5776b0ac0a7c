"""A path is a path, here and elsewhere; and what changes between a kill and its continuation is noticed."""

from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig
from charlm.errors import SourceError
from charlm.text.corpus import revision
from charlm.text.corpus.manifest import load_manifest
from charlm.text.sources import hub
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.finding import find_sources
from charlm.text.sources.raw import RawStream
from tests.charlm.text.corpora import content, lines, split, write
from tests.nasty import NASTY

PATHS = ["a?b", "a#b", "a%20b", "[a]", "*", "a::b", "two words", "'q' \"d\"", "日本", "-dash", "hf:wiki", "n" * 251]
PATHS += [name for name in NASTY if "/" not in name and len(name) < 200 and name.strip() and name[0] != "."]


def read(item: str) -> bytes:
    [source] = find_sources([item])
    with RawStream(source, ReadConfig()) as stream:
        return b"".join(stream.blocks())


@pytest.mark.parametrize("name", PATHS)
def test_a_file_of_any_name_is_that_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f"{name}.txt").write_bytes(b"mine\n")
    Path("other.txt").write_bytes(b"not mine\n")
    assert read(f"{name}.txt") == b"mine\n"
    assert read(f"{tmp_path}/{name}.txt") == b"mine\n"


@pytest.mark.parametrize("name", PATHS)
def test_a_folder_of_any_name_holds_its_files_and_takes_patterns(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_bytes(b"x\n")
    assert [source.name for source in find_sources([f"{folder}/[12].txt"])] == ["1.txt", "2.txt"]
    assert len(find_sources([str(folder)])) == 3


@pytest.mark.parametrize("name", ["a?b", "a#b", "[a]", "a*", "a::b", "two words", "日本"])
@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_a_remote_file_of_any_name_is_that_file(name: str, protocol: str, tmp_path: Path) -> None:
    import fsspec

    filesystem = fsspec.filesystem(protocol)
    filesystem.pipe(f"{tmp_path}/{name}.txt", b"mine\n")
    filesystem.pipe(f"{tmp_path}/aXb.txt", b"not mine\n")
    assert read(f"{protocol}://{tmp_path}/{name}.txt") == b"mine\n"
    assert len(find_sources([f"{protocol}://{tmp_path}"])) == 2


def test_hidden_files_are_left_out_in_remote_folders_too() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("a.txt", ".b.txt", ".cache/c.txt", "deep/.d/e.txt"):
        memory.pipe(f"/hidden/{name}", b"x\n")
    assert [source.name for source in find_sources(["memory://hidden"])] == ["a.txt"]
    assert [source.name for source in find_sources(["memory://hidden/*"])] == ["a.txt"]
    assert [source.name for source in find_sources(["memory://hidden/.b*"])] == [".b.txt"]
    with pytest.raises(SourceError, match="only hidden files"):
        find_sources(["memory://hidden/deep"])


# ---- a source that changes -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL: nothing tidies up."""


@pytest.mark.parametrize("num_same", [0, 1990])
def test_a_remote_file_overwritten_after_a_kill_is_read_anew(
    num_same: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.setattr("charlm.text.sources.raw.BLOCK_BYTES", 10_000)
    monkeypatch.setattr(revision, "CHECKPOINT_BYTES", 20_000)
    memory = fsspec.filesystem("memory")
    old = "".join(lines(1000, 3000)).encode()
    new = "".join([*lines(1000, 1000 + num_same), *lines(5000 + num_same, 7000)]).encode()
    assert len(old) == len(new)
    corpus, undisturbed = CorpusFiles(tmp_path / "a" / "news"), CorpusFiles(tmp_path / "b" / "news")
    memory.pipe("/changing/a.txt", old)

    whole = DocumentReader.batches

    def killed(reader: DocumentReader) -> Any:
        yield from islice(whole(reader), 5)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(DocumentReader, "batches", killed)
        with pytest.raises(Killed):
            split(corpus, "memory://changing/a.txt")
    assert (corpus.staging_dir / "state.json").is_file()
    memory.pipe("/changing/a.txt", new)
    split(corpus, "memory://changing/a.txt")
    split(undisturbed, "memory://changing/a.txt")
    assert content(corpus) == content(undisturbed)


# ---- datasets of the hub -------------------------------------------------------------------------------------------


def test_a_known_dataset_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(pa.table({"text": lines(0, 900)}), folder / "train-0.parquet")
    corpus = CorpusFiles(tmp_path / "corpora" / "news")
    assert split(corpus, f"hf:{folder}").is_new_revision
    assert load_manifest(corpus).revisions[0].sources[0].version

    with monkeypatch.context() as patch:
        patch.setattr(hub, "_hub_batches", lambda *arguments: pytest.fail("it was read"))
        again = split(corpus, f"hf:{folder}")
    assert (again.is_new_revision, again.num_known_sources) == (False, 1)

    pq.write_table(pa.table({"text": lines(1000, 1900)}), folder / "train-0.parquet")
    assert split(corpus, f"hf:{folder}").is_new_revision


def test_the_manifest_tells_the_version_of_datasets_only(tmp_path: Path) -> None:
    corpus = CorpusFiles(tmp_path / "news")
    split(corpus, write(tmp_path / "a.txt", lines(0, 900)))
    assert "version" not in corpus.manifest.read_text()
