"""Raw text to words.

The words are those of the package segtok, which Flair uses, on nearly all running text, by rules of our own: a word is
a run of letters, digits and combining marks, with inner `-`, `'`, `.` and `,`, and `:` between digits (`e-mail`,
`3.5`, `O'Brien`, `12:30`); other signs stay together where they touch (`...`, `:-)`, `://`), but for commas, colons
and marks that end a sentence. English contractions are cut (`is`, `n't`; `it`, `'s`). A dot belongs to an abbreviation
(`Mr.`, `e.g.`, `J.`), but not at the end of the text.

Each run of characters between white space is cut by itself; only for the last one it matters that nothing follows.
Scripts without spaces are cut where punctuation is: tokenise them before.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache

# What Flair does to raw text: zero-width characters and line separators go, and the control characters U+0080-U+0099
# become the Windows-1252 characters that they were before somebody decoded them as Latin-1.
_CLEANED: dict[int, str | None] = dict.fromkeys(map(ord, "\u200b\u200c\ufe0f\ufeff\u2028\u2029"))
_CLEANED |= {code: bytes([code]).decode("cp1252", "ignore") or None for code in range(0x80, 0x9A)}

_SPLICED = frozenset(",;:")  # a word of their own behind anything
_MARKS = frozenset(".,;:!?")
_TERMINALS = frozenset(".!?‼‽⁇⁈⁉。﹒﹗！．？｡")
_CURLY = "´ʹʼ’′"
_APOSTROPHE = re.compile(f"['{_CURLY}]")
_HYPHENS = "\\-\xad֊־༌᐀᠆‐‑‒⸗゠"
_ABBREVIATIONS = frozenset(
    re.findall(
        r"\w+",
        """
        adm al approx apr aug bd bros bzw ca capt cf cmdr col dec dept dr eds esq feb fig figs gen gov hon ing
        jan jr maj mar med messrs mlle mme mr mrs mt nov nr oct okt pp pres prof rep rev sen sep sept sgt sr st
        str univ usw vgl viz vol vols vs
        """,
    )
)


def clean_text(text: str) -> str:
    """`text` without zero-width characters, as Flair cleans the text that it is going to tokenise."""
    return text.translate(_CLEANED)


def cleaned_positions(text: str) -> list[int]:
    """For every character of `clean_text(text)`, and for its end, the position in `text` that it comes from."""
    kept = [position for position, character in enumerate(text) if _CLEANED.get(ord(character), "") is not None]
    return [*kept, len(text)]


def tokenize(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every word of `text`."""
    has_apostrophe = _APOSTROPHE.search(text) is not None
    for match in _word_pattern(text.isascii()).finditer(text):
        start, end = match.span()
        if end - start == 1 or (text[end - 1].isalnum() and not has_apostrophe):
            yield start, end
        elif _is_sign(text[start]):
            yield from _cut_signs(text, start, end)
        else:
            yield from _cut_word(text, start, end)


def _ends_sentence(text: str, start: int, end: int) -> bool:
    """Whether the dot before `end` is that of a sentence, not of the abbreviation before it."""
    if end == len(text):
        return True
    return text[end] not in _SPLICED and not _is_abbreviation(text[start : end - 1])


def _is_abbreviation(word: str) -> bool:
    """Whether a dot after `word` is part of it: `Mr`, `J`, `e.g`."""
    if word[-1:].isalpha() and word[-2:-1] in ("", "."):
        return word not in "Ii"
    return word.lower() in _ABBREVIATIONS


def _is_sign(character: str) -> bool:
    return not (character.isalnum() or character in _CURLY or unicodedata.category(character)[0] == "M")


def _cut_word(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A word without the dot of its sentence; the ending of an English contraction is a word of its own."""
    dot = text[end - 1] == "." and _ends_sentence(text, start, end)
    end -= dot
    if (match := _contraction().fullmatch(text, start, end)) is not None:
        ending = match.start("ending")
        if text[ending + 1 : end] == "t" and text[ending - 1 : ending] == "n":
            ending -= 1
        if ending > start:
            yield start, ending
        start = ending
    yield start, end
    if dot:
        yield end, end + 1


def _cut_signs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Signs that touch; commas behind them are words of their own, and so is what ends a sentence at either end."""
    behind = end
    while end - start > 1 and text[end - 1] in _SPLICED:
        end -= 1
    if end - start > 1 and text[start:end] != "...":
        if text[end - 1] in _TERMINALS:
            yield start, end - 1
            start = end - 1
        elif text[start] in _TERMINALS:
            yield start, start + 1
            start += 1
    yield start, end
    for place in range(end, behind):
        yield place, place + 1


def words_at_once(text: str) -> list[str] | None:
    """The words of a text without white space; None where there is any, or it matters whether another word follows."""
    if text.isalnum():
        return [text]
    if text[-1:] in _MARKS and text[:-1].isalnum():
        return None if text[-1] == "." and _is_abbreviation(text[:-1]) else [text[:-1], text[-1]]
    words: list[str] = _word_pattern(text.isascii()).findall(text)
    if _APOSTROPHE.search(text) or any(len(word) > 1 and not word[-1].isalnum() for word in words):
        words = [text[start:end] for start, end in tokenize(text)]
        if words[-1] == "." and len(words) > 1 and _is_abbreviation(words[-2]):
            return None
    return words if "".join(words) == text else None


def split_at_spaces(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every run of characters between spaces."""
    for match in re.finditer("[^ ]+", text):
        yield match.span()


@cache
def _marks() -> str:
    """All combining marks, for a set of a regular expression."""
    return "".join(
        chr(code) for code in range(sys.maxunicode + 1) if code < 0x20000 and unicodedata.category(chr(code))[0] == "M"
    )


@cache
def _word_pattern(is_ascii: bool) -> re.Pattern[str]:
    """A word, or signs that touch. What is not ASCII needs the sets of all marks, which are slower."""
    marks, curly = ("", "") if is_ascii else (_marks(), _CURLY)
    letter, letters = "[^\\W_]", "[^\\W_]++"
    if not is_ascii:
        letter, letters = rf"(?:{letter}|[{marks}])", rf"(?:{letters}|[{marks}]++)++"
    joined = rf"""
        \.(?!\.\.)                                      # e.g., but not Wait...
        | [,'](?={letter})                               # 1,000; O'Brien
        | (?<=\d):(?=\d)                                 # 12:30
        | {rf"[{curly}]?" if curly else ""}[{_HYPHENS}](?={letter})
        | (?<=s)'(?!\S)                                  # users'
        """
    alone = rf"| [{curly}](?![{curly}])" if curly else ""
    return re.compile(rf"(?:{letters}(?:{joined})?+ {alone})++ | (?:[^\w\s{curly}{marks}]|_)++ | \S", re.VERBOSE)


@cache
def _contraction() -> re.Pattern[str]:
    letters = rf"(?:[^\W_]++|[{_marks()}]++)++"
    return re.compile(rf"(?:{letters}(?:[{_HYPHENS}]{letters})*)?(?P<ending>['{_CURLY}](?:d|ll|m|re|s|t|ve))")
