"""Tags of words and the spans they stand for: `["B-LOC", "E-LOC", "O"]` <-> `[(0, 2, "LOC")]`.

BIO (`B-` begins a span, `I-` continues it), BIOES (`E-` ends it, `S-` is a span of one word) and IOB1 (`B-` only
between two neighbouring spans of one kind) are read; BIOES is written, because a tagger learns most from it.
"""

# N = tokens of the sentence

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from charlm.data.sentence import Sentence

OUTSIDE = "O"


class TaggedSpan(NamedTuple):
    """A labelled run of tokens, counted from 0; `stop` is after the last one."""

    start: int
    stop: int
    value: str


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and value: `"B-LOC"` -> `("B", "LOC")`, `"O"` -> `("O", "")`."""
    prefix, _, value = tag.partition("-")
    return prefix, value


def is_span_tag(tag: str) -> bool:
    """Whether `tag` has the form of a tag inside a span, such as `B-LOC`."""
    return len(tag) > 2 and tag[0] in "BIES" and tag[1] == "-"


def spans_from_tags(tags: Sequence[str]) -> list[TaggedSpan]:
    """The spans of a sentence's tags, in any of the schemes; tags in a wrong order are read as conlleval reads them.

    A span begins at `B-`, at `S-`, after `E-` and `S-`, after `O`, and where the value changes.
    """
    spans: list[TaggedSpan] = []
    start, last, value = -1, OUTSIDE, ""  # start is -1 outside a span
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, current = split_tag(tag)
        if start >= 0 and (prefix in "OBS" or last in "ES" or current != value):
            spans.append(TaggedSpan(start, place, value))
            start = -1
        if start < 0 and prefix != OUTSIDE:
            start = place
        last, value = prefix, current
    return spans


def get_spans_from_bio(
    bioes_tags: Sequence[str], bioes_scores: Sequence[float] | None = None
) -> list[tuple[list[int], float, str]]:
    """The spans of tags as Flair gives them: places of the words from 0, mean of their scores, value."""
    spans = []
    for start, stop, value in spans_from_tags(bioes_tags):
        scores = bioes_scores[start:stop] if bioes_scores is not None else [1.0]
        spans.append((list(range(start, stop)), sum(scores) / len(scores), value))
    return spans


def tags_from_spans(spans: Iterable[TaggedSpan], num_tokens: int) -> list[str]:
    """The BIOES tags, (N,); of overlapping spans the first one counts."""
    tags = [OUTSIDE] * num_tokens
    for start, stop, value in spans:
        if any(tag != OUTSIDE for tag in tags[start:stop]):
            continue
        if stop - start == 1:
            tags[start] = f"S-{value}"
            continue
        tags[start:stop] = [f"B-{value}", *[f"I-{value}"] * (stop - start - 2), f"E-{value}"]
    return tags


def spans_of(sentence: Sentence, label_type: str) -> list[TaggedSpan]:
    """The labelled spans of one layer, in the order of the text."""
    return [
        TaggedSpan(span.tokens[0].idx - 1, span.tokens[-1].idx, label.value)
        for span in sentence.get_spans(label_type)
        for label in span.get_labels(label_type)
    ]


def tags_of(sentence: Sentence, label_type: str) -> list[str]:
    """The tag of every token in one layer, (N,): BIOES where the layer labels spans, `O` for a token without label."""
    if spans := spans_of(sentence, label_type):
        return tags_from_spans(spans, len(sentence))
    return [token.get_label(label_type).value for token in sentence]
