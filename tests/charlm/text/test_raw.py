"""Raw text is found wherever a user points, and read byte for byte, or refused in one line."""

import gzip
import hashlib
import lzma
import os
import re
import tracemalloc
from collections import deque
from pathlib import Path

import pytest
import zstandard

from charlm.config import ReadConfig
from charlm.errors import SourceError
from charlm.text.sources.finding import find_sources
from charlm.text.sources.raw import RawStream, Source

TEXT = "".join(f"line {number}: Grüße, мир, 世界\n" for number in range(20_000)).encode()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstd}


def read(path: Path, reading: ReadConfig | None = None) -> tuple[bytes, str]:
    with RawStream(find_sources([str(path)])[0], reading or ReadConfig()) as stream:
        return b"".join(stream.blocks()), stream.sha256


def names(sources: list[Source]) -> list[str]:
    return [source.name for source in sources]


# ---- finding -------------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_files_by_name_and_leaves_hidden_ones_out(tmp_path: Path) -> None:
    books = tmp_path / "books"
    (books / "b").mkdir(parents=True)
    for name in ("z.txt", "a.jsonl.gz", "b/c.txt", ".hidden"):
        (books / name).write_bytes(b"x\n")
    assert names(find_sources([str(books)])) == ["books/a.jsonl.gz", "books/b/c.txt", "books/z.txt"]


def test_a_glob_gives_its_matches_and_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("1.txt", "2.txt", "deep/3.txt", "[4].txt"):
        (tmp_path / name).write_bytes(b"x\n")
    assert names(find_sources([f"{tmp_path}/**/[0-9].txt"])) == ["1.txt", "2.txt", "deep/3.txt"]
    assert names(find_sources([f"{tmp_path}/[4].txt"])) == ["[4].txt"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x\n")
    assert names(find_sources([f"{tmp_path}/a.txt", str(tmp_path)])) == ["a.txt"]


def test_an_fsspec_address_is_found_and_read() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/charlm-raw/one.txt", b"one\n")
    memory.pipe("/charlm-raw/deep/two.txt.gz", gzip.compress(b"two\n"))
    sources = find_sources(["memory://charlm-raw"])
    assert names(sources) == ["deep/two.txt.gz", "one.txt"]
    assert names(find_sources(["memory://charlm-raw/*.txt"])) == ["one.txt"]
    assert names(find_sources(["memory://charlm-raw/d??p/[a-z]*"])) == ["deep/two.txt.gz"]
    with RawStream(sources[0], ReadConfig()) as stream:
        assert b"".join(stream.blocks()) == b"two\n"


@pytest.mark.parametrize(
    ("name", "kind", "compression"),
    [
        ("a.txt", "text", ""),
        ("a.vec.xz", "text", ".xz"),
        ("A.JSONL.GZ", "jsonl", ".gz"),
        ("a.ndjson.zst", "jsonl", ".zst"),
        ("a.parquet", "parquet", ""),
        ("hf:wiki.gz:train", "hub", ""),
    ],
)
def test_the_name_says_what_a_source_is(name: str, kind: str, compression: str) -> None:
    source = Source(name=name, address=name, size=None)
    assert (source.kind, source.compression) == (kind, compression)


@pytest.mark.parametrize("raw", ["missing.txt", "missing/*.txt", "memory://charlm-missing"])
def test_what_leads_nowhere_is_named(raw: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=raw.split("*")[0]):
        find_sources([raw])


def test_no_sources_an_empty_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no raw text"):
        find_sources([])
    with pytest.raises(SourceError, match="holds no files"):
        find_sources([str(tmp_path)])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe is not a regular file"):
        find_sources([str(tmp_path / "pipe")])


def test_a_link_that_leaves_the_folder_is_refused_and_one_that_stays_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"x\n")
    (folder / "b.txt").symlink_to("a.txt")
    assert names(find_sources([str(folder)])) == ["folder/a.txt", "folder/b.txt"]
    (folder / "c.txt").symlink_to("../secret.txt")
    with pytest.raises(SourceError, match=r"c\.txt is a link out of the folder"):
        find_sources([str(folder)])


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("gone.txt")
    with pytest.raises(SourceError, match=r"a\.txt"):
        find_sources([str(tmp_path)])
    with pytest.raises(SourceError, match=r"a\.txt is a link to gone\.txt"):
        find_sources([str(tmp_path / "a.txt")])


@pytest.mark.parametrize("name", ["a.tar.xz", "a.zip", "a.tgz"])
def test_an_archive_is_to_be_unpacked_first(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match="is an archive; unpack it"):
        find_sources([str(tmp_path / name)])


# ---- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_bytes_come_out_as_they_went_in_with_the_digest_of_the_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(PACKERS.get(suffix, bytes)(TEXT))
    assert read(path) == (TEXT, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_packed_parts_that_follow_each_other_are_all_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(PACKERS[suffix](b"one\n") + PACKERS[suffix](b"two\n"))
    assert read(path)[0] == b"one\ntwo\n"


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["cut short", "flipped", "not packed"])
def test_damaged_packed_files_are_refused_by_name(suffix: str, damage: str, tmp_path: Path) -> None:
    packed = bytearray(PACKERS[suffix](TEXT))
    if damage == "cut short":
        del packed[len(packed) // 2 :]
    elif damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    else:
        packed = bytearray(TEXT)
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(packed)
    with pytest.raises(SourceError, match=r"a\.txt\.\w+ is cut short or damaged within its first \d+ bytes") as caught:
        read(path)
    place = int(re.search(r"first (\d+)", str(caught.value))[1])  # type: ignore[index]
    assert {"cut short": place == len(packed), "flipped": place > len(packed) // 2}.get(damage, place > 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_decompression_bomb_is_stopped_early_and_in_little_memory(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bomb.txt{suffix}"
    path.write_bytes(PACKERS[suffix](b"a bomb\n" * 15_000_000))
    tracemalloc.start()
    stream = RawStream(find_sources([str(path)])[0], ReadConfig())
    with stream, pytest.raises(SourceError, match="looks like a decompression bomb"):
        deque(stream.blocks(), maxlen=0)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert stream.num_read < 50_000_000


def test_the_caps_on_packed_text_can_be_raised_and_lowered(tmp_path: Path) -> None:
    path = tmp_path / "spaces.txt.gz"
    path.write_bytes(gzip.compress(b" " * 20_000_000))
    assert len(read(path, ReadConfig(max_ratio=2000))[0]) == 20_000_000
    with pytest.raises(SourceError, match="more than 5000000 bytes"):
        read(path, ReadConfig(max_ratio=2000, max_unpacked_bytes=5_000_000))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x\n")
    path.chmod(0)
    with pytest.raises(SourceError, match=r"cannot read .*a\.txt: Permission denied"):
        read(path)


def test_a_file_that_vanishes_between_finding_and_reading_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x\n")
    source = find_sources([str(tmp_path)])[0]
    (tmp_path / "a.txt").unlink()
    with pytest.raises(SourceError, match=r"cannot read .*a\.txt: No such file"), RawStream(source, ReadConfig()):
        pass
