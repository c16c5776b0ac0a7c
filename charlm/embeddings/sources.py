"""The sentences of a file that is to be embedded: text, CoNLL columns or Parquet.

Memory does not grow with the file. CoNLL words count as joined by single spaces.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from charlm.data.sentence import Sentence
from charlm.errors import SourceError
from charlm.units.tokenization import clean_text, cleaned_positions

Format = Literal["text", "conll", "parquet"]

_CONLLU_NUMBER = re.compile(r"\d+([-.]\d+)?")
_FORMATS: dict[str, Format] = {".conll": "conll", ".conllu": "conll", ".parquet": "parquet"}


@dataclass(frozen=True)
class SourceSentence:
    """A sentence of the input."""

    sentence: Sentence
    text: str
    """The sentence exactly as in the file."""

    position: int
    """Where it ends in the input: bytes of text, or rows of Parquet."""

    def token_spans(self) -> list[tuple[int, int]]:
        """Start and end of every token in `text`, in characters."""
        spans = self.sentence.word_spans
        if len(clean_text(self.text)) == len(self.text):
            return spans
        positions = cleaned_positions(self.text)
        return [(positions[start], positions[end - 1] + 1) for start, end in spans]


def format_of(path: Path) -> Format:
    """The format that the suffix of a file names."""
    return _FORMATS.get(path.suffix, "text")


def input_size(path: Path, format: Format) -> int:
    """The size of the input in the unit of `SourceSentence.position`."""
    return int(_open_parquet(path).metadata.num_rows) if format == "parquet" else path.stat().st_size


def read_sentences(path: Path, format: Format) -> Iterator[SourceSentence]:
    """Every sentence of the file, in order; raises SourceError where the file is not of this format."""
    if format == "parquet":
        return _read_parquet(path)
    return _read_conll(path) if format == "conll" else _read_text(path)


def _read_lines(path: Path) -> Iterator[tuple[str, int]]:
    """Every line without its end, and the bytes up to there."""
    with path.open("rb") as file:
        position = 0
        for number, line in enumerate(file, 1):
            position += len(line)
            try:
                yield line.decode().rstrip("\r\n"), position
            except UnicodeDecodeError as error:
                raise SourceError(f"{path}, line {number} is not UTF-8 (byte {error.start} of the line)") from error


def _read_text(path: Path) -> Iterator[SourceSentence]:
    for line, position in _read_lines(path):
        if line.strip():
            yield SourceSentence(Sentence(line), line, position)


def _read_conll(path: Path) -> Iterator[SourceSentence]:
    """The words of every sentence: the first column, or in CoNLL-U (numbered lines, tabs) the second."""
    words: list[str] = []
    position = 0
    for line, position in _read_lines(path):
        columns = line.split()
        if not line.strip():
            if words:
                yield SourceSentence(Sentence(words), " ".join(words), position)
            words = []
        elif path.suffix != ".conllu":
            words.append(columns[0])
        elif not line.startswith("#"):
            number, _, rest = line.partition("\t")
            if not _CONLLU_NUMBER.fullmatch(number) or not rest:
                raise SourceError(f"{path} is not CoNLL-U: {line[:40]!r} does not begin with a number and a tab")
            if number.isdigit():  # `3-4` are words written as one, `3.1` is not in the text
                words.append(rest.partition("\t")[0])
    if words:
        yield SourceSentence(Sentence(words), " ".join(words), position)


def _read_parquet(path: Path) -> Iterator[SourceSentence]:
    file = _open_parquet(path)
    names = [name for name in ("tokens", "text") if name in file.schema_arrow.names]
    if not names:
        raise SourceError(f"{path} has no column `text` or `tokens`; it has {', '.join(file.schema_arrow.names)}")
    position = 0
    for batch in file.iter_batches(batch_size=4096, columns=names[:1]):
        for value in batch.column(0).to_pylist():
            position += 1
            if value and isinstance(value, str):
                yield SourceSentence(Sentence(value), value, position)
            elif value:
                yield SourceSentence(Sentence(value), " ".join(value), position)


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{path} is no Parquet file ({error})") from error
