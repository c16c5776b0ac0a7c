"""Scores of language models on held-out text, kept as exact sums and divided once at the end.

The text is cut into 20 contiguous streams (one per 1,000 units where it is shorter than 20,000). The text alone fixes
them, not the batch that is computed at once. State starts at zero and is carried through each stream. Every unit is a
target: the first one of a stream is predicted from the unit before it, the first one of the text from a newline.
"""

# T = chunk length in units, S = number of streams

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from charlm.errors import CorpusError, SourceError
from charlm.evaluation.held_out_limit import held_out_limit
from charlm.evaluation.scores import DocumentScores, LMScore
from charlm.nn.device import upload
from charlm.nn.inference import inference
from charlm.storage.atomic import write_text
from charlm.text.corpus.encoded_ids import EncodedIds, Ids, line_lengths, line_unknown_bits, sums_of
from charlm.text.corpus.encoding import EncodedInfo, encode_file
from charlm.text.corpus.held_out import HeldOutDocuments, cleaned_bytes

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel

NUM_STREAMS = 20
MIN_STREAM_LENGTH = 1_000
_CHUNK = 128


def score_file(
    model: "LanguageModel", path: Path | str, *, on_progress: Callable[[float], None] | None = None
) -> LMScore:
    """The score of `model` on a text file, read as training reads it but without case flips or shuffling.

    `on_progress` receives the share that is scored. Raises SourceError when the file is missing, CorpusError when it is
    not UTF-8 or holds no text.
    """
    with encoded_text(model, path) as (encoded, info):
        return score_encoded(model, encoded, info, max_units=limited_units(info), on_progress=on_progress)


def limited_units(info: EncodedInfo) -> int | None:
    """Units of an encoded text that a score reads at most (held_out_limit.py); None for all."""
    limit = held_out_limit()
    return None if limit is None or info.characters <= limit else math.ceil(limit * info.units / info.characters)


@contextmanager
def encoded_text(model: "LanguageModel", path: Path | str) -> Iterator[tuple[Path, EncodedInfo]]:
    """The encoded form of a text file, for the block."""
    if not Path(path).is_file():
        raise SourceError(f"no text file at {path}")
    with tempfile.TemporaryDirectory(prefix="charlm-score-") as folder:
        encoded = Path(folder) / "text.arrow"
        info = encode_file(Path(path), encoded, model.dictionary)
        if info.units == 0:
            raise CorpusError(f"{path} holds no text to score: it is empty, or has empty lines only")
        yield encoded, info


def score_text(model: "LanguageModel", text: str) -> LMScore:
    """The score of `model` on a string."""
    with tempfile.TemporaryDirectory(prefix="charlm-score-") as folder:
        path = Path(folder) / "text"
        write_text(path, text)
        return score_file(model, path)


