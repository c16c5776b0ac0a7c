"""Embed a file: text, CoNLL columns or Parquet in, one Parquet file of vectors out.

Reads  INPUT                      text (a sentence a line), CoNLL columns, or Parquet with `text` or `tokens`
Writes OUTPUT                     sentence_id, token, start, end, embedding: fixed_size_list<float16 or float32>
       .OUTPUT.parts/             finished parts of an unfinished OUTPUT; an equal call continues there

Memory does not grow with the file: sentences are collected until their vectors fill a part, which becomes a row group.
`start` and `end` count characters of the sentence exactly as in the file.
"""

# N = tokens of a sentence, D = width of a row's vector

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
import xxhash

from charlm.arrays.arrow import numbers, strings
from charlm.artifacts import DIRECTIONS, OutputFiles
from charlm.datasets.inputs import InputText
from charlm.datasets.lines import DEFAULT_RULES, ReadingRules
from charlm.embeddings.of_model import embeddings_of
from charlm.embeddings.sources import Format, format_of, input_size, read_sentences
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.embeddings.states import used_precision
from charlm.errors import ConfigError, SourceError
from charlm.language_models.digest import model_digest
from charlm.language_models.language_model import LanguageModel
from charlm.nn.precision import ReadingPrecision
from charlm.storage.fingerprints import fingerprint
from charlm.storage.parts import ParquetParts, open_parts
from charlm.tokenization import tokenizer_name

Pooling = Literal["token", "mean", "first_last"]
Progress = Callable[[int, int], None]

_PART_BYTES = 64 * 2**20
_PART_SENTENCES = 16_384
_PARQUET: dict[str, Any] = {"compression": "none", "use_dictionary": ["token"]}  # vectors do not compress


@dataclass(frozen=True)
class EmbedResult:
    """The result of `embed_file`."""

    output: Path
    tokens: int
    """Number of tokens that were embedded."""

    dimensions: int
    """Width of each row's vector."""


def embed_file(
    models: Mapping[str, LanguageModel],
    input_path: Path | str,
    output_path: Path | str,
    *,
    format: Format | None = None,
    pooling: Pooling = "token",
    dtype: Literal["float32", "float16"] = "float32",
    precision: ReadingPrecision = "fp32",
    rules: ReadingRules = DEFAULT_RULES,
    on_progress: Progress | None = None,
) -> EmbedResult:
    """Write the vectors of every token (or sentence) of a file as Parquet; forward and backward ones side by side.

    Args:
        models: language models by direction.
        input_path: what to embed.
        output_path: the Parquet file; it appears when it is complete. An interrupted call is continued.
        format: by default by name and content, see datasets/inputs.py.
        pooling: one row per token; or one per sentence, with the `mean` of its tokens, or the vectors of its first and
            last token side by side.
        dtype: type of the numbers.
        precision: see FlairEmbeddings.
        rules: encoding of the input, and whether a table has a header.
        on_progress: called with the position and the size of the input, in bytes of text or rows of Parquet.

    Raises:
        SourceError: the input is missing, not of its format, or holds nothing to embed.
        ConfigError: a setting does not exist, or the output is a folder or the input.
    """
    path, files = Path(input_path), OutputFiles(Path(output_path))
    for name, value, allowed in (
        ("format", format, (None, "text", "conll", "parquet")),
        ("pooling", pooling, ("token", "mean", "first_last")),
        ("dtype", dtype, ("float32", "float16")),
    ):
        if value not in allowed:
            raise ConfigError(f"{name} is one of {', '.join(map(str, allowed))}; got {value!r}")
    format = format or format_of(path)
    if not path.is_file():
        raise SourceError(f"there is no file {path} to embed")
    if files.output.resolve() == path.resolve():
        raise ConfigError(
            f"the embeddings cannot be written to {files.output}, it is the text itself; name another file"
        )
    names = [direction for direction in DIRECTIONS if direction in models]
    embeddings = StackedEmbeddings([embeddings_of(models[name], name=name, precision=precision) for name in names])
    total = input_size(path, format)
    digests = [_file_digest(path), *(model_digest(models[name]) for name in names)]
    used = used_precision(models[names[0]], precision)  # parts can be of another machine
    settings = [format, rules.codec, rules.header, rules.bad_bytes, pooling, dtype, used]
    if rules.tokenizer is not True:
        settings.append(tokenizer_name(rules.tokenizer))
    work = fingerprint([digests, *settings])
    with open_parts(files, **_PARQUET) as parts:
        finished = _finished_parts(parts, work)
        num_done = sum(part.sentences for part in finished)
        sentences = itertools.islice(read_sentences(path, format, rules), num_done, None)
        try:
            for window in _windows(sentences, embeddings.embedding_length):
                embeddings.embed([source.sentence for source in window])
                table = _table(window, num_done, pooling, np.dtype(dtype))
                part = _Part(len(window), sum(len(source.sentence) for source in window))
                parts.write(len(finished), table, {"work": work, **part.facts})
                finished.append(part)
                num_done += part.sentences
                if on_progress is not None:
                    on_progress(window[-1].position, total)
            if not finished:
                raise SourceError(f"{path} holds no sentence to embed")
        except SourceError:  # the file has to be corrected, and then all parts change
            parts.close()
            raise
        parts.join()
    dimensions = embeddings.embedding_length * (2 if pooling == "first_last" else 1)
    return EmbedResult(files.output, sum(part.tokens for part in finished), dimensions)


