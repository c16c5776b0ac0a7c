"""Texts in memory as ids, row after row, with what a score of each of them needs to know."""

# R = rows, N = units of all of them

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from unicodedata import normalize

import numpy as np

from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError, DictionaryError
from charlm.text.corpus.chunks import CHUNK_BYTES, with_universal_newlines
from charlm.units.encoded_lines import NUM_BEFORE, NUM_BEHIND

_NEWLINE = ord("\n")


@dataclass(frozen=True, kw_only=True)
class EncodedRows:
    """The ids of some texts, without their empty lines, and sums of each text; arrays of shape (R,) but for `ids`."""

    ids: np.ndarray
    """Ids of all texts, one after the other, (N,)."""

    units: np.ndarray
    characters: np.ndarray
    bytes: np.ndarray
    unknown: np.ndarray
    unknown_bits: np.ndarray
    """What naming the unknown units costs; not a number where the text cannot be rebuilt."""


class RowEncoder:
    """Encodes texts with a dictionary; raises DictionaryError for one without `<unk>`."""

    def __init__(self, dictionary: Dictionary) -> None:
        if not dictionary.add_unk:
            raise DictionaryError("text is encoded with a dictionary whose first item is <unk>, this one has none")
        self._unit = dictionary.unit_of
        self._encoder = self._unit.encoder(dictionary.get_items(), dictionary.id_type)

    def encode(self, rows: Sequence[bytes]) -> EncodedRows:
        """The ids of `rows`: UTF-8 that ends with a newline and holds more than newlines; at least one of them."""
        parts = [self._encode(part) for part in _parts([self._cleaned(row) for row in rows])]
        arrays = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(EncodedRows)
        }
        return EncodedRows(**arrays)

    def _cleaned(self, row: bytes) -> bytes:
        row, form = with_universal_newlines(row), self._unit.normalization
        return row if form == "none" else normalize(form, row.decode()).encode()

    def _encode(self, rows: Sequence[bytes]) -> EncodedRows:
        text = b"\n" * NUM_BEFORE + b"".join(rows) + b"\n" * NUM_BEHIND
        try:
            lines = self._encoder.encode(np.frombuffer(text, dtype=np.uint8))
        except UnicodeDecodeError as error:
            raise CorpusError(f"a text to score is not UTF-8 ({error.reason}); convert it first") from error
        octets = np.frombuffer(text, dtype=np.uint8)[NUM_BEFORE - 1 : -NUM_BEHIND]
        is_newline = octets == _NEWLINE
        is_kept = ~(is_newline[1:] & is_newline[:-1])  # empty lines are dropped
        sizes = np.array([len(row) for row in rows])
        starts = np.cumsum(sizes) - sizes
        num_lines = _sums(is_kept & is_newline[1:], starts)
        first_lines = np.cumsum(num_lines) - num_lines
        units = _sums(lines.lengths, first_lines)
        unknown = _sums(lines.ids == 0, np.cumsum(units) - units)
        cost = self._unit.unknown_bits
        if cost is None:
            assert lines.unknown_bits is not None  # its unit has no cost for all
            bits = np.add.reduceat(lines.unknown_bits, first_lines)
        else:
            bits = cost * unknown
        return EncodedRows(
            ids=lines.ids,
            units=units,
            characters=_sums(is_kept & (octets[1:] & 0xC0 != 0x80), starts),
            bytes=_sums(is_kept, starts),
            unknown=unknown,
            unknown_bits=bits,
        )


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sums of the values from each start to the next one, int64."""
    sums: np.ndarray = np.add.reduceat(values, starts, dtype=np.int64)
    return sums


def _parts(rows: list[bytes]) -> Iterator[list[bytes]]:
    """The rows in parts of about CHUNK_BYTES, which encoders are fastest on."""
    part: list[bytes] = []
    size = 0
    for row in rows:
        part.append(row)
        size += len(row)
        if size >= CHUNK_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
