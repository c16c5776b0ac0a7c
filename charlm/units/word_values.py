"""A text as the few distinct values that it is made of, each of them cut into words once.

A value is what stands up to and with a space or a newline: `word `, `word.\\n`, a lone space. Running text repeats
them, so each distinct one is tokenised when it is first met, and a text is then an array of numbers of values. Of a
tokenizer that looks at its surroundings the values are whole lines.

Values are brought into the Unicode form of the unit before they are cut: a text counts as prepared text would.

Every word has a gap before it. Inside a value both are known from the value alone; the gap before its first word
depends on the values before it: it is a space in nearly all cases, and the others are put together one by one.
"""

import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from charlm.arrays.arrow import to_numpy
from charlm.config.text import Normalization
from charlm.units.gaps import NEWLINE, NUM_CLASSES, OTHER, Gap, class_before, class_of
from charlm.units.growing import Column, Numbers
from charlm.units.word_tokenizers import EOS_TOKEN, UNK_TOKEN, SentenceEnds, SentenceRule, WordTokenizer

_SPACE, _LINE_END = 0x20, 0x0A
_MOST_VALUES, _MOST_CHARACTERS = 500_000, 100_000_000  # in memory; then all are forgotten
_MOST_SPACES = 16  # between two words, in the table of gaps
NO_GAP = -1


@dataclass(frozen=True)
class WordKinds:
    """Names of words that stand for something else than themselves; no word of a text is equal to one of them."""

    newline: str = "\n"
    literal_eos: str = "\n" + EOS_TOKEN
    sentence_end: str = "\n."
    literal_unk: str = "\n" + UNK_TOKEN

    def item(self, word: str) -> str:
        """The item of the dictionary that a word is looked up as."""
        if word == self.literal_unk:
            return UNK_TOKEN
        return self.newline if word[0] == self.newline else word


KINDS = WordKinds()


@dataclass(frozen=True)
class Values:
    """A chunk of text, its empty lines left out: the number of each value, and of the gap before its first word.

    Bytes and characters are those of the text in its Unicode form.
    The gap is NO_GAP for a value without words, and where the tokenizer loses text.
    """

    numbers: np.ndarray
    gaps: np.ndarray
    num_bytes: int
    num_characters: int


