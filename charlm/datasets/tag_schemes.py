"""Schemes of tags for spans: recognized by the tags of a column, and mapped to BIOES.

| scheme | begins | goes on | ends | one word |
| --- | --- | --- | --- | --- |
| BIO, IOB1 | B (IOB1: B only between two neighbours) | I | I | B |
| BIOES | B | I | E | S |
| BILOU | B | I | L | U |
| BMES, BMEWO | B | M | E | S, W |

Bare tags (`B`, `I`, `O`) are spans of one kind, which is called like the layer. Other ways to write tags are refused.
"""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from charlm.data.spans import OUTSIDE, split_tag

UNLABELLED = ("", "_", OUTSIDE)
"""What stands in a column for no label."""
_SPAN_TAG = re.compile(r"[BIESLUMW]-.+", re.DOTALL)
_OTHER_FORMS = (
    (re.compile(r"[BIESLUMW][_:./|].+"), "B_LOC"),
    (re.compile(r".+[-_][BIESLUMW]"), "LOC-B"),
    (re.compile(r"[bieslumwBIESLUMW]-.+|[oO]"), "b-loc"),
    (re.compile(r"[BIESLUMW]-"), "B-"),
    (re.compile(r"(?:BEGIN|BEG|INSIDE|IN|END|LAST|UNIT|SINGLE)[-_:].+", re.IGNORECASE), "BEGIN-LOC"),
    (re.compile(r"\(.+\*\)*|\*\)*"), "(LOC*)"),
)
"""Tags of spans that we do not read, by an example of each; the first letter, or the last one, begins or continues."""
_BARE = frozenset("BIESLUMW")
_LETTERS = {"BIO": "BI", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMESW"}
_MAPPED = {"BILOU": {"L": "E", "U": "S"}, "BMES": {"M": "I", "W": "S"}}


@dataclass(frozen=True)
class Scheme:
    """What the tags of a column are."""

    spans: bool
    """Whether they label spans; otherwise words."""

    name: str = ""
    """BIO (IOB1 is distinguished later), BIOES, BILOU or BMES."""

    bare_value: str = ""
    """What spans are called whose tags have no value."""

    mapping: dict[str, str] = field(default_factory=dict)
    """For every tag of the column its form in BIO or BIOES, where that is another."""


def find_scheme(counts: Counter[str], layer: str) -> Scheme:
    """The scheme of the tags of a column, each with its count.

    A column labels spans where most of its tags have the form of one, `O` not counted, or where there are `O` and a tag
    such as `B-LOC`. A label of words such as `S-BAR` stays one.

    Raises ValueError, with what to do, for tags of two schemes or of a form that we do not read.
    """
    has_outside = OUTSIDE in counts
    counts = Counter({tag: count for tag, count in counts.items() if tag not in UNLABELLED})
    tags = set(counts)
    if not tags:
        return Scheme(spans=False)
    if _are_bare(tags, has_outside):
        spans, bare = tags, layer
    else:
        spans, bare = {tag for tag in tags if _SPAN_TAG.fullmatch(tag)}, ""
    begun = has_outside and any(tag[0] in "BI" for tag in spans)
    if not begun and sum(counts[tag] for tag in spans) * 2 <= counts.total():
        for form, example in _OTHER_FORMS:
            if all(map(form.fullmatch, tags)) and _are_spans(tags, example, has_outside):
                raise ValueError(
                    f"tags such as {max(tags, key=len)} are in the form {example}; write them as B-LOC, I-LOC and O"
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
            f"one column has tags of two schemes: {', '.join(sorted(others))} and those of {name} "
            f"({', '.join(_LETTERS[name])}); write all in one"
        )
    return name


def _are_bare(tags: Collection[str], has_outside: bool) -> bool:
    """Whether tags are letters of a scheme without values, such as `B`, `I` and `O`."""
    if not _BARE.issuperset(tags):
        return False
    if "B" in tags:
        return len(tags) > 1 or has_outside
    return has_outside and set(tags) == {"I"}  # IOB1 where no two spans touch


def _are_spans(tags: Collection[str], example: str, has_outside: bool) -> bool:
    """Whether tags of the form of `example` are those of spans, and no set of word labels that looks like it."""
    if example == "(LOC*)":
        return any(tag.startswith("(") for tag in tags)
    beginning, inside = set[str](), set[str]()
    for tag in tags:
        letter, value = (tag[-1], tag[:-2]) if example == "LOC-B" else (tag[0].upper(), re.split("[-_:./|]", tag)[-1])
        if letter != OUTSIDE:
            (beginning if letter == "B" else inside).add(value)
    if not beginning.isdisjoint(inside):  # some value is both begun and continued
        return True
    return bool(beginning) and not inside and has_outside and example != "LOC-B"


def looks_like_a_tag(text: str) -> bool:
    """Whether a text is `O` or the tag of a span."""
    return text == OUTSIDE or (" " not in text and _SPAN_TAG.fullmatch(text) is not None)
