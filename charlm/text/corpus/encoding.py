"""Encode text files as ids.

Reads  train/train_split_*, valid.txt, test.txt
Writes encoded/FINGERPRINT/*.arrow   Arrow IPC stream, column `ids: large_list<uint8|uint16|uint32>`

One row is one non-empty line with its newline: the ids that Flair reads from the same file, without its shuffling and
case flips (see visiting.py). Encoded files are a cache, text is the truth.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from charlm.arrays.arrow import numbers, to_numpy
from charlm.arrays.masks import column, pick, places
from charlm.arrays.utf8 import (
    BEYOND_ASCII,
    bytes_beyond_ascii,
    code_points,
    code_points_within,
    first_bytes,
    share_beyond_ascii,
)
from charlm.artifacts import CorpusFiles
from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError, DictionaryError
from charlm.malloc import keep_freed_memory
from charlm.storage.atomic import atomic_write
from charlm.storage.fingerprints import sha256_of
from charlm.text.corpus.chunks import NUM_BEFORE, NUM_BEHIND, read_chunks
from charlm.text.corpus.manifest import load_manifest, save_manifest

_UNITS_PER_BATCH = 2_000_000
_NUM_CODE_POINTS = 0x110000
_NEWLINE = ord("\n")
_NUM_OCTETS = 0x100
_FEW = 1 / 4  # of the bytes of a text
_DIGITS = 20  # of a number in the schema metadata


@dataclass(frozen=True)
class EncodedInfo:
    """What an encoded file says about itself."""

    dictionary: str
    """Fingerprint of the dictionary."""

    source: str
    """SHA-256 of the text file."""

    lines: int = 0
    """Rows."""

    units: int = 0
    """Ids."""

    characters: int = 0
    """Code points of the text in the rows; the same number as `units` where a unit is a character."""

    bytes: int = 0
    """UTF-8 bytes of the text in the rows."""

    unknown: int = 0
    """Ids that are `<unk>`."""

    reused: bool = dataclasses.field(default=False, compare=False)
    """True when the file was there already; not stored."""

    @property
    def unk_rate(self) -> float:
        return self.unknown / max(self.units, 1)


# ---- writing -------------------------------------------------------------------------------------------------------


@keep_freed_memory()
def encode_file(text: Path, encoded: Path, dictionary: Dictionary, *, sha256: str | None = None) -> EncodedInfo:
    """Encode a text file, unless `encoded` already holds this text under this dictionary.

    `sha256` is the digest of the text where the manifest has it; it is computed otherwise.
    """
    if not dictionary.add_unk:
        raise DictionaryError("text is encoded with a dictionary whose first item is <unk>, this one has none")
    info = EncodedInfo(dictionary.fingerprint, sha256 or sha256_of(text))
    if encoded.is_file():
        found = _try_info(encoded)
        if found is not None and (found.dictionary, found.source) == (info.dictionary, info.source):
            return dataclasses.replace(found, reused=True)
    with atomic_write(encoded) as file:
        schema = pa.schema({"ids": pa.large_list(pa.from_numpy_dtype(dictionary.id_type))})
        with pa.ipc.new_stream(file, _with_info(schema, info)) as stream:
            for lengths, ids, num_characters, num_bytes in encode_chunks(text, dictionary):
                stream.write_batch(_record_batch(lengths, ids))
                info = dataclasses.replace(
                    info,
                    lines=info.lines + len(lengths),
                    units=info.units + len(ids),
                    characters=info.characters + num_characters,
                    bytes=info.bytes + num_bytes,
                    unknown=info.unknown + len(ids) - int(np.count_nonzero(ids)),
                )
        _rewrite_schema(file, _with_info(schema, info))
    return info


def encode_chunks(path: Path, dictionary: Dictionary) -> Iterator[tuple[np.ndarray, np.ndarray, int, int]]:
    """Row lengths, ids, and the characters and bytes of their text, about `_UNITS_PER_BATCH` ids at a time.

    The ids are valid until the next ones are asked for.
    """
    encoder = _Encoder(dictionary)
    ids = np.empty(_UNITS_PER_BATCH, dtype=dictionary.id_type)  # the memory of every batch
    lengths: list[np.ndarray] = []
    num_units = num_characters = num_bytes = 0
    for chunk in read_chunks(path):
        try:
            all_ids, marks, newline = encoder.encode(chunk)
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path} is not UTF-8 ({error.reason}); prepare it first") from error
        new_ids, new_lengths = _without_empty_lines(all_ids, marks, newline)
        num_left_out = NUM_BEFORE - 1 + len(all_ids) - len(new_ids) + NUM_BEHIND - 1
        if num_units + len(new_ids) > len(ids):
            if num_units:
                yield np.concatenate(lengths), ids[:num_units], num_characters, num_bytes
                lengths, num_units, num_characters, num_bytes = [], 0, 0, 0
            if len(new_ids) > len(ids):
                ids = np.empty_like(new_ids)
        ids[num_units : num_units + len(new_ids)] = new_ids
        lengths.append(new_lengths)
        num_units += len(new_ids)
        num_characters += len(new_ids) if dictionary.unit == "char" else _count_characters(chunk) - num_left_out
        num_bytes += len(chunk) - num_left_out
    if num_units:
        yield np.concatenate(lengths), ids[:num_units], num_characters, num_bytes


def _without_empty_lines(ids: np.ndarray, marks: np.ndarray, newline: Any) -> tuple[np.ndarray, np.ndarray]:
    """The ids but for the first one, a newline, and newlines behind another one; and the lengths of the lines.

    A newline is where `marks` equals `newline`.
    """
    is_kept = ~((column(marks[1:]) == newline) & (column(marks[:-1]) == newline))
    (kept,) = pick(is_kept, ids[1:])
    (kept_marks,) = (kept,) if marks is ids else pick(is_kept, marks[1:])
    return kept, np.diff(places(column(kept_marks) == newline), prepend=-1)


def _count_characters(text: np.ndarray) -> int:
    """Code points of a UTF-8 text, uint8 (bytes,): its bytes but for those that continue one."""
    return int(np.count_nonzero(text & 0xC0 != 0x80))


class _Encoder:
    """Looks up the ids of whole lines."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._unit = dictionary.unit
        known = dictionary.id_table()[:-1]
        self._ids = np.zeros(_NUM_CODE_POINTS, dtype=known.dtype)
        self._ids[: len(known)] = known
        self._ids_of_units = numbers(self._ids)
        of_octets = self._ids[:_NUM_OCTETS]
        second, first = np.broadcast_arrays(of_octets[:, None], of_octets)  # as they stand in a number of both
        self._ids_of_twos = numbers(np.stack([first, second], axis=-1).ravel().view(f"u{2 * known.itemsize}"))

    def encode(self, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
        """The ids of a chunk, with those of the newline before it and of the one behind it (its last line may have
        none); and an array with a value that is in it where newlines are."""
        units = lines = chunk[NUM_BEFORE - 1 : 1 - NUM_BEHIND]
        if self._unit == "byte":
            ids = self._of_octets(lines)
        elif share_beyond_ascii(lines) < _FEW:
            beyond = bytes_beyond_ascii(lines)
            if len(beyond):
                units = first_bytes(lines)
            ids = self._of_octets(units)
            if len(beyond):
                ids[places(column(units) >= BEYOND_ASCII)] = self._ids[code_points(beyond)]
        else:
            units = code_points_within(chunk)
            # Arrow takes by any unsigned integer, where NumPy first makes it 64 bits wide; the table has them all.
            ids = to_numpy(pc.take(self._ids_of_units, numbers(units), boundscheck=False))
        newline = self._ids[_NEWLINE]
        # No other unit has the id of a known one, and an id is narrower than a code point.
        return (ids, ids, newline) if newline else (ids, units, np.uint8(_NEWLINE))

    def _of_octets(self, octets: np.ndarray) -> np.ndarray:
        """The ids of single bytes, looked up two at a time."""
        even = len(octets) // 2 * 2
        twos = numbers(octets[:even].view(np.uint16))
        ids = to_numpy(pc.take(self._ids_of_twos, twos, boundscheck=False)).view(self._ids.dtype)
        return ids if even == len(octets) else np.append(ids, self._ids[octets[-1]])


def _record_batch(lengths: np.ndarray, ids: np.ndarray) -> pa.RecordBatch:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = pa.LargeListArray.from_arrays(numbers(offsets), numbers(ids))
    return pa.RecordBatch.from_arrays([rows], names=["ids"])


def _with_info(schema: pa.Schema, info: EncodedInfo) -> pa.Schema:
    """The schema with `info` as metadata, numbers in a fixed width: they are known only when all is written."""
    values = dataclasses.asdict(info)
    del values["reused"]
    return schema.with_metadata(
        {
            f"charlm.{name}": f"{value:0{_DIGITS}d}" if isinstance(value, int) else value
            for name, value in values.items()
        }
    )


def _rewrite_schema(file: IO[bytes], schema: pa.Schema) -> None:
    """Put the final schema over the one that the stream began with; it has the same length."""
    message = schema.serialize()
    file.seek(0)
    file.write(message)


# ---- reading -------------------------------------------------------------------------------------------------------


def encoded_info(path: Path) -> EncodedInfo:
    """What an encoded file says about itself; raises CorpusError when it is missing or damaged."""
    info = _try_info(path)
    if info is None:
        raise CorpusError(f"{path} is missing or damaged; delete it and prepare the corpus again")
    return info


def _try_info(path: Path) -> EncodedInfo | None:
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            metadata = stream.schema.metadata or {}
        values: dict[str, Any] = {}
        for field in dataclasses.fields(EncodedInfo):
            if field.name != "reused":
                value = metadata[f"charlm.{field.name}".encode()].decode()
                values[field.name] = int(value) if field.type is int else value
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    return EncodedInfo(**values)


def open_rows(path: Path) -> tuple[pa.Buffer, list[pa.LargeListArray]]:
    """A whole encoded file in memory-mapped pages, and the rows in it, an array for each record batch."""
    try:
        with pa.memory_map(str(path)) as file:
            pages = file.read_buffer()
        with pa.ipc.open_stream(pages) as stream:
            return pages, [batch.column(0) for batch in stream]
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path} is missing or damaged; delete it and prepare the corpus again") from error