class ValueTable:
    """The distinct values of a text, the numbers of their words and of the gaps between these.

    Attributes:
        num_words: words of each value.
        ends_line: whether a value ends a line.
        starts: where the words of each value begin in `words`.
        words, inner_gaps: numbers of the words of all values and of the gaps before them, one after the other; the gap
            before the first word of a value is NO_GAP.
        distinct_words, distinct_gaps: what these numbers mean.
    """

    def __init__(
        self, tokenizer: WordTokenizer, sentences: SentenceRule, lowercase: bool, normalization: Normalization
    ) -> None:
        self._tokenizer = tokenizer
        self._normalization = normalization
        self._sentences = sentences
        self._lowercase = lowercase
        # What is quick leaves out lower case, and the literal tokens that stand for something else.
        quick = tokenizer.at_once or tokenizer.cut_at_once
        self._quick = None if lowercase or not tokenizer.is_chunkwise else quick
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.distinct_words, self.distinct_gaps = Numbers[str](), Numbers[Gap]()
        self._before, self._after = Column(np.int16), Column(np.int16)  # classes of each distinct word
        self._texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._num_characters = 0
        self._growth: dict[int, tuple[int, int]] = {}  # bytes and characters that its Unicode form adds to a value
        self._around: dict[
            int, tuple[str, str]
        ] = {}  # gaps before and after the words of a value that has unusual ones
        self._num_words, self._ends_line, self._starts = Column(np.int32), Column(np.bool_), Column(np.int64)
        self._words, self._inner_gaps = Column(np.int64), Column(np.int64)
        self._first, self._last = Column(np.int16), Column(np.int16)  # classes
        self._is_usual, self._ends_space = Column(np.bool_), Column(np.bool_)
        self._usual_gaps = np.full((NUM_CLASSES, NUM_CLASSES, 2, _MOST_SPACES), NO_GAP, dtype=np.int64)

    num_words = property(lambda self: self._num_words.array)
    ends_line = property(lambda self: self._ends_line.array)
    starts = property(lambda self: self._starts.array)
    words = property(lambda self: self._words.array)
    inner_gaps = property(lambda self: self._inner_gaps.array)

    @property
    def is_full(self) -> bool:
        return len(self._texts) > _MOST_VALUES or self._num_characters > _MOST_CHARACTERS

    # ---- a chunk of text ---------------------------------------------------------------------------------------

    def read(self, text: np.ndarray, *, keep_empty_lines: bool = False) -> Values:
        """The values of whole lines, uint8 (bytes,) that end with a newline. Raises UnicodeDecodeError."""
        str(text.data, "utf-8")
        is_end = text == _LINE_END
        if self._tokenizer.is_chunkwise:
            is_end |= text == _SPACE
        ends = np.flatnonzero(is_end).astype(np.int32) + 1
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int32)
        # An empty line is a newline after another one.
        is_empty = (ends - starts == 1) & (text[ends - 1] == _LINE_END) & (text[starts - 1] == _LINE_END)
        numbers = self._look_up(text, ends)
        num_empty = 0 if keep_empty_lines else int(np.count_nonzero(is_empty))
        if num_empty:
            numbers, ends = numbers[~is_empty], ends[~is_empty]
        if self._sentences.ends is not None and self._tokenizer.keeps_text:
            places = _places_of_sentence_ends(self._sentences.ends, text, ends)
            numbers = np.insert(numbers, places, self._numbers_of([_SENTENCE_END])[0])
        num_characters = int(np.count_nonzero(text & 0xC0 != 0x80)) - num_empty
        more_bytes, more_characters = self._growth_of(numbers) if self._growth else (0, 0)
        return Values(
            numbers, self._gaps_before(numbers), len(text) - num_empty + more_bytes, num_characters + more_characters
        )

    def _growth_of(self, numbers: np.ndarray) -> tuple[int, int]:
        """The bytes and characters that their Unicode form adds to values."""
        counts = np.bincount(numbers, minlength=len(self._texts))
        grown = np.array([(*growth, number) for number, growth in self._growth.items()])  # (…, 3)
        more_bytes, more_characters = (counts[grown[:, 2], None] * grown[:, :2]).sum(axis=0).tolist()
        return more_bytes, more_characters

    def _in_form(self, texts: list[str]) -> list[str]:
        """New values in the Unicode form of the unit; what that adds to one is noted. The same list where all are."""
        form = self._normalization
        if form == "none" or unicodedata.is_normalized(form, "".join(texts)):
            return texts
        formed = [unicodedata.normalize(form, text) for text in texts]
        for number, (text, new) in enumerate(zip(texts, formed, strict=True), start=len(self._texts)):
            if text != new:
                self._growth[number] = len(new.encode()) - len(text.encode()), len(new) - len(text)
        return formed

    def _look_up(self, text: np.ndarray, ends: np.ndarray) -> np.ndarray:
        offsets = np.concatenate([[0], ends]).astype(np.int32)
        values = pa.Array.from_buffers(pa.string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(text)])
        encoded = values.dictionary_encode()
        numbers: np.ndarray = self._numbers_of(encoded.dictionary.to_pylist())[to_numpy(encoded.indices)]
        return numbers

    def _numbers_of(self, texts: list[str]) -> np.ndarray:
        """The numbers of values; those not met before are cut into words."""
        known = self._numbers
        found = np.array([known.get(text, -1) for text in texts], dtype=np.int64)
        new = np.flatnonzero(found < 0)
        if len(new):
            found[new] = len(self._texts) + np.arange(len(new))
            self._add([texts[index] for index in new.tolist()])
        return found

    # ---- values ------------------------------------------------------------------------------------------------

    def _add(self, raws: list[str]) -> None:
        """Cut new values into words; nearly all have nothing between these, and what is left goes by arrays."""
        num_before, texts = len(self._texts), self._in_form(raws)
        quick = self._quick if texts is raws else None
        words: list[str] = []
        lengths: list[int] = []
        gaps_inside: list[tuple[int, str]] = []  # those that are not empty, by the place of the word after them
        for text in texts:
            found = quick(text[:-1]) if quick is not None and text != _SENTENCE_END else None
            if found is None or text == " ":
                found = self._cut_whole(num_before + len(lengths), text, len(words), gaps_inside)
                words += found
                lengths.append(len(found))
            else:
                words += found
                if text[-1] == "\n":
                    words.append("\n")
                    lengths.append(len(found) + 1)
                else:
                    lengths.append(len(found))
        self._texts += texts
        self._numbers.update(zip(raws, range(num_before, len(self._texts)), strict=True))
        self._num_characters += sum(map(len, texts))
        ends = np.cumsum(lengths)
        starts = ends - lengths
        numbers = self._word_numbers(words)
        left, right = self._after.array[numbers], self._before.array[numbers]
        has_words = ends > starts
        inner = np.ones(len(words), dtype=bool)
        inner[starts[has_words]] = False
        gaps = np.full(len(words), NO_GAP, dtype=np.int64)
        if self._tokenizer.keeps_text:
            places = np.flatnonzero(inner)
            gaps[places] = self._usual_numbers(
                left[places - 1], right[places], 0, np.zeros(len(places), dtype=np.int64)
            )
            for place, text in gaps_inside:
                gaps[place] = self.distinct_gaps[int(left[place - 1]), int(right[place]), text]
        is_usual = np.ones(len(texts), dtype=bool)
        is_usual[[number - num_before for number in self._around if number >= num_before]] = False
        first, last = np.full(len(texts), NEWLINE), np.full(len(texts), NEWLINE)
        first[has_words], last[has_words] = right[starts[has_words]], left[ends[has_words] - 1]
        last_characters = np.array([text[-1] == " " for text in texts])
        self._starts.append(self._words.size + starts)
        self._num_words.append(lengths)
        self._ends_line.append(~last_characters & np.array([text != _SENTENCE_END for text in texts]))
        self._first.append(first)
        self._last.append(last)
        self._is_usual.append(is_usual)
        self._ends_space.append(last_characters)
        self._words.append(numbers)
        self._inner_gaps.append(gaps)

    def _word_numbers(self, words: list[str]) -> np.ndarray:
        """The numbers of words; the classes of new ones are kept."""
        num_known = len(self.distinct_words)
        numbering = self.distinct_words
        numbers = np.array([numbering[word] for word in words], dtype=np.int64)
        new = numbering.things[num_known:]
        self._before.append([_class_before(word) for word in new])
        self._after.append([_class_after(word) for word in new])
        return numbers

    def _cut_whole(self, number: int, text: str, place: int, gaps_inside: list[tuple[int, str]]) -> list[str]:
        """The words of one value, its unusual gaps noted; its first word will be at `place`."""
        words, gaps = self._cut(text)
        if gaps:
            before, after = gaps[0], gaps[-1]
            if (before or after != text[-1].strip("\n")) if words else text != " ":
                self._around[number] = (before, after)
            gaps_inside += [(place + index, gap) for index, gap in enumerate(gaps[:-1]) if gap and index]
        return words

    def _cut(self, text: str) -> tuple[list[str], list[str]]:
        """The words of a value, newline included, and the gaps around them."""
        if text == _SENTENCE_END:
            return [KINDS.sentence_end], ["", ""]
        ends_line = text[-1] == "\n"
        words, gaps = self._tokenizer.cut(text[:-1] if ends_line else text)
        if self._lowercase:
            words = [word.lower() for word in words]
        words = [_SPECIAL.get(word, word) for word in words]
        if ends_line:
            return [*words, KINDS.newline], [*gaps, ""] if gaps else []
        return words, gaps

    # ---- gaps between values -----------------------------------------------------------------------------------

    def _gaps_before(self, numbers: np.ndarray) -> np.ndarray:
        gaps = np.full(len(numbers), NO_GAP, dtype=np.int64)
        if not self._tokenizer.keeps_text:
            return gaps
        places = np.flatnonzero(self.num_words[numbers] > 0)  # of values with words; the last one ends a line
        those = numbers[places]
        left = np.concatenate([[NEWLINE], self._last.array[those[:-1]]])
        ends_space = np.concatenate([[False], self._ends_space.array[those[:-1]]])
        spaces = np.diff(places, prepend=-1) - 1
        is_odd = np.cumsum(~self._is_usual.array[numbers])
        is_odd_between = np.diff(is_odd[places], prepend=0) > 0  # this value, or one without words before it
        is_odd_before = np.concatenate([[False], ~self._is_usual.array[those[:-1]]])
        is_usual = ~is_odd_between & ~is_odd_before & (spaces < _MOST_SPACES)
        found = np.full(len(places), NO_GAP, dtype=np.int64)
        right = self._first.array[those]
        found[is_usual] = self._usual_numbers(left[is_usual], right[is_usual], ends_space[is_usual], spaces[is_usual])
        for index in np.flatnonzero(~is_usual).tolist():
            place, before = int(places[index]), int(places[index - 1]) if index else -1
            text = self._gap_after(int(numbers[before])) if index else ""
            text += "".join([self._texts[number] for number in numbers[before + 1 : place].tolist()])
            text += self._around.get(int(numbers[place]), ("", ""))[0]
            found[index] = self.distinct_gaps[int(left[index]), int(right[index]), text]
        gaps[places] = found
        return gaps

    def _usual_numbers(
        self, left: np.ndarray, right: np.ndarray, ends_space: np.ndarray | int, spaces: np.ndarray
    ) -> np.ndarray:
        """The numbers of gaps of spaces only: one where a value ends with it, and those of values that are no more."""
        keys = ((left.astype(np.int64) * NUM_CLASSES + right) * 2 + ends_space) * _MOST_SPACES + spaces
        table = self._usual_gaps.reshape(-1)
        found: np.ndarray = table[keys]
        if (found == NO_GAP).any():
            for key in np.unique(keys[found == NO_GAP]).tolist():
                rest, num_spaces = divmod(key, _MOST_SPACES)
                rest, has_space = divmod(rest, 2)
                table[key] = self.distinct_gaps[(*divmod(rest, NUM_CLASSES), " " * (num_spaces + has_space))]
            found = table[keys]
        return found

    def _gap_after(self, number: int) -> str:
        if number in self._around:
            return self._around[number][1]
        return " " if self._ends_space.array[number] else ""


