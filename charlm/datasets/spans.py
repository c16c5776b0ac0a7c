"""Texts with labelled spans, a JSON object each.

Reads  train.jsonl …     `{"text": "George went to Washington.", "label": [[0, 6, "PER"], [15, 25, "LOC"]]}`
"""

import json
import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.data.sentence import Sentence
from charlm.datasets.files import FileCorpus, check_known, collector_paused
from charlm.datasets.json_lines import as_label, read_json_objects
from charlm.datasets.lines import DEFAULT_RULES, ReadingRules, mistake
from charlm.tokenization import AnyTokenizer

if TYPE_CHECKING:
    pass

_LOGGER = logging.getLogger("charlm")
CharacterSpan = tuple[int, int, str]
"""Start, end (behind the last character) and label."""


class JSONLSpanCorpus(FileCorpus):
    """Texts in JSON objects, one a line, with the places of their labelled spans.

    Args:
        data_folder: where the files are.
        text_field: name of the field with the text.
        label_field: name of the field with its spans: each `[start, end, label]`, or an object with these three names,
            counted in characters; `end` is behind the span. A span begins and ends where words do.
        label_type: the layer that the labels get.

    Raises DatasetError with file and line where an object has no text, or a span is not one of whole words.
    """

    def __init__(
        self,
        data_folder: Path | str,
        text_field: str = "text",
        label_field: str = "label",
        label_type: str = "ner",
        train_file: Path | str | None = None,
        test_file: Path | str | None = None,
        dev_file: Path | str | None = None,
        *,
        use_tokenizer: AnyTokenizer = True,
        encoding: str = "utf-8",
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        def read(path: Path) -> list[Sentence]:
            rules = ReadingRules(encoding=encoding)
            return read_spans(path, text_field, label_field, label_type, use_tokenizer=use_tokenizer, rules=rules)

        named = (train_file, dev_file, test_file)
        super().__init__(data_folder, named, read, name=name, sample_missing_splits=sample_missing_splits)


@collector_paused()
def read_spans(
    path: Path,
    text_field: str,
    label_field: str,
    label_type: str,
    *,
    use_tokenizer: AnyTokenizer | None = None,
    known: Collection[str] | None = None,
    rules: ReadingRules = DEFAULT_RULES,
    metadata_field: str | None = None,
    widen: bool = False,
) -> list[Sentence]:
    """The sentences of a file with their labelled spans; a label must be among `known`, if given.

    Args:
        use_tokenizer: by default that of `rules`.
        metadata_field: name of the field with metadata of the sentence: a list of `[key, value]`.
        widen: whether a span that ends inside a word takes the whole word, which is reported; otherwise it is an error.
    """
    sentences = []
    widened: list[int] = []
    fields = (text_field, label_field, *([metadata_field] if metadata_field else []))
    for number, (text, spans, *metadata) in read_json_objects(path, fields, rules, required=False):
        if not isinstance(text, str):
            raise mistake(path, number, f"the object has no text in a field {text_field!r}")
        if not isinstance(spans, list):
            raise mistake(path, number, f"the object has no list of spans in a field {label_field!r}")
        sentence = Sentence(text, use_tokenizer=rules.tokenizer if use_tokenizer is None else use_tokenizer)
        if not len(sentence):
            raise mistake(path, number, "the text is empty")
        starts = {token.start_position: place for place, token in enumerate(sentence)}
        stops = {token.end_position: place for place, token in enumerate(sentence, 1)}
        for item in spans:
            found = _as_span(item)
            if found is None:
                raise mistake(path, number, f"a span is [start, end, label], got {json.dumps(item)[:60]}")
            start, end, label = found
            if widen and 0 <= start < end and (start not in starts or end not in stops):
                start, end = _widened(sentence, start, end)
                widened.append(number)
            if start not in starts or end not in stops or start >= end:
                words = repr(text[start:end]) if 0 <= start < end <= len(text) else "outside the text"
                raise mistake(path, number, f"the span {start} to {end} ({words}) is not one of whole words")
            check_known(path, number, label, known)
            sentence[starts[start] : stops[end]].add_label(label_type, label)
        for key, value in _pairs(path, number, metadata[0] if metadata else None):
            sentence.add_metadata(key, value)
        sentences.append(sentence)
    if not sentences:
        raise mistake(path, 1, "the file holds no text")
    if widened:
        _LOGGER.warning(
            "%s: %d spans ended inside a word or at white space and were taken as whole words, the first in line %d",
            path, len(widened), widened[0],
        )  # fmt: skip
    return sentences


def _widened(sentence: Sentence, start: int, end: int) -> tuple[int, int]:
    """Where the words begin and end that the span touches; the span itself where it touches none."""
    touched = [(first, last) for first, last in sentence.word_spans if first < end and last > start]
    return (touched[0][0], touched[-1][1]) if touched else (start, end)


def _pairs(path: Path, number: int, metadata: object) -> list[tuple[str, object]]:
    """Metadata as keys and values."""
    pairs: list[tuple[str, object]] = []
    for item in list(metadata.items()) if isinstance(metadata, dict) else metadata or []:  # type: ignore[attr-defined]
        match item:
            case (str(key), value):
                pairs.append((key, value))
            case _:
                raise mistake(path, number, f"metadata are pairs of a name and a value, got {json.dumps(item)[:60]}")
    return pairs


def _as_span(item: Any) -> CharacterSpan | None:
    """`[start, end, label]`, or an object with these names."""
    values = [item.get(name) for name in ("start", "end", "label")] if isinstance(item, dict) else item
    match values:
        case [int(start), int(end), value] if label := as_label(value):
            return start, end, label
    return None
