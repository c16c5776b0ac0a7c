"""Labelled data by the name of its folder or file, in whichever of the formats it is.

The content of the files decides their format (see sniffing.py), and all files of a corpus must have the same. A
prepared corpus is opened by its own name: `UD_ENGLISH`.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from charlm.data.corpus import Corpus, MultiCorpus
from charlm.data.sentence import Sentence
from charlm.datasets.column_options import TEXT
from charlm.datasets.columns import read_columns
from charlm.datasets.files import find_splits
from charlm.datasets.lines import DEFAULT_RULES, ReadingRules
from charlm.datasets.prepared import TREC_6, UD_ENGLISH, UD_GERMAN, WNUT_17
from charlm.datasets.rows import Layout
from charlm.datasets.sniffing import Format, Sniffed, sniff
from charlm.datasets.spans import read_spans
from charlm.datasets.tables import table_rows
from charlm.datasets.text_options import TextOptions
from charlm.datasets.texts import (
    LabelledText,
    is_text_first,
    label_texts,
    read_labelled_lines,
    read_objects,
    read_table,
)
from charlm.datasets.universal_dependencies import read_conllu
from charlm.errors import DatasetError

PREPARED: dict[str, type[Corpus]] = {kind.__name__: kind for kind in (UD_ENGLISH, UD_GERMAN, WNUT_17, TREC_6)}
DEFAULT_LABEL_TYPES: dict[Format, str] = {
    "conllu": "upos",
    "table": "class",
    "jsonl": "class",
    "spans": "tag",
    "lines": "class",
    "columns": "tag",
}
_UNNAMED = "_"
_ROWS_TO_LOOK_AT = 1_000
_LOGGER = logging.getLogger("charlm")


@dataclass(frozen=True, kw_only=True)
class OpenedData:
    """Labelled data, ready to learn from."""

    corpus: Corpus
    label_type: str
    """The layer of labels to learn."""

    sampled: frozenset[str]
    """Splits that are drawn from train, as the data has none: `dev`, `test`."""


def open_corpora(
    data: Sequence[str],
    label_type: str | None = None,
    columns: str | None = None,
    rules: ReadingRules = DEFAULT_RULES,
) -> tuple[Corpus, str]:
    """The corpus of one or several folders or prepared names, and the layer of labels to learn; see `open_data`."""
    opened = open_data(data, label_type, columns, rules)
    return opened.corpus, opened.label_type


def open_data(
    data: Sequence[str],
    label_type: str | None = None,
    columns: str | None = None,
    rules: ReadingRules = DEFAULT_RULES,
) -> OpenedData:
    """One or several folders or prepared names as one corpus.

    Args:
        data: folders with the files of train, dev and test, or names such as `UD_ENGLISH`.
        label_type: the layer; by default the one that such data is about (see DEFAULT_LABEL_TYPES).
        columns: what stands in the columns of a file, one name each, `_` for what is not wanted: `text,_,ner`; for
            tables `label,text`; for JSON the fields of text and label. By default the first column holds the word and
            the last its tag.
        rules: encoding of the files, and whether they have a header.

    Raises DatasetError when something is missing, malformed, or of several kinds.
    """
    opened = [_open_one(one, label_type, columns, rules) for one in data]
    if not opened:
        raise DatasetError("no labelled data was named; give a folder")
    layers = sorted({one.label_type for one in opened})
    if len(layers) > 1:
        raise DatasetError(f"the corpora are labelled with {', '.join(layers)}; choose one with --label")
    if len(opened) == 1:
        return opened[0]
    sampled = frozenset.union(*(one.sampled for one in opened))
    return OpenedData(corpus=MultiCorpus([one.corpus for one in opened]), label_type=layers[0], sampled=sampled)


def read_labelled(
    paths: Sequence[Path],
    label_type: str | None = None,
    columns: str | None = None,
    known: Collection[str] | None = None,
    rules: ReadingRules = DEFAULT_RULES,
) -> tuple[list[list[Sentence]], str]:
    """The sentences of each file, and the layer that they are labelled in; a label must be among `known`, if given."""
    sniffed = _sniff_all(paths, columns, rules)
    layer = label_type or DEFAULT_LABEL_TYPES[sniffed[0].format]
    match sniffed[0].format:
        case "columns":
            return _read_columns(paths, sniffed, label_type, layer, columns, known, rules)
        case "conllu":
            return [read_conllu(path, layer, known, rules) for path in paths], layer
        case "spans":
            text_field, label_field = _json_fields(columns)
            return [read_spans(path, text_field, label_field, layer, known=known, rules=rules) for path in paths], layer
    text_first = None if columns else _text_first(paths, sniffed, rules)
    options = TextOptions(tokenizer=rules.tokenizer)
    return [
        label_texts(path, _labelled_texts(path, one, columns, rules, text_first), layer, known=known, options=options)
        for path, one in zip(paths, sniffed, strict=True)
    ], layer


def format_of(path: Path, columns: str | None = None, rules: ReadingRules = DEFAULT_RULES) -> Format:
    """How the labels stand in a file; `columns` as in `open_data`."""
    return _sniff_all([path], columns, rules)[0].format


def _sniff_all(paths: Sequence[Path], columns: str | None, rules: ReadingRules) -> list[Sniffed]:
    """What each file is; raises DatasetError where they are of several formats."""
    names = (columns or "text,label").split(",")
    sniffed = [sniff(path, rules, label_field=names[-1]) for path in paths]
    if "spans" in {one.format for one in sniffed}:  # a split without any span
        sniffed = [replace(one, format="spans") if one.format == "jsonl" else one for one in sniffed]
    if columns is not None and any(one.format == "conllu" for one in sniffed) and TEXT in names:
        sniffed = [replace(one, format="columns") for one in sniffed]
    for path, one in zip(paths, sniffed, strict=True):
        if one.format != sniffed[0].format:
            raise DatasetError(
                f"{paths[0]} is read as {sniffed[0].format} and {path} as {one.format}; give all files one format"
            )
    return sniffed


def _text_first(paths: Sequence[Path], sniffed: Sequence[Sniffed], rules: ReadingRules) -> bool | None:
    """Whether texts are in the first of two columns, as the first of the tables shows it where any does."""
    for path, one in zip(paths, sniffed, strict=True):
        if one.delimiter is not None:
            found = is_text_first(list(islice(table_rows(path, one.delimiter, rules), _ROWS_TO_LOOK_AT)))
            if found is not None:
                return found
    return None


def _labelled_texts(
    path: Path, sniffed: Sniffed, columns: str | None, rules: ReadingRules, text_first: bool | None
) -> Iterator[LabelledText]:
    if sniffed.format == "table":
        assert sniffed.delimiter is not None
        texts, labels = _table_columns(columns)
        names = None if columns is None else columns.split(",")
        return read_table(path, texts, labels, sniffed.delimiter, rules, names, text_first)
    if sniffed.format == "jsonl":
        return read_objects(path, *_json_fields(columns), rules)
    return read_labelled_lines(path, rules)


def _read_columns(
    paths: Sequence[Path],
    sniffed: Sequence[Sniffed],
    label_type: str | None,
    layer: str,
    columns: str | None,
    known: Collection[str] | None,
    rules: ReadingRules,
) -> tuple[list[list[Sentence]], str]:
    layouts = [one.layout for one in sniffed if one.layout is not None]
    for path, layout in zip(paths, layouts, strict=True):
        if not layout.width:
            raise DatasetError(f"{path} holds no word")
        if columns is None and layout.width != layouts[0].width:
            raise DatasetError(
                f"{paths[0]} has {layouts[0].width} columns and {path} has {layout.width}; "
                f"name those of words and labels, as --columns text,{layer}"
            )
    chosen = _column_format(paths[0], layouts[0], layer, columns)
    layer = label_type or next((name for name in chosen.values() if name != TEXT), layer)
    if layer not in chosen.values():
        raise DatasetError(f"no column of {columns} is {layer!r}")
    chosen = {column: name for column, name in chosen.items() if name in (TEXT, layer)}
    return read_columns(paths, chosen, rules=rules, known=known, layouts=layouts), layer


def _open_one(data: str, label_type: str | None, columns: str | None, rules: ReadingRules) -> OpenedData:
    if data in PREPARED:
        corpus = PREPARED[data]()
        layer = label_type or ("upos" if "upos" in corpus.label_types else corpus.label_types[0])
        return OpenedData(corpus=corpus, label_type=layer, sampled=frozenset({"dev", "test"}))
    if not Path(data).is_dir():
        raise DatasetError(
            f"there is no folder {data!r} with labelled data; prepared corpora are {', '.join(PREPARED)}"
        )
    files = find_splits(data)
    sentences, layer = read_labelled(files.found, label_type, columns, rules=rules)
    read = iter(sentences)
    train, dev, test = (next(read) if path else None for path in (files.train, files.dev, files.test))
    sampled = frozenset(name for name, path in (("dev", files.dev), ("test", files.test)) if path is None)
    return OpenedData(corpus=Corpus(train, dev, test, Path(data).absolute().name), label_type=layer, sampled=sampled)


def _column_format(path: Path, layout: Layout, layer: str, columns: str | None) -> dict[int, str]:
    if columns is None:
        words = layout.word_column
        if layout.width <= words + 1:
            raise DatasetError(f"{path} has one column only, and needs one of words and one of tags")
        if layout.is_numbered:
            _LOGGER.warning("%s: the first column counts the words, which are in the second", path)
        if layout.has_tags_first:
            raise DatasetError(
                f"{path} has tags such as B-LOC in its first column; name the columns of words and tags, "
                f"as --columns {layer},text"
            )
        return {words: TEXT, layout.width - 1: layer}
    named = {number: name for number, name in enumerate(columns.split(",")) if name != _UNNAMED}
    if TEXT not in named.values():
        raise DatasetError(f"name the column of the words, for example text,{layer}; got {columns!r}")
    return named


def _table_columns(columns: str | None) -> tuple[list[int] | None, list[int] | None]:
    """The columns of text and those of labels; None where they were not named."""
    if columns is None:
        return None, None
    names = columns.split(",")
    texts = [number for number, name in enumerate(names) if name == TEXT]
    labels = [number for number, name in enumerate(names) if name.startswith("label")]
    if not texts or not labels:
        raise DatasetError(f"name the columns of text and label, for example label,_,text; got {columns!r}")
    return texts, labels


def _json_fields(columns: str | None) -> tuple[str, str]:
    """The fields of text and label."""
    text, comma, label = (columns or "text,label").partition(",")
    if not comma or "," in label:
        raise DatasetError(f"2 names are needed, for example text,label; got {columns!r}")
    return text, label