def read_ids(path: Path) -> np.ndarray:
    """All ids of an encoded file in order, one-dimensional, in the stored type; a view of the file where it can be."""
    _, batches = open_rows(path)
    parts = [to_numpy(rows.values) for rows in batches]
    if len(parts) == 1:
        ids: np.ndarray = parts[0]
        return ids
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint8)


# ---- a whole corpus ------------------------------------------------------------------------------------------------


def split_files(corpus: CorpusFiles) -> dict[str, Path]:
    """The text files of a corpus by split name (`train_split_0001` …, `valid`, `test`).

    Works for a prepared corpus and for any folder of Flair's layout. Raises CorpusError when a part is missing.
    """
    shards = corpus.shards() if corpus.manifest.is_file() else _files_of(corpus.train_dir)
    if not shards:
        raise CorpusError(f"{corpus.train_dir} holds no text files; a corpus folder has train/, valid.txt and test.txt")
    for path in (corpus.valid, corpus.test):
        if not path.is_file():
            raise CorpusError(f"{path} is missing; a corpus folder has train/, valid.txt and test.txt")
    return {path.name: path for path in shards} | {"valid": corpus.valid, "test": corpus.test}


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def known_digests(corpus: CorpusFiles) -> dict[str, str]:
    """The SHA-256 of each text file by split name, as the manifest has them; empty where there is no manifest."""
    if not corpus.manifest.is_file():
        return {}
    return {Path(name).name.removesuffix(".txt"): file.sha256 for name, file in load_manifest(corpus).files.items()}


