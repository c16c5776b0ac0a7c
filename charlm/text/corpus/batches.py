"""Documents of a source as they go into a corpus, a batch at a time: hashed, with the place where each belongs.

Reads and writes .groups/*    batches that one process has made for another: for each a header, then its arrays and text

This is most of the work of a split, and no batch depends on another one; so several processes can do it. What depends
on the order of all documents, as the filling of shards and the search for duplicates, is left to revision.py.
"""

# D = documents, B = band keys of a document

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol

import numpy as np

from charlm.config import ReadConfig, SplitConfig
from charlm.errors import CorpusError
from charlm.text.corpus.near_duplicates import NearKeys
from charlm.text.corpus.sides import TEST_PLACE, VALID_FILE, VALID_PLACE, choose_places, document_keys
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.raw import Source


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some documents of a source, in their order; arrays of shape (D,)."""

    keys: np.ndarray
    """Hash of each document's text, uint64."""

    places: np.ndarray
    """VALID_PLACE, TEST_PLACE, or a place in the window of open shards; int64."""

    sizes: np.ndarray
    """Bytes of each document, int64."""

    text: bytes
    """The documents by their places, those of one place in their order."""

    near: np.ndarray | None
    """Band keys of each document (D, B), where near-duplicates are looked for."""

    num_stored: int
    """Bytes of the source, as stored, that had been read with it."""

    def __iter__(self) -> Iterator[bytes]:
        """The documents, in their order."""
        return iter(self.documents(np.arange(len(self.keys))))

    def documents(self, chosen: np.ndarray) -> list[bytes]:
        """The text of the documents with the numbers `chosen`."""
        order = _order_by_place(self.places)
        starts = np.empty_like(self.sizes)
        starts[order] = np.cumsum(self.sizes[order]) - self.sizes[order]
        ends = starts + self.sizes
        return [self.text[start:end] for start, end in zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True)]

    def by_place(self, is_kept: np.ndarray) -> Iterator[tuple[int, np.ndarray, bytes | memoryview]]:
        """Each place that kept documents (D,) go to, in order, with their sizes and their text."""
        order = _order_by_place(self.places)
        sizes, is_kept = self.sizes[order], is_kept[order]
        ends = np.cumsum(sizes)
        starts, text, first = ends - sizes, memoryview(self.text), 0
        for place, number in zip(*np.unique(self.places, return_counts=True), strict=True):
            kept = np.flatnonzero(is_kept[first : first + number]) + first
            first += number
            if len(kept):
                breaks = np.flatnonzero(np.diff(kept) > 1)  # documents in a row are taken as one
                firsts, lasts = kept[np.append(0, breaks + 1)], kept[np.append(breaks, len(kept) - 1)]
                parts = [
                    text[start:end] for start, end in zip(starts[firsts].tolist(), ends[lasts].tolist(), strict=True)
                ]
                yield int(place), sizes[kept], parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What is known of a source when all of it has been read."""

    sha256: str
    num_stored: int = 0
    version: str = ""
    skipped: dict[str, int] = field(default_factory=dict)


class SourceBatches(Protocol):
    """The batches of one source, and then what is known of it."""

    def batches(self) -> Iterator[Batch]:
        """All batches; equal sources give equal ones."""

    @property
    def facts(self) -> SourceFacts: ...


class SourceReader:
    """Reads a source in this process.

    Args:
        sides: shares of the held-out files, none where their text is given.
        held_out: the held-out file that all of the source goes to; empty where each document is chosen by its hash.
    """

    def __init__(
        self, source: Source, config: SplitConfig, reading: ReadConfig, *, sides: SplitConfig, held_out: str
    ) -> None:
        self._reader = DocumentReader(source, config, reading)
        self._sides, self._held_out = sides, held_out
        self._near = None if reading.near_threshold is None else NearKeys(reading.near_threshold)

    def batches(self) -> Iterator[Batch]:
        for documents in self._reader.batches():
            keys = document_keys(documents)
            places = choose_places(keys, self._sides)
            if self._held_out:
                places[:] = VALID_PLACE if self._held_out == VALID_FILE else TEST_PLACE
            order = _order_by_place(places).tolist()
            yield Batch(
                keys=keys,
                places=places,
                sizes=np.fromiter(map(len, documents), dtype=np.int64, count=len(documents)),
                text=b"".join([documents[index] for index in order]),
                near=None if self._near is None else self._near.keys(documents),
                num_stored=self._reader.num_stored,
            )

    @property
    def facts(self) -> SourceFacts:
        reader = self._reader
        return SourceFacts(
            sha256=reader.sha256,
            num_stored=reader.num_stored,
            version=reader.version,
            skipped=dict(reader.skipped),
        )


def _order_by_place(places: np.ndarray) -> np.ndarray:
    """The numbers of the documents by their places, those of one place in their order, (D,)."""
    is_narrow = places.max(initial=0) < 1 << 15
    return np.argsort(places.astype(np.int16) if is_narrow else places, kind="stable")  # NumPy's radix sort, O(D)


# ---- from one process to another -----------------------------------------------------------------------------------


def write_batch(file: IO[bytes], batch: Batch) -> None:
    num_bands = 0 if batch.near is None else batch.near.shape[1]
    header = [len(batch.keys), len(batch.text), num_bands, batch.num_stored]
    file.write(np.array(header, dtype="<i8").tobytes())
    file.write(batch.keys.astype("<u8").tobytes())
    file.write(batch.places.astype("<i8").tobytes())
    file.write(batch.sizes.astype("<i8").tobytes())
    if batch.near is not None:
        file.write(batch.near.astype("<u8").tobytes())
    file.write(batch.text)


def read_batch(file: IO[bytes]) -> Batch:
    """The next batch that `write_batch` has written."""
    num_documents, num_bytes, num_bands, num_stored = _read(file, 4, "<i8").tolist()
    keys = _read(file, num_documents, "<u8")
    places, sizes = _read(file, num_documents, "<i8"), _read(file, num_documents, "<i8")
    near = _read(file, num_documents * num_bands, "<u8").reshape(num_documents, num_bands) if num_bands else None
    text = _exactly(file, num_bytes)
    return Batch(keys=keys, places=places, sizes=sizes, text=text, near=near, num_stored=num_stored)


def _read(file: IO[bytes], length: int, kind: str) -> np.ndarray:
    return np.frombuffer(_exactly(file, 8 * length), dtype=kind)


def _exactly(file: IO[bytes], size: int) -> bytes:
    """The next bytes of a file; raises CorpusError where it has fewer."""
    data = file.read(size)
    if len(data) != size:
        raise CorpusError(f"{file.name} ends too early, though a worker has finished it; prepare the text again")
    return data
