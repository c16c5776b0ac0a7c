"""UTF-8 as arrays: it is what the interpreter decodes, and nothing else."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.arrays import masks, utf8
from charlm.arrays.masks import column, select, true_indices
from charlm.arrays.utf8 import bytes_beyond_ascii, code_points, first_bytes, is_utf8, share_beyond_ascii

BYTES = st.lists(
    st.one_of(
        st.binary(max_size=4),
        st.characters().map(lambda character: character.encode(errors="surrogatepass")),
        st.sampled_from([bytes([octet]) for octet in (0x41, 0x80, 0xBF, 0xC0, 0xC3, 0xE0, 0xED, 0xF0, 0xF4, 0xF5)]),
    ),
    min_size=1,
).map(b"".join)
"""UTF-8 with a wrong byte here and there."""


@pytest.fixture(autouse=True, scope="module", params=["with polars", "without"])
def _engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Short text is treated like long text, also on machines without Polars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utf8, "_SHORT_BYTES", 0)
        patch.setattr(masks, "FEW", 0)
        if request.param == "without":
            for module in (utf8, masks):
                patch.setattr(module, "polars", lambda: None)
        yield


def as_array(text: bytes) -> np.ndarray:
    return np.frombuffer(text, dtype=np.uint8)


@given(BYTES.filter(len))
@example(b"\xe0\xa4")
@example(b"\xc3A\xa4")
@example("\U0010ffff\ufffe\ud7ff\u07ff\x7f\0".encode())
def test_code_points_are_what_the_interpreter_decodes(text: bytes) -> None:
    try:
        decoded: str | None = text.decode()
    except UnicodeDecodeError:
        decoded = None
    assert is_utf8(text) == (decoded is not None)
    if decoded is None:
        with pytest.raises(UnicodeDecodeError):
            code_points(as_array(text))
    else:
        assert code_points(as_array(text)).tolist() == list(map(ord, decoded))


@given(st.text(min_size=1))
def test_characters_beyond_ascii_are_told_apart(text: str) -> None:
    octets = as_array(text.encode())
    assert bytes_beyond_ascii(octets).tobytes().decode() == "".join(filter(lambda c: not c.isascii(), text))
    assert first_bytes(octets).tolist() == [character.encode()[0] for character in text]


@given(BYTES.filter(len))
def test_ascii_inside_a_character_is_not_overlooked(text: bytes) -> None:
    try:
        beyond = bytes_beyond_ascii(as_array(text)).tobytes()
    except UnicodeDecodeError:
        assert not is_utf8(text)
    else:
        assert is_utf8(beyond) == is_utf8(text)


def test_the_share_beyond_ascii_is_by_sample() -> None:
    assert share_beyond_ascii(as_array(b"a")) == 0
    assert share_beyond_ascii(as_array("ж".encode() * 1000)) == 1
    assert share_beyond_ascii(as_array(("ж" * 50 + "abc " * 25).encode() * 500)) == pytest.approx(0.5, abs=0.05)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 255)), min_size=1))
def test_what_a_mask_marks_is_picked_out(marked: list[tuple[bool, int]]) -> None:
    mask, values = np.array([mark for mark, _ in marked]), np.array([value for _, value in marked], dtype=np.uint8)
    octets, longer = select(column(mask), values, values.astype(np.uint32) << 16)
    assert octets.tolist() == [value for mark, value in marked if mark]
    assert longer.tolist() == [value << 16 for mark, value in marked if mark]
    assert true_indices(column(mask)).tolist() == [place for place, (mark, _) in enumerate(marked) if mark]
