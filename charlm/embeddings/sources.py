"""The sentences of a file that is to be embedded: Parquet, or what the readers of labelled data know.

Memory does not grow with the file. Words in columns count as joined by single spaces.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from charlm.data.sentence import Sentence
from charlm.datasets.inputs import InputText, read_inputs
from charlm.datasets.lines import DEFAULT_RULES, ReadingRules
from charlm.errors import DatasetError, SourceError

_LOGGER = logging.getLogger("charlm")
Format = Literal["text", "conll", "parquet"]


def format_of(path: Path) -> Format | None:
    """Parquet where the suffix says so; None leaves the decision to the content."""
    return "parquet" if path.suffix.lower() == ".parquet" else None


def input_size(path: Path, format: Format | None) -> int:
    """The size of the input in the unit of `InputText.position`: bytes, or rows of Parquet."""
    return int(_open_parquet(path).metadata.num_rows) if format == "parquet" else path.stat().st_size


def read_sentences(path: Path, format: Format | None, rules: ReadingRules = DEFAULT_RULES) -> Iterator[InputText]:
    """Every sentence of the file, in order; raises SourceError where the file is not of this format."""
    if format == "parquet":
        yield from _read_parquet(path, rules)
        return
    try:
        yield from read_inputs(path, format, rules)
    except DatasetError as error:
        raise SourceError(str(error)) from error


def _read_parquet(path: Path, rules: ReadingRules) -> Iterator[InputText]:
    file = _open_parquet(path)
    names = [name for name in ("tokens", "text") if name in file.schema_arrow.names]
    if not names:
        raise SourceError(f"{path} has no column `text` or `tokens`; it has {', '.join(file.schema_arrow.names)}")
    if file.schema_arrow.names.count(names[0]) > 1:
        raise SourceError(f"{path} has several columns {names[0]!r}; keep one")
    position = num_empty = 0
    for batch in file.iter_batches(batch_size=4096, columns=names[:1]):
        for value in batch.column(0).to_pylist():  # categories become their texts
            position += 1
            _check_value(path, position, value)
            sentence = rules.sentence(value) if isinstance(value, str) else Sentence(value or "")
            if len(sentence):
                yield InputText(sentence, value if isinstance(value, str) else " ".join(value), position)
            else:
                num_empty += 1
    if num_empty:
        _LOGGER.warning("%s: %d rows without words are left out", path, num_empty)


def _check_value(path: Path, row: int, value: object) -> None:
    """Raise SourceError for what is neither a text nor a list of words."""
    is_list = isinstance(value, list) and all(isinstance(word, str) and word.strip() for word in value)
    if not (value is None or isinstance(value, str) or is_list):
        raise SourceError(f"{path}, row {row} holds neither a text nor a list of words: {str(value)[:60]}")


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{path} is no Parquet file ({error})") from error
