"""UTF-8 as arrays of bytes: whether text is UTF-8, and its code points.

The interpreter's decoder goes from character to character, and is slowest where one-byte blanks separate longer
letters. Here each step is made for all characters of a piece of text at once: Polars checks it and picks out the
bytes that make up the characters, both with the processor's vector instructions, and NumPy puts them together. In
scripts beyond ASCII that takes half the time, and three quarters where the interpreter is at its best (Japanese); of
text that is mostly ASCII, only what is not comes here.
"""

import numpy as np

from charlm.arrays.masks import column, polars, select

BEYOND_ASCII = 0x80
_FIRST_OF_THREE, _FIRST_OF_FOUR = 0xE0, 0xF0
_LARGEST_CONTINUING = -0x41  # as a signed byte; those that continue a character are the smallest ones
_BITS = 0x3F  # of a character in a byte that continues it
_SAMPLED = 251  # odd, and so in no step with fields of a fixed width
_SHORT_BYTES = 1 << 16  # below that, the calls of many functions take longer than decoding


def is_utf8(text: bytes | np.ndarray) -> bool:
    """Whether bytes, or uint8 (bytes,), are UTF-8."""
    values = np.frombuffer(text, dtype=np.uint8)
    if values.max(initial=0) < BEYOND_ASCII:  # at the speed of memory, and a short English text loads no Polars
        return True
    if len(values) < _SHORT_BYTES or polars() is None:
        return _is_decoded(values)
    from charlm.arrays.arrow import binary_values  # loads pyarrow, which labelled sentences do not need

    try:
        polars().from_arrow(binary_values(text, np.array([0, len(text)]))).cast(polars().String)
    except polars().exceptions.PolarsError:
        return False
    return True


def _is_decoded(text: np.ndarray) -> bool:
    try:
        str(text.data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def share_beyond_ascii(text: np.ndarray) -> float:
    """Of the bytes of a text that is not empty, uint8 (bytes,), by one in a few hundred."""
    sample = text[::_SAMPLED]
    return int(np.count_nonzero(sample >= BEYOND_ASCII)) / len(sample)


def bytes_beyond_ascii(text: np.ndarray) -> np.ndarray:
    """All bytes of the characters beyond ASCII in a text, uint8 (bytes,), which are UTF-8 if the text is.

    Raises UnicodeDecodeError for ASCII inside a character, which these bytes alone would not show.
    """
    signed = text.view(np.int8)
    is_beyond = column(signed) < 0
    if not is_beyond.any():
        return text[:0]
    if not ((column(signed[1:]) > _LARGEST_CONTINUING) | (column(signed[:-1]) < 0)).all():
        str(text.data, "utf-8")
    return select(is_beyond, text)[0]


def first_bytes(text: np.ndarray) -> np.ndarray:
    """The first byte of each character of a UTF-8 text, uint8 (bytes,)."""
    return select(column(text.view(np.int8)) > _LARGEST_CONTINUING, text)[0]


def code_points(text: np.ndarray) -> np.ndarray:
    """The code points of a UTF-8 text that is not empty, uint8 (bytes,).

    They are uint16 (characters,), or uint32 where one of them may be beyond 65,535. Raises UnicodeDecodeError.
    """
    padded = np.zeros(len(text) + 4, dtype=np.uint8)
    padded[3:-1] = text
    return code_points_within(padded)


def code_points_within(padded: np.ndarray) -> np.ndarray:
    """The same of a text between three bytes and one that are ASCII, uint8 (3 + bytes + 1,); that saves a copy."""
    text = padded[3:-1]
    if len(text) < _SHORT_BYTES or polars() is None or not is_utf8(text):
        found: np.ndarray = np.array(str(text.data, "utf-8")).reshape(1).view(np.uint32)
        return found
    is_last = polars().Series(padded[4:].view(np.int8)) > _LARGEST_CONTINUING
    # Of each character the last byte and those before it, which may belong to an earlier one.
    last, second, third = select(is_last, text, padded[2:-2], padded[1:-3])
    # A byte at a distance of two that begins a character of three begins this one; of any other one nothing is to stay,
    # as the bits for the length of a character drop out. NumPy multiplies numbers faster than it masks them.
    points: np.ndarray = (third * (third >= _FIRST_OF_THREE).view(np.uint8)).astype(np.uint16)
    points *= 1 << 6
    points += second * (last >= BEYOND_ASCII).view(np.uint8) & _BITS
    points *= 1 << 6
    points += last & 0x7F
    if text.max() < _FIRST_OF_FOUR:
        return points
    (fourth,) = select(is_last, padded[:-4])
    four = np.flatnonzero(fourth >= _FIRST_OF_FOUR)
    wide: np.ndarray = points.astype(np.uint32)
    wide[four] |= (third[four] & _BITS).astype(np.uint32) << 12 | (fourth[four] & 7).astype(np.uint32) << 18
    return wide


def wide_encoding(start: bytes) -> str | None:
    """`utf-16-le` or alike, where zero bytes at the beginning of a text show an encoding of 2 or 4 bytes a character.

    Most characters of most texts have a code below 256, so that every other byte is zero.
    """
    start = start[: len(start) // 4 * 4]
    zeros = [start[place::4].count(0) for place in range(4)]
    quarter = len(start) // 4
    if quarter and min(zeros[2:]) == quarter:
        return "utf-32-le"
    if quarter and min(zeros[:2]) == quarter:
        return "utf-32-be"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if max(even, odd) > max(4 * min(even, odd), quarter):
        return "utf-16-le" if odd > even else "utf-16-be"
    return None
