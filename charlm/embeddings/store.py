"""Stores vectors that never change: they are computed once and mapped from files by later trainings.

Writes CHARLM_CACHE/embeddings/FINGERPRINT/part_000001.arrow …   one row per sentence: key and token vectors

FINGERPRINT is computed from the embeddings (kind, settings, weights; not their name), the key from the words of a
sentence and the white space between them. A part holds about 64 MB, is written atomically and never changes, so a run
that was killed continues behind its last part. The folder can be deleted whenever no training runs.
"""

# N = tokens of a sentence, D = width of the embedding, S = sentences

import json
import mmap
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import xxhash
from torch import Tensor

from charlm.arrays.arrow import numbers, to_numpy
from charlm.data.cache import cache_dir
from charlm.data.sentence import Sentence
from charlm.embeddings.base import Embeddings
from charlm.errors import RunError
from charlm.nn.device import upload
from charlm.storage.atomic import atomic_write, remove_temporaries
from charlm.storage.fingerprints import fingerprint
from charlm.storage.locks import exclusive_lock

_FORMAT = "charlm.embeddings/1"
_PART_BYTES = 64 * 2**20

Keys = np.ndarray
"""(S, 2) uint64: the two halves of a 128-bit hash."""


class EmbeddingStore:
    """The vectors of one kind of embeddings.

    Args:
        embeddings: static embeddings, which compute the missing vectors.
        root: folder of all stores; by default one in CHARLM_CACHE.
    """

    def __init__(self, embeddings: Embeddings, root: Path | None = None) -> None:
        self._embeddings = embeddings
        self.folder = (root or cache_dir() / "embeddings") / embeddings_fingerprint(embeddings)

    def attach(self, sentences: Sequence[Sentence], device: torch.device | None = None) -> None:
        """Add the vectors to the sentences, as views of mapped files or, with `device`, copied to that device.

        Missing vectors are computed and stored first, in the memory of one part. Raises RunError when the folder
        cannot be written.
        """
        with self._writing():
            parts, keys = self._parts(), _keys(sentences)
            places = _find(parts, keys)
            missing = [row for row, place in enumerate(places) if place is None]
            if missing:
                self._compute([sentences[row] for row in missing], keys[missing], first=len(parts) + 1)
                parts = self._parts()
                places = _find(parts, keys)
        found = [place for place in places if place is not None]
        vectors = _views(parts, found) if device is None else _copies(parts, found, device)
        for sentence, place in zip(sentences, found, strict=True):
            self._put(sentence, vectors[place])

    def _put(self, sentence: Sentence, vectors: Tensor) -> None:
        if self._embeddings.embedding_type == "word-level":
            sentence.set_token_embeddings(self._embeddings.name, vectors)
        else:
            sentence.set_embedding(self._embeddings.name, vectors[0])

    def _take(self, sentence: Sentence) -> Tensor:
        """The vectors on a sentence, (N, D) or (1, D)."""
        name = [self._embeddings.name]
        if self._embeddings.embedding_type == "word-level":
            return sentence.get_token_embeddings(name)
        return sentence.get_embedding(name)[None]

    @torch.no_grad()
    def _compute(self, sentences: list[Sentence], keys: Keys, first: int) -> None:
        """Embed sentences, each text once, and write them part by part."""
        unique = np.sort(np.unique(keys, axis=0, return_index=True)[1])
        keys, sentences = keys[unique], [sentences[row] for row in unique]
        token_bytes = 4 * self._embeddings.embedding_length
        for number, rows in enumerate(_blocks(sentences, token_bytes), first):
            block = sentences[rows]
            self._embeddings.embed(block)
            vectors = [self._take(sentence).cpu() for sentence in block]
            _write(self._part_path(number), keys[rows], vectors)
            for sentence in block:
                sentence.clear_embeddings(self._embeddings.all_names())

    def _part_path(self, number: int) -> Path:
        return self.folder / f"part_{number:06d}.arrow"

    def _parts(self) -> list["_Part"]:
        return [_Part.mapped(path) for path in sorted(self.folder.glob("part_*.arrow"))]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of the folder; other processes wait and then find the new vectors."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with exclusive_lock(self.folder / ".lock", busy=None):
                remove_temporaries(self.folder)
                yield
        except PermissionError as error:
            raise RunError(
                f"cannot write {self.folder}: let CHARLM_CACHE be a folder of your own, or use "
                "embeddings_storage_mode='none'"
            ) from error


