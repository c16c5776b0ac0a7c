"""Raw text to words.

A word is a run of letters, digits and combining marks, with single inner `-`, `'` or `.` (`e-mail`, `3.5`, `x.org`);
abbreviations keep their dots (`D.C.`); English clitics stand alone (`is`, `n't`; `it`, `'s`); every other character
that is not white space is a word of its own, except that dots and repeated signs stay together (`...`, `--`).
Scripts without spaces are cut where punctuation is: tokenise them before.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache

# What Flair does to raw text: zero-width characters and line separators go, and the control characters U+0080-U+0099
# become the Windows-1252 characters that they were before somebody decoded them as Latin-1.
_MARKS = frozenset(",;:.!?")
_NOT = re.compile(r"n['’]t$", re.IGNORECASE)
_CLEANED: dict[int, str | None] = dict.fromkeys(map(ord, "\u200b\u200c\ufe0f\ufeff\u2028\u2029"))
_CLEANED |= {code: bytes([code]).decode("cp1252", "ignore") or None for code in range(0x80, 0x9A)}


def clean_text(text: str) -> str:
    """`text` without zero-width characters, as Flair cleans the text that it is going to tokenise."""
    return text.translate(_CLEANED)


def cleaned_positions(text: str) -> list[int]:
    """For every character of `clean_text(text)`, and for its end, the position in `text` that it comes from."""
    kept = [position for position, character in enumerate(text) if _CLEANED.get(ord(character), "") is not None]
    return [*kept, len(text)]


def tokenize(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every word of `text`."""
    for match in _word_pattern().finditer(text):
        start, end = match.span()
        if text[end - 1] in "tT" and end - start > 3 and _NOT.search(text, start, end):
            yield start, end - 3
            start = end - 3
        yield start, end


def words_at_once(text: str) -> list[str] | None:
    """The words of `tokenize(text)` for a text without white space, several times as fast; None where it may differ."""
    if text.isalnum():
        return [text]
    if text[-1:] in _MARKS and text[:-1].isalnum():
        return [text[:-1], text[-1]]
    if "'" in text or "’" in text:
        return None
    words = [match.group() for match in _word_pattern().finditer(text)]
    return words if "".join(words) == text else None


def split_at_spaces(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every run of characters between spaces."""
    for match in re.finditer("[^ ]+", text):
        yield match.span()


@cache
def _word_pattern() -> re.Pattern[str]:
    marks = "".join(
        chr(code) for code in range(sys.maxunicode + 1) if code < 0x20000 and unicodedata.category(chr(code))[0] == "M"
    )
    letter = rf"[\w{marks}]"
    clitic = r"['’](?:s|m|d|re|ve|ll|S|M|D|RE|VE|LL)\b"
    return re.compile(
        rf"""
          {letter}++(?:(?!{clitic})[-'’.,]{letter}++)*  # e-mail, 3.5, O'Brien
          (?:(?<=\.[^\W\d_])\.)?                       # the last dot of D.C.
        | {clitic}                                      # 's
        | ([.\-–—_*=!?…])\1*                            # ..., --
        | \S
        """,
        re.VERBOSE,
    )