def score_encoded(
    model: "LanguageModel",
    encoded: Path,
    info: EncodedInfo,
    *,
    max_units: int | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> LMScore:
    """The score of `model` on an encoded file, which `info` describes; `on_progress` receives the share that is scored.

    With `max_units` only the beginning of each stream is read, so that about as many units are scored; their characters
    and bytes are then those of as many average units.
    """
    nats, units, unknown = 0.0, 0, 0
    with EncodedIds(encoded) as ids:
        streams, length = stream_shape(len(ids))
        limit = length if max_units is None else min(length, math.ceil(max_units / streams))
        for start, chunk, targets in _chunk_nats(model, ids, limit=limit):
            nats += float(chunk.sum(dtype=np.float64))
            is_text = np.arange(start, start + chunk.shape[1]) < _stream_lengths(len(ids))[:, None]
            units += int(is_text.sum())
            unknown += int(((targets == 0) & is_text).sum())
            if on_progress is not None:
                on_progress(min(1.0, (start + chunk.shape[1]) / limit))
    share = units / info.units
    cost = model.dictionary.unit_of.unknown_bits
    return LMScore(
        nats=nats,
        units=units,
        characters=round(info.characters * share),
        bytes=round(info.bytes * share),
        unknown=unknown,
        unknown_bits=cost * unknown if cost is not None else info.unknown_bits * share,
        unit=model.unit,
    )


def unit_nats(model: "LanguageModel", ids: np.ndarray) -> np.ndarray:
    """Cross entropy of every unit of a text in text order, (len(ids),) float32, nats."""
    streams, length = stream_shape(len(ids))
    nats = np.zeros((streams, length), dtype=np.float32)
    for start, chunk, _ in _chunk_nats(model, ids, limit=length):
        nats[:, start : start + chunk.shape[1]] = chunk
    ordered = nats.reshape(-1)[: len(ids)]
    return ordered if model.is_forward_lm else ordered[::-1]


def score_documents(model: "LanguageModel", path: Path | str, documents: HeldOutDocuments) -> DocumentScores:
    """The bits that `model` needs for each of the documents that make up the text file, in their order.

    The file is scored as a whole, so that a document is read after the one before it, as in training. Raises
    SourceError when the file is missing, CorpusError when it does not hold these documents.
    """
    nats, unknown = np.zeros(len(documents)), np.zeros(len(documents), dtype=np.int64)
    with encoded_text(model, path) as (encoded, info):
        is_as_it_stands = model.dictionary.unit_of.normalization == "none"
        num_bytes = info.bytes if is_as_it_stands else cleaned_bytes(Path(path))
        if (info.lines, num_bytes) != (documents.lines.sum(), documents.bytes.sum()):
            raise CorpusError(
                f"{path} holds {info.lines} lines and {num_bytes} bytes, its documents {documents.lines.sum()} lines "
                f"and {documents.bytes.sum()} bytes; restore it"
            )
        units = sums_of(line_lengths(encoded), documents.lines)
        ends = np.cumsum(units)
        with EncodedIds(encoded) as ids:
            length = stream_shape(len(ids))[1]
            stream_starts = length * np.arange(NUM_STREAMS)
            for start, chunk, targets in _chunk_nats(model, ids, limit=length):
                places = stream_starts[: len(chunk), None] + np.arange(start, start + chunk.shape[1])  # (S, T)
                is_text = places < len(ids)
                places = places[is_text] if model.is_forward_lm else len(ids) - 1 - places[is_text]
                indices = np.searchsorted(ends, places, side="right")
                np.add.at(nats, indices, chunk[is_text].astype(np.float64))
                np.add.at(unknown, indices, targets[is_text] == 0)
        cost = model.dictionary.unit_of.unknown_bits
        bits = cost * unknown if cost is not None else sums_of(line_unknown_bits(encoded), documents.lines)
    return DocumentScores(
        keys=documents.keys,
        nats=nats,
        bits=nats / math.log(2) + bits,
        bytes=documents.bytes,
        units=units,
        unknown=unknown,
    )


def stream_shape(num_units: int) -> tuple[int, int]:
    """Number and length of the streams that a text of `num_units` is cut into; the last one may be shorter."""
    streams = max(1, min(NUM_STREAMS, num_units // MIN_STREAM_LENGTH))
    return streams, math.ceil(num_units / streams)


def _stream_lengths(num_units: int) -> np.ndarray:
    """Units in each stream, (S,)."""
    streams, length = stream_shape(num_units)
    return np.clip(num_units - length * np.arange(streams), 0, length)


def _chunk_nats(model: "LanguageModel", ids: Ids, *, limit: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    return ((start, nats, targets) for start, nats, targets, _ in chunk_outputs(model, ids, limit=limit))


def chunk_outputs(
    model: "LanguageModel", ids: Ids, *, limit: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray, torch.Tensor]]:
    """Yield start, nats (S, T), targets (S, T) and outputs (T, S, D) of chunk after chunk of all streams.

    Up to `limit` units of each stream are read. Nats are zero after the end of the text.
    """
    streams, length = stream_shape(len(ids))
    newline = model.dictionary.get_idx_for_item("\n")
    lengths = _stream_lengths(len(ids))[:, None]
    with inference(model):
        hidden = model.init_hidden(streams)
        for start in range(0, limit, _CHUNK):
            stop = min(start + _CHUNK, limit)
            read = [
                _in_order(ids, length * stream + start - 1, length * stream + stop, newline, model.is_forward_lm)
                for stream in range(streams)
            ]
            units = np.stack(read)  # (S, 1 + T), the unit before the first one included
            targets = units[:, 1:]
            x = upload(torch.from_numpy(units[:, :-1].T.astype(np.int64)), model.device)  # (T, S)
            y = upload(torch.from_numpy(targets.T.astype(np.int64)), model.device)  # (T, S)
            _, output, hidden = model.read(x, hidden)  # (T, S, D)
            nats = model.target_nats(output, y)  # (T, S)
            chunk = nats.T.cpu().numpy() * (np.arange(start, stop) < lengths)  # (S, T)
            yield start, chunk, targets, output


def _in_order(ids: Ids, start: int, stop: int, newline: int, is_forward: bool) -> np.ndarray:
    """The ids from `start` to `stop` in the order of reading: a newline at -1, zeros behind the end of the text."""
    num_units = len(ids)
    first, last = max(start, 0), min(stop, num_units)
    read = np.zeros(stop - start, dtype=ids.dtype)
    if start < 0:
        read[0] = newline
    if first < last:
        part = ids[first:last] if is_forward else ids[num_units - last : num_units - first][::-1]
        read[first - start : last - start] = part
    return read
