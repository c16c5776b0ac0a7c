"""Labelled data by the name of its folder or file, in whichever of the formats it is.

The format is told by the name of the file (`.conllu`, `.csv`, `.jsonl`), or by its first line: `__label__` in front, or
columns. A prepared corpus is opened by its own name: `UD_ENGLISH`.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

from charlm.data.corpus import Corpus, MultiCorpus
from charlm.data.sentence import Sentence
from charlm.datasets.classification import (
    PREFIX,
    LabelledText,
    label_texts,
    read_labelled_lines,
    read_objects,
    read_rows,
)
from charlm.datasets.columns import TEXT, read_columns
from charlm.datasets.files import find_splits, read_lines
from charlm.datasets.prepared import TREC_6, UD_ENGLISH, UD_GERMAN, WNUT_17
from charlm.datasets.spans import holds_spans, read_spans
from charlm.datasets.universal_dependencies import read_conllu
from charlm.errors import DatasetError

Format = Literal["conllu", "csv", "jsonl", "spans", "lines", "columns"]

PREPARED: dict[str, type[Corpus]] = {kind.__name__: kind for kind in (UD_ENGLISH, UD_GERMAN, WNUT_17, TREC_6)}
DEFAULT_LABEL_TYPES: dict[Format, str] = {
    "conllu": "upos",
    "csv": "class",
    "jsonl": "class",
    "spans": "tag",
    "lines": "class",
    "columns": "tag",
}
_UNNAMED = "_"


def open_corpora(data: Sequence[str], label_type: str | None = None, columns: str | None = None) -> tuple[Corpus, str]:
    """The corpus of one or several folders or prepared names, and the layer of labels to learn.

    Args:
        data: folders with the files of train, dev and test, or names such as `UD_ENGLISH`.
        label_type: the layer; by default the one that such data is about (see DEFAULT_LABEL_TYPES).
        columns: what stands in the columns of a file, one name each, `_` for what is not wanted: `text,_,ner`; for
            tables `label,text`; for JSON the fields of text and label. By default the first column holds the word and
            the last its tag.

    Raises DatasetError when something is missing, malformed, or of several kinds.
    """
    opened = [_open_corpus(one, label_type, columns) for one in data]
    if not opened:
        raise DatasetError("no labelled data was named; give a folder")
    label_types = sorted({layer for _, layer in opened})
    if len(label_types) > 1:
        raise DatasetError(f"the corpora are labelled with {', '.join(label_types)}; say which one to learn")
    corpora = [corpus for corpus, _ in opened]
    return (corpora[0] if len(corpora) == 1 else MultiCorpus(corpora)), label_types[0]


def read_labelled(
    paths: Sequence[Path],
    label_type: str | None = None,
    columns: str | None = None,
    known: Collection[str] | None = None,
) -> tuple[list[list[Sentence]], str]:
    """The sentences of each file, and the layer that they are labelled in; a label must be among `known`, if given."""
    file_format = format_of(paths[0], columns)
    layer = label_type or DEFAULT_LABEL_TYPES[file_format]
    if file_format == "columns":
        chosen = _column_format(paths[0], layer, columns)
        layer = label_type or next((name for name in chosen.values() if name != TEXT), layer)
        if layer not in chosen.values():
            raise DatasetError(f"no column of {columns} is {layer!r}")
        chosen = {column: name for column, name in chosen.items() if name in (TEXT, layer)}
        return read_columns(paths, chosen, known=known), layer
    if file_format == "conllu":
        return [read_conllu(path, layer, known) for path in paths], layer
    if file_format == "spans":
        text_field, label_field = _json_fields(columns)
        return [read_spans(path, text_field, label_field, layer, known=known) for path in paths], layer
    return [label_texts(path, _labelled_texts(path, file_format, columns), layer, known=known) for path in paths], layer


def _labelled_texts(path: Path, file_format: Format, columns: str | None) -> Iterator[LabelledText]:
    if file_format == "csv":
        return read_rows(path, *_table_columns(columns))
    if file_format == "jsonl":
        return read_objects(path, *_json_fields(columns))
    return read_labelled_lines(path)


def format_of(path: Path, columns: str | None = None) -> Format:
    """How the labels stand in a file; `columns` as in `open_corpora`."""
    if path.suffix == ".jsonl":
        return "spans" if holds_spans(path, _json_fields(columns)[1]) else "jsonl"
    by_suffix: dict[str, Format] = {".conllu": "conllu", ".csv": "csv"}
    if path.suffix in by_suffix:
        return by_suffix[path.suffix]
    return "lines" if _first_line(path).startswith(PREFIX) else "columns"


def _open_corpus(data: str, label_type: str | None, columns: str | None) -> tuple[Corpus, str]:
    if data in PREPARED:
        corpus = PREPARED[data]()
        return corpus, label_type or ("upos" if "upos" in corpus.label_types else corpus.label_types[0])
    if not Path(data).is_dir():
        raise DatasetError(
            f"there is no folder {data!r} with labelled data; prepared corpora are {', '.join(PREPARED)}"
        )
    files = find_splits(data)
    sentences, layer = read_labelled(files.found, label_type, columns)
    read = iter(sentences)
    train, dev, test = (next(read) if path else None for path in (files.train, files.dev, files.test))
    return Corpus(train, dev, test, Path(data).absolute().name), layer


def _column_format(path: Path, layer: str, columns: str | None) -> dict[int, str]:
    if columns is None:
        line = _first_line(path)
        width = len(line.split("\t" if "\t" in line else None))
        if width < 2:
            raise DatasetError(f"{path} has one column only, and needs one of words and one of tags")
        return {0: TEXT, width - 1: layer}
    named = {number: name for number, name in enumerate(columns.split(",")) if name != _UNNAMED}
    if TEXT not in named.values():
        raise DatasetError(f"say which column holds the words, for example text,{layer}; got {columns!r}")
    return named


def _table_columns(columns: str | None) -> tuple[list[int], list[int]]:
    """The columns of text and those of labels."""
    names = (columns or "label,text").split(",")
    texts = [number for number, name in enumerate(names) if name == TEXT]
    labels = [number for number, name in enumerate(names) if name.startswith("label")]
    if not texts or not labels:
        raise DatasetError(f"say which columns hold text and label, for example label,_,text; got {columns!r}")
    return texts, labels


def _json_fields(columns: str | None) -> tuple[str, str]:
    """The fields of text and label."""
    text, comma, label = (columns or "text,label").partition(",")
    if not comma or "," in label:
        raise DatasetError(f"2 names are needed, for example text,label; got {columns!r}")
    return text, label


def _first_line(path: Path) -> str:
    """The first line with anything in it."""
    return next((line for _, line in read_lines(path) if line.strip()), "")