def embeddings_fingerprint(embeddings: Embeddings) -> str:
    """Equal for embeddings that give equal vectors, whatever their origin and name."""
    digest = xxhash.xxh3_128()
    for name, tensor in sorted(embeddings.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    settings = {name: value for name, value in embeddings.to_json().items() if name != "name"}
    return fingerprint([_FORMAT, settings, digest.hexdigest()])


@dataclass(frozen=True)
class _Part:
    """A file of the store, mapped into memory."""

    keys: Keys
    offsets: np.ndarray
    """Start of the vectors of each sentence, and the end of the last ones, (S + 1,)."""

    vectors: Tensor
    """All vectors, (tokens, D)."""

    def rows(self, row: int) -> Tensor:
        """The vectors of one sentence, (N, D)."""
        start, end = self.offsets[row : row + 2].tolist()
        return self.vectors[start:end]

    @classmethod
    def mapped(cls, path: Path) -> "_Part":
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # torch requires writable memory
        buffer = pa.py_buffer(content)
        batch = pa.ipc.open_stream(buffer).read_next_batch()
        lists = batch.column("vectors")
        values = lists.values.values
        vectors = torch.frombuffer(
            content, dtype=torch.float32, count=len(values), offset=values.buffers()[1].address - buffer.address
        )
        return cls(
            keys=np.frombuffer(batch.column("key").buffers()[1], dtype=np.uint64).reshape(-1, 2),
            offsets=to_numpy(lists.offsets),
            vectors=vectors.view(-1, lists.values.type.list_size),
        )


def _write(path: Path, keys: Keys, vectors: list[Tensor]) -> None:
    """Write one part. An unused vector at the end keeps the file mappable where no sentence has a token."""
    width = vectors[0].shape[1]
    offsets = np.cumsum([0, *map(len, vectors)])
    values = torch.cat([*vectors, torch.zeros(1, width)]).float().contiguous().numpy()
    lists = pa.LargeListArray.from_arrays(
        numbers(offsets.astype(np.int64)), pa.FixedSizeListArray.from_arrays(numbers(values.ravel()), width)
    )
    key = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(keys), [None, pa.py_buffer(keys.tobytes())])
    batch = pa.record_batch([key, lists], names=["key", "vectors"])
    with atomic_write(path) as file, pa.ipc.new_stream(file, batch.schema) as writer:
        writer.write_batch(batch)


def _keys(sentences: Sequence[Sentence]) -> Keys:
    """The hash of what the vectors of each sentence depend on: its words and the white space after each."""
    keys = np.empty((len(sentences), 2), dtype=np.uint64)
    for row, sentence in enumerate(sentences):
        words = json.dumps(sentence.words).encode()
        number = xxhash.xxh3_128_intdigest(words + array("I", sentence.whitespaces_after).tobytes())
        keys[row] = number >> 64, number & (2**64 - 1)
    return keys


_Place = tuple[int, int]
"""Part and row."""


def _views(parts: list[_Part], places: Sequence[_Place]) -> dict[_Place, Tensor]:
    """The stored vectors (N, D) at the places, in the mapped files."""
    return {(number, row): parts[number].rows(row) for number, row in places}


def _copies(parts: list[_Part], places: Sequence[_Place], device: torch.device) -> dict[_Place, Tensor]:
    """The same on `device`: what is wanted of a part is copied at once, and nothing else."""
    copies: dict[_Place, Tensor] = {}
    for number, part in enumerate(parts):
        wanted = sorted({place for place in places if place[0] == number})
        if wanted:
            rows = [part.rows(row) for _, row in wanted]
            on_device = upload(torch.cat(rows), device)
            copies.update(zip(wanted, torch.split(on_device, [len(vectors) for vectors in rows]), strict=True))
    return copies


def _find(parts: list[_Part], wanted: Keys) -> list[tuple[int, int] | None]:
    """Part and row of each key; None for a key that is not stored."""
    if not parts:
        return [None] * len(wanted)
    stored = np.concatenate([part.keys for part in parts])
    part_numbers = np.repeat(np.arange(len(parts)), [len(part.keys) for part in parts])
    rows = np.concatenate([np.arange(len(part.keys)) for part in parts])
    order = np.lexsort((stored[:, 1], stored[:, 0]))
    ordered = stored[order].view([("high", np.uint64), ("low", np.uint64)]).ravel()
    found = np.minimum(np.searchsorted(ordered, wanted.view(ordered.dtype).ravel()), len(ordered) - 1)
    hits = (stored[order[found]] == wanted).all(axis=1)
    return [
        (number, row) if hit else None
        for hit, number, row in zip(
            hits.tolist(), part_numbers[order[found]].tolist(), rows[order[found]].tolist(), strict=True
        )
    ]


def _blocks(sentences: list[Sentence], token_bytes: int) -> Iterator[slice]:
    """The sentences whose vectors fill a part."""
    start = size = 0
    for stop, sentence in enumerate(sentences, 1):
        size += max(len(sentence), 1) * token_bytes
        if size >= _PART_BYTES or stop == len(sentences):
            yield slice(start, stop)
            start, size = stop, 0