def ensure_encoded(corpus: CorpusFiles, dictionary: Dictionary, names: Sequence[str] | None = None) -> dict[str, Path]:
    """The encoded file of each split name, or of `names` alone; what is missing or out of date is encoded."""
    files, digests = split_files(corpus), known_digests(corpus)
    fingerprint = dictionary.fingerprint
    encoded = {}
    for name in names if names is not None else files:
        if name not in files:
            raise CorpusError(f"{corpus.root} has no split {name!r}; it has {', '.join(files)}")
        encoded[name] = corpus.encoded(fingerprint, name)
        encode_file(files[name], encoded[name], dictionary, sha256=digests.get(name))
    return encoded


def record_unk_rate(corpus: CorpusFiles, dictionary: Dictionary) -> float:
    """The share of held-out units outside the dictionary, which is also noted in the manifest.

    The held-out text must be encoded.
    """
    infos = [encoded_info(corpus.encoded(dictionary.fingerprint, name)) for name in ("valid", "test")]
    unk_rate = sum(info.unknown for info in infos) / max(sum(info.units for info in infos), 1)
    manifest = load_manifest(corpus)
    if manifest.dictionary is not None and manifest.dictionary.unk_rate != unk_rate:
        record = dataclasses.replace(manifest.dictionary, unk_rate=unk_rate)
        save_manifest(corpus, dataclasses.replace(manifest, dictionary=record))
    return unk_rate
