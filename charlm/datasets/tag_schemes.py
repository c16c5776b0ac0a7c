"""Schemes of tags for spans: told from the tags of a column, and mapped to BIOES.

| scheme | begins | goes on | ends | one word |
| --- | --- | --- | --- | --- |
| BIO, IOB1 | B (IOB1: B only between two neighbours) | I | I | B |
| BIOES | B | I | E | S |
| BILOU | B | I | L | U |
| BMES, BMEWO | B | M | E | S, W |

Bare tags (`B`, `I`, `O`) are spans of one kind, which is called like the layer.
"""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from charlm.data.spans import OUTSIDE, split_tag

_SPAN_TAG = re.compile(r"[BIESLUMW]-.+", re.DOTALL)
_OTHER_FORMS = (
    (re.compile(r"[BIESLU][_:./|].+"), "B_LOC"),
    (re.compile(r".+[-_][BIESLU]"), "LOC-B"),
    (re.compile(r"[bieslu]-.+"), "b-loc"),
)
_BARE = frozenset("BIESLUMW")
_LETTERS = {"BIO": "BI", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMESW"}
_MAPPED = {"BILOU": {"L": "E", "U": "S"}, "BMES": {"M": "I", "W": "S"}}


@dataclass(frozen=True)
class Scheme:
    """What the tags of a column are."""

    spans: bool
    """Whether they label spans; otherwise words."""

    name: str = ""
    """BIO (IOB1 is told apart later), BIOES, BILOU or BMES."""

    bare_value: str = ""
    """What spans are called whose tags have no value."""

    mapping: dict[str, str] = field(default_factory=dict)
    """For every tag of the column its form in BIO or BIOES, where that is another."""


def find_scheme(counts: Counter[str], layer: str) -> Scheme:
    """The scheme of the tags of a column, each with its count, `O` and empty ones left out.

    A column labels spans where most of its tags have the form of one. A label of words such as `S-BAR` stays one.

    Raises ValueError, with what to do, for tags of two schemes or of a form that we do not read.
    """
    tags = set(counts)
    if not tags:
        return Scheme(spans=False)
    if tags <= _BARE and "B" in tags and not _BARE.isdisjoint(tags - {"B"}):
        spans, bare = tags, layer
    else:
        spans, bare = {tag for tag in tags if _SPAN_TAG.fullmatch(tag)}, ""
    if sum(counts[tag] for tag in spans) * 2 <= counts.total():
        for form, example in _OTHER_FORMS:
            if len(tags) > 1 and all(map(form.fullmatch, tags)) and _has_pair(tags, example):
                raise ValueError(
                    f"tags such as {min(tags)} are in the form {example}; write them as B-LOC, I-LOC and O"
                )
        return Scheme(spans=False)
    name = _name_of({tag[0] for tag in spans})
    letters = _MAPPED.get(name, {})
    mapping = {}
    for tag in spans:
        prefix, value = split_tag(tag)
        mapped = f"{letters.get(prefix, prefix)}-{value or bare}"
        if mapped != tag:
            mapping[tag] = mapped
    return Scheme(spans=True, name=name, bare_value=bare, mapping=mapping)


def _name_of(letters: set[str]) -> str:
    name = (
        "BMES" if letters & set("MW") else "BILOU" if letters & set("LU") else "BIOES" if letters & set("ES") else "BIO"
    )
    others = letters - set(_LETTERS[name])
    if others:
        raise ValueError(
            f"tags of two schemes stand in one column: {', '.join(sorted(others))} and those of {name} "
            f"({', '.join(_LETTERS[name])}); write all in one"
        )
    return name


def _has_pair(tags: Collection[str], example: str) -> bool:
    """Whether some value is both begun and continued, which no set of word labels does by chance."""
    beginning, inside = set[str](), set[str]()
    for tag in tags:
        letter, value = (tag[-1], tag[:-2]) if example == "LOC-B" else (tag[0].upper(), tag[2:])
        (beginning if letter == "B" else inside).add(value)
    return not beginning.isdisjoint(inside)


def looks_like_a_tag(text: str) -> bool:
    """Whether a text is `O` or the tag of a span."""
    return text == OUTSIDE or (" " not in text and _SPAN_TAG.fullmatch(text) is not None)
