"""Ids and lines of an encoded file, read piece by piece, are those of the whole file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError
from charlm.text.corpus import chunks, encoding
from charlm.text.corpus.encoded_ids import EncodedIds, line_lengths, line_unknown_bits, sums_of
from charlm.text.corpus.encoding import encode_file, open_rows, read_ids, read_lengths


@pytest.fixture(params=[7, 400], ids=["ids of a byte", "ids of two bytes"])
def encoded(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of several batches."""
    monkeypatch.setattr(encoding, "_UNITS_PER_BATCH", 1_000)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 700)
    lines = [f"line {number}: {chr(0x4E00 + number)}\n" for number in range(400)]
    (tmp_path / "text").write_text("".join(lines))
    dictionary = Dictionary.from_items(
        [*"line \n0123456789", *(chr(0x4E00 + number) for number in range(request.param))]
    )
    encode_file(tmp_path / "text", tmp_path / "text.arrow", dictionary)
    assert len(open_rows(tmp_path / "text.arrow")[1]) > 3
    return tmp_path / "text.arrow"


def test_slices_are_those_of_the_whole(encoded: Path) -> None:
    whole, chance = read_ids(encoded), np.random.default_rng(1)
    with EncodedIds(encoded) as ids:
        assert (len(ids), ids.dtype) == (len(whole), whole.dtype)
        assert ids[0 : len(ids)].tolist() == whole.tolist()
        for start, stop in chance.integers(0, len(whole), (200, 2)).tolist():
            assert ids[start:stop].tolist() == whole[start:stop].tolist()


def test_lines_are_those_of_the_whole(encoded: Path) -> None:
    parts = [*line_lengths(encoded)]
    assert len(parts) > 3
    assert np.concatenate(parts).tolist() == read_lengths(encoded).tolist()


def test_a_file_that_is_missing_or_cut_off_is_named(encoded: Path, tmp_path: Path) -> None:
    cut_off = tmp_path / "cut.arrow"
    cut_off.write_bytes(encoded.read_bytes()[:-3_000])
    (tmp_path / "other.arrow").write_text("no ids")
    for path in (cut_off, tmp_path / "gone.arrow", tmp_path / "other.arrow"):
        with pytest.raises(CorpusError, match=f"{path.name} is missing or damaged; delete it"):
            EncodedIds(path)
        with pytest.raises(CorpusError, match=f"{path.name} is missing or damaged; delete it"):
            list(line_lengths(path))
    with pytest.raises(CorpusError, match="is missing or damaged"):
        list(line_unknown_bits(encoded))


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.data())
def test_sums_are_the_same_to_the_bit_however_the_values_come(values: list[float], data: st.DataObject) -> None:
    def cut(label: str) -> list[int]:
        places = data.draw(st.lists(st.integers(0, len(values)), max_size=8).map(sorted), label)
        return np.diff([0, *places, len(values)]).tolist()

    sizes, parts = cut("sums"), cut("parts")
    whole = np.array(values, dtype=np.float64)
    running = np.concatenate([[0.0], np.cumsum(whole)])
    expected = np.diff(running[np.concatenate([[0], np.cumsum(sizes)])])
    found = sums_of(iter(np.split(whole, np.cumsum(parts)[:-1])), np.array(sizes))
    assert found.tolist() == expected.tolist()
