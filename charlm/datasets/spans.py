"""Texts with labelled spans, a JSON object each.

Reads  train.jsonl …     `{"text": "George went to Washington.", "label": [[0, 6, "PER"], [15, 25, "LOC"]]}`
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from charlm.data.sentence import Sentence
from charlm.datasets.files import FileCorpus, check_known, collector_paused, mistake, read_json_lines

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
        use_tokenizer: bool = True,
        name: str | None = None,
        sample_missing_splits: bool = True,
    ) -> None:
        def read(path: Path) -> list[Sentence]:
            return read_spans(path, text_field, label_field, label_type, use_tokenizer=use_tokenizer)

        named = (train_file, dev_file, test_file)
        super().__init__(data_folder, named, read, name=name, sample_missing_splits=sample_missing_splits)


@collector_paused()
def read_spans(
    path: Path,
    text_field: str,
    label_field: str,
    label_type: str,
    *,
    use_tokenizer: bool = True,
    known: Collection[str] | None = None,
) -> list[Sentence]:
    """The sentences of a file with their labelled spans; a label must be among `known`, if given."""
    sentences = []
    for number, value in read_json_lines(path):
        if not isinstance(value, dict) or not isinstance(value.get(text_field), str):
            raise mistake(path, number, f"the object has no text in a field {text_field!r}")
        if not isinstance(value.get(label_field), list):
            raise mistake(path, number, f"the object has no list of spans in a field {label_field!r}")
        text = value[text_field]
        sentence = Sentence(text, use_tokenizer=use_tokenizer)
        if not len(sentence):
            raise mistake(path, number, "the text is empty")
        starts = {token.start_position: place for place, token in enumerate(sentence)}
        stops = {token.end_position: place for place, token in enumerate(sentence, 1)}
        for item in value[label_field]:
            found = _as_span(item)
            if found is None:
                raise mistake(path, number, f"a span is [start, end, label], got {json.dumps(item)[:60]}")
            start, end, label = found
            if start not in starts or end not in stops or start >= end:
                words = repr(text[start:end]) if 0 <= start < end <= len(text) else "outside the text"
                raise mistake(path, number, f"the span {start} to {end} ({words}) is not one of whole words")
            check_known(path, number, label, known)
            sentence[starts[start] : stops[end]].add_label(label_type, label)
        sentences.append(sentence)
    if not sentences:
        raise mistake(path, 1, "the file holds no text")
    return sentences


def holds_spans(path: Path, label_field: str) -> bool:
    """Whether the labels of a JSON-lines file are spans, by the first object that has any."""
    for _, value in read_json_lines(path):
        labels = value.get(label_field) if isinstance(value, dict) else None
        if labels:
            return isinstance(labels, list) and not isinstance(labels[0], str)
    return False


def _as_span(item: Any) -> CharacterSpan | None:
    """`[start, end, label]`, or an object with these names."""
    values = [item.get(name) for name in ("start", "end", "label")] if isinstance(item, dict) else item
    match values:
        case [int(start), int(end), str(label)] if label:
            return start, end, label
    return None
