"""Count and encode words by the gigabyte: a text is an array of numbers of its values (word_values.py)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from charlm.arrays.arrow import strings
from charlm.config.text import Normalization
from charlm.units.counts import Counts
from charlm.units.encoded_lines import NUM_BEFORE, NUM_BEHIND, EncodedLines
from charlm.units.growing import Column
from charlm.units.word_coding import LITERAL_EOS, PRUNED, SENTENCE_END, Coding, gap_name
from charlm.units.word_tokenizers import SentenceRule, WordTokenizer
from charlm.units.word_values import KINDS, NO_GAP, ValueTable

_MOST_TYPES = 5_000_000  # of one shard in memory
_MOST_GAPS = 10_000  # kinds of gaps that are counted
_NEWLINE = b"\n"


class WordCounter:
    """Counts words and what stands between them."""

    def __init__(
        self, tokenizer: WordTokenizer, sentences: SentenceRule, lowercase: bool, normalization: Normalization
    ) -> None:
        self._table = ValueTable(tokenizer, sentences, lowercase, normalization)
        self._value_counts = np.zeros(0, dtype=np.int64)
        self._gap_counts = np.zeros(0, dtype=np.int64)
        self._counted: Counter[str] = Counter()
        self._context: Counter[str] = Counter()

    def add(self, text: bytes | np.ndarray) -> None:
        octets = np.frombuffer(text, dtype=np.uint8)
        if not len(octets):
            return
        if octets[-1:].tobytes() != _NEWLINE:
            octets = np.append(octets, np.frombuffer(_NEWLINE, dtype=np.uint8))
        values = self._table.read(octets)
        self._value_counts = _sum(self._value_counts, np.bincount(values.numbers))
        gaps = values.gaps[values.gaps != NO_GAP]
        self._gap_counts = _sum(self._gap_counts, np.bincount(gaps))
        if self._table.is_full:
            self._flush()

    def _flush(self) -> None:
        """Add up the words and gaps of all values so far, and forget these."""
        table = self._table
        counts = _sum(np.zeros(len(table.num_words), dtype=np.int64), self._value_counts)
        of_words = np.repeat(counts, table.num_words)
        words = np.bincount(table.words, weights=of_words, minlength=len(table.distinct_words)).astype(np.int64)
        inner = table.inner_gaps != NO_GAP
        gaps = np.bincount(table.inner_gaps[inner], weights=of_words[inner], minlength=len(table.distinct_gaps)).astype(
            np.int64
        )
        gaps = _sum(gaps, self._gap_counts)
        for word, count in zip(table.distinct_words, words.tolist(), strict=True):
            self._counted[KINDS.item(word)] += count
            if word in (KINDS.literal_eos, KINDS.sentence_end):
                self._context[LITERAL_EOS if word == KINDS.literal_eos else SENTENCE_END] += count
        for gap, count in zip(table.distinct_gaps, gaps.tolist(), strict=True):
            name = gap_name(gap)
            if name in self._context or len(self._context) < _MOST_GAPS:
                self._context[name] += count
        table.clear()
        self._value_counts = self._gap_counts = self._value_counts[:0]
        if len(self._counted) > _MOST_TYPES:
            self._prune()

    def _prune(self) -> None:
        """Forget the words that have occurred once."""
        rare = [word for word, count in self._counted.items() if count == 1]
        for word in rare:
            del self._counted[word]
        self._context[PRUNED] += len(rare)

    @property
    def counts(self) -> Counts:
        self._flush()
        items = sorted(word for word, count in self._counted.items() if count)
        numbers = np.array([self._counted[item] for item in items], dtype=np.int64)
        return Counts(strings(items), numbers, {name: count for name, count in sorted(self._context.items()) if count})


def _sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The sum of two arrays; the shorter one goes on with zeros."""
    if len(left) < len(right):
        left, right = right, left
    total = left.copy()
    total[: len(right)] += right
    return total


class WordEncoder:
    """Looks up the ids of words, and sums up what the ids leave out, line by line."""

    def __init__(
        self,
        tokenizer: WordTokenizer,
        sentences: SentenceRule,
        lowercase: bool,
        normalization: Normalization,
        coding: Coding | None,
        items: Sequence[str],
        id_type: np.dtype[np.unsignedinteger],
    ) -> None:
        self._item_ids = {item: idx for idx, item in enumerate(items)}
        self._id_type = id_type
        self._coding = coding if tokenizer.keeps_text and not lowercase else None
        self._table = ValueTable(tokenizer, sentences, lowercase, normalization)
        self._forget()

    def _forget(self) -> None:
        """Forget all words, gaps and values."""
        self._table.clear()
        self._ids, self._word_bits = Column(self._id_type), Column(np.float64)  # of each numbered word
        self._gap_bits = Column(np.float64)
        self._value_ids = Column(self._id_type)  # of the words of all values, one after the other
        self._value_bits = Column(np.float64)  # of each value: its words, and the gaps inside it

    def encode(self, chunk: np.ndarray) -> EncodedLines:
        text = chunk[NUM_BEFORE : -NUM_BEHIND if chunk[-NUM_BEHIND - 1] == _NEWLINE[0] else 1 - NUM_BEHIND]
        if self._table.is_full:
            self._forget()
        values = self._table.read(text)
        self._learn()
        table = self._table
        lengths = table.num_words[values.numbers]
        ends = np.cumsum(lengths)
        num_ids = int(ends[-1]) if len(ends) else 0
        places = np.repeat(table.starts[values.numbers] - (ends - lengths), lengths) + np.arange(num_ids)
        ids = self._value_ids.array[places]
        last_values = np.flatnonzero(table.ends_line[values.numbers])
        return EncodedLines(
            ids,
            np.diff(ends[last_values], prepend=0).astype(np.int64),
            characters=values.num_characters,
            bytes=values.num_bytes,
            unknown_bits=self._line_bits(values.numbers, values.gaps, last_values),
        )

    def _line_bits(self, numbers: np.ndarray, gaps: np.ndarray, last_values: np.ndarray) -> np.ndarray:
        if self._coding is None:
            return np.full(len(last_values), np.nan)
        bits = self._value_bits.array[numbers]
        has_gap = gaps != NO_GAP
        bits[has_gap] += self._gap_bits.array[gaps[has_gap]]
        sums = np.cumsum(bits)[last_values]
        return np.diff(sums, prepend=0.0)

    def _learn(self) -> None:
        """The ids and bits of the words, gaps and values that were met for the first time."""
        table, coding = self._table, self._coding
        words = table.distinct_words.things[self._ids.size :]
        ids = [self._item_ids.get(KINDS.item(word), 0) for word in words]
        self._ids.append(ids)
        self._value_ids.append(self._ids.array[table.words[self._value_ids.size :]])
        if coding is None:
            return
        self._word_bits.append([coding.word_bits(w, is_known=idx > 0) for w, idx in zip(words, ids, strict=True)])
        self._gap_bits.append([coding.gaps.bits(gap) for gap in table.distinct_gaps.things[self._gap_bits.size :]])
        first = self._value_bits.size
        if first < len(table.starts):
            start = int(table.starts[first])
            bits = self._word_bits.array[table.words[start:]]
            gaps = table.inner_gaps[start:]
            bits[gaps != NO_GAP] += self._gap_bits.array[gaps[gaps != NO_GAP]]
            sums = np.concatenate([[0.0], np.cumsum(bits)])
            begins = table.starts[first:] - start
            self._value_bits.append(sums[begins + table.num_words[first:]] - sums[begins])
