"""Count the characters of UTF-8 text by its pairs of neighbouring bytes, without decoding it.

A character of two bytes is such a pair. One of three bytes is two pairs, and the second of them alone says which
character it is, as long as its middle byte is only met behind one first byte; within most scripts it is. Characters
where that fails, and those of four bytes, are picked out and decoded. Python's decoder is at its slowest where one-byte
blanks stand between longer letters, and there this takes a half to a third of its time.
"""

import numpy as np

_NUM_ASCII = 0x80
_CONTINUED = slice(0x80, 0xC0)
_FIRST_OF_TWO = slice(0xC2, 0xE0)
_FIRST_OF_MORE = slice(0xE0, 0x100)
_NEWLINE = ord("\n")
_SAMPLE_BYTES = 1 << 12
_FEW = 1 / 100


class BytePairs:
    """Adds up pairs of neighbouring bytes, chunk by chunk, and tells how often each character occurs in them."""

    def __init__(self) -> None:
        self._pairs = np.zeros((256, 256), dtype=np.int64)
        """How often each (second, first) byte occurs; the order in which a little-endian number has them."""

        self._first = np.zeros(256, dtype=np.uint8)
        """The first byte of those characters of three bytes that are told by their last two, by the middle one."""

        self._num_chunks = 0

    def suits(self, octets: np.ndarray) -> bool:
        """Whether few characters of the text would have to be picked out, by its beginning; they take longer so."""
        sample = octets[:_SAMPLE_BYTES]
        places = np.flatnonzero(sample[:-1] >= 0xE0)
        pairs = np.bincount((sample[places] & 0x1F).astype(np.intp) << 6 | sample[places + 1] & 0x3F, minlength=1 << 11)
        behind = pairs.reshape(32, 64)
        first = np.where(self._first[_CONTINUED], self._first[_CONTINUED] & 0x1F, behind.argmax(axis=0))
        num_told = behind[first, np.arange(64)].sum()
        return int(behind.sum() - num_told) <= _FEW * len(sample)

    def add(self, octets: np.ndarray) -> bytes:
        """Count whole characters of UTF-8, uint8 (bytes,); returns those that have to be counted otherwise."""
        behind = self._pairs[_CONTINUED, _FIRST_OF_MORE]  # a view: it changes with the pairs
        before = behind.copy()
        _add_pairs(self._pairs, octets)
        # As if a newline stood before and behind, each byte is the first of one pair and the second of one.
        self._pairs[octets[0], _NEWLINE] += 1
        self._pairs[_NEWLINE, octets[-1]] += 1
        self._num_chunks += 1
        new = behind - before
        first = self._first[_CONTINUED]
        is_met = new[:, :16].any(axis=1) & (first == 0)
        first[is_met] = 0xE0 + new[is_met, :16].argmax(axis=1)
        is_told = np.arange(0xE0, 0x100) == first[:, None]
        begins_untold = (new.astype(bool) & ~is_told).any(axis=0)
        return self._pick_out(octets, 0xE0 + np.flatnonzero(begins_untold)) if begins_untold.any() else b""

    def _pick_out(self, octets: np.ndarray, firsts: np.ndarray) -> bytes:
        """The characters that their last two bytes do not tell, which begin with one of `firsts`; they are taken out of
        the pairs."""
        is_met = octets == firsts[0]
        for other in firsts[1:]:
            is_met |= octets == other
        places = np.flatnonzero(is_met)
        first, second = octets[places], octets.take(places + 1, mode="clip")
        is_told = first == self._first[second]
        picked = b""
        for num_bytes, is_meant in ((3, ~is_told & (first < 0xF0)), (4, first >= 0xF0)):
            found = octets.take(places[is_meant][:, None] + np.arange(num_bytes), mode="clip")
            for place in range(1, num_bytes - 1):
                np.subtract.at(self._pairs, (found[:, place + 1], found[:, place]), 1)
            picked += found.tobytes()
        return picked

    def add_to(self, table: np.ndarray) -> None:
        """Add how often each character was told by its pairs, by code point; raises UnicodeError where the text was
        not UTF-8."""
        self._check()
        by_first = self._pairs.T  # a character is (first, second)
        table[:_NUM_ASCII] += by_first[:_NUM_ASCII].sum(axis=1)
        table[_NEWLINE] -= self._num_chunks
        two = by_first[_FIRST_OF_TWO, _CONTINUED]
        table[0x80:0x800] += two.ravel()
        for second in np.flatnonzero(self._first):
            start = (int(self._first[second]) & 0x0F) << 12 | (int(second) & 0x3F) << 6
            table[start : start + 0x40] += by_first[second, _CONTINUED]

    def _check(self) -> None:
        """Every byte stands behind one that it may follow, and characters of three bytes have all three."""
        by_first = self._pairs.T
        is_whole = not by_first[~_MAY_FOLLOW].any()
        for second in range(0x80, 0xC0):
            first = self._first[second]
            begun = by_first[first, second] if first else 0
            is_whole &= bool(by_first[second, _CONTINUED].sum() == begun)
        if not is_whole:
            raise UnicodeError("not UTF-8")


def _add_pairs(pairs: np.ndarray, octets: np.ndarray) -> None:
    """Add each two neighbouring bytes to `pairs`, (second, first)."""
    table = pairs.reshape(-1)
    for start in (0, 1):
        num_pairs = (len(octets) - start) // 2
        two = octets[start : start + 2 * num_pairs].view("<u2")
        np.add.at(table, two.astype(np.intp), 1)  # np.bincount looks for the largest value first


def _which_may_follow() -> np.ndarray:
    """Which byte may stand behind which in UTF-8, bool (first, second); see the table of well-formed sequences in the
    Unicode Standard, chapter 3."""
    first, second = np.arange(256)[:, None], np.arange(256)[None, :]
    is_continued = (second >= 0x80) & (second < 0xC0)
    begins = (second < 0x80) | ((second >= 0xC2) & (second < 0xF5))
    may = np.where(first < 0x80, begins, np.where(first < 0xC0, begins | is_continued, is_continued))
    may &= (first < 0xC0) | ((first >= 0xC2) & (first < 0xF5))
    may &= ~((first == 0xE0) & (second < 0xA0)) & ~((first == 0xED) & (second >= 0xA0))
    return np.asarray(may)


_MAY_FOLLOW = _which_may_follow()