def _windows(sources: Iterable[InputText], width: int) -> Iterator[list[InputText]]:
    """Lists of sentences whose vectors of `width` fill one part."""
    window: list[InputText] = []
    size = 0
    for source in sources:
        window.append(source)
        size += len(source.sentence) * width * 4
        if size >= _PART_BYTES or len(window) >= _PART_SENTENCES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _table(window: list[InputText], first: int, pooling: Pooling, dtype: np.dtype[Any]) -> pa.Table:
    ids: list[int] = []
    tokens: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    rows: list[torch.Tensor] = []
    for sentence_id, source in enumerate(window, first):
        sentence = source.sentence
        matrix = sentence.get_token_embeddings()  # (N, D)
        if pooling == "token":
            spans = source.token_spans()
            ids.extend([sentence_id] * len(spans))
            tokens.extend(sentence.words)
            starts.extend(start for start, _ in spans)
            ends.extend(end for _, end in spans)
            rows.append(matrix)
        else:
            ids.append(sentence_id)
            tokens.append(source.text)
            starts.append(0)
            ends.append(len(source.text))
            rows.append(_pooled(matrix, pooling))
        sentence.clear_embeddings()
    vectors = torch.cat(rows).cpu().numpy().astype(dtype, copy=False)
    embedding = pa.FixedSizeListArray.from_arrays(numbers(vectors.reshape(-1)), vectors.shape[1])
    columns = {
        "sentence_id": numbers(np.array(ids, dtype=np.int64)),
        "token": strings(tokens),
        "start": numbers(np.array(starts, dtype=np.int32)),
        "end": numbers(np.array(ends, dtype=np.int32)),
    }
    return pa.table({**columns, "embedding": embedding})


def _pooled(matrix: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One row for a sentence: (1, D), or (1, 2D) for `first_last`; zeros where there is no token."""
    if not len(matrix):
        matrix = matrix.new_zeros(1, matrix.shape[1])
    return matrix.mean(dim=0, keepdim=True) if pooling == "mean" else matrix[[0, -1]].reshape(1, -1)


@dataclass(frozen=True)
class _Part:
    sentences: int
    tokens: int

    @property
    def facts(self) -> dict[str, str]:
        return {"sentences": str(self.sentences), "tokens": str(self.tokens)}


def _finished_parts(parts: ParquetParts, work: str) -> list[_Part]:
    """The parts that an earlier call for the same work has written, in order; parts of other work are deleted."""
    finished: list[_Part] = []
    while (facts := parts.facts(len(finished))) is not None:
        if facts.get("work") != work:
            parts.drop(0)
            return []
        finished.append(_Part(int(facts["sentences"]), int(facts["tokens"])))
    return finished


def _file_digest(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