_SENTENCE_END = "\n\n"  # no value of a text holds two newlines
_SPECIAL = {UNK_TOKEN: KINDS.literal_unk, EOS_TOKEN: KINDS.literal_eos}


def _places_of_sentence_ends(find: SentenceEnds, text: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Where, in the values with these ends, the end of a sentence stands: behind the value that a sentence ends with.

    An end inside a value is none: nothing but white space stands between two sentences.
    """
    found: list[int] = []
    start = 0
    for line_end in np.flatnonzero(text == _LINE_END).tolist():
        line = bytes(text[start:line_end]).decode()
        sentence_ends = find(line) if line else []
        if sentence_ends:
            if line.isascii():
                found += [start + end for end in sentence_ends]
            else:
                found += [start + len(line[:end].encode()) for end in sentence_ends]
        start = line_end + 1
    # The value whose text ends at a byte, or one further on, a space.
    places = np.searchsorted(ends, np.array(found, dtype=np.int64))
    is_whole = (ends[places] == found) | (ends[places] == np.array(found) + 1)
    return np.unique(places[is_whole]) + 1


def _class_before(word: str) -> int:
    """The class of a word for the gap before it."""
    return OTHER if word == KINDS.literal_unk else class_before(word)


def _class_after(word: str) -> int:
    """The class of a word for the gap after it."""
    if word == KINDS.literal_unk:
        return OTHER
    return class_of("\n" if word[0] == "\n" else word[-1])


def words_of(
    text: str, tokenizer: WordTokenizer, sentences: SentenceRule, lowercase: bool, normalization: Normalization
) -> list[str]:
    """The words of a text as `ValueTable` gives them, newlines and ends of sentences as they are in KINDS.

    A last line without a newline has none here.
    """
    if not text:
        return []
    table = ValueTable(tokenizer, sentences, lowercase, normalization)
    ended = text if text.endswith("\n") else text + "\n"
    values = table.read(np.frombuffer(ended.encode(), dtype=np.uint8), keep_empty_lines=True).numbers
    words = [
        table.distinct_words.things[word]
        for start, count in zip(table.starts[values].tolist(), table.num_words[values].tolist(), strict=True)
        for word in table.words[start : start + count].tolist()
    ]
    return words if ended is text else words[:-1]
