"""Encode text files as ids.

Reads  train/train_split_*, valid.txt, test.txt
Writes encoded/FINGERPRINT/*.arrow   Arrow IPC stream, column `ids: large_list<uint8|uint16|uint32>`

One row is one non-empty line with its newline: the ids that Flair reads from the same file, without its shuffling and
case flips (see augmentation.py). Encoded files are a cache of the text.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from charlm.arrays.arrow import numbers, to_numpy
from charlm.artifacts import CorpusFiles
from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError, DictionaryError
from charlm.malloc import keep_freed_memory
from charlm.storage.atomic import JsonObject, atomic_write
from charlm.storage.fingerprints import sha256_of
from charlm.text.corpus.chunks import read_chunks
from charlm.text.corpus.manifest import load_manifest, save_manifest
from charlm.units.encoded_lines import EncodedLines

_UNITS_PER_BATCH = 2_000_000
_DIGITS = 20  # of a whole number in the schema metadata
_FLOAT_WIDTH = 32  # more than Python writes for any float


@dataclass(frozen=True)
class EncodedInfo:
    """The description that an encoded file holds of itself."""

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

    unknown_bits: float = 0.0
    """What naming the items behind them costs, in bits."""

    reused: bool = dataclasses.field(default=False, compare=False)
    """True when the file existed; not stored."""

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
    if sha256 is None and not text.is_file():
        raise _missing(text)
    info = EncodedInfo(dictionary.fingerprint, sha256 or sha256_of(text))
    if encoded.is_file():
        found = _try_info(encoded, dictionary)
        if found is not None and (found.dictionary, found.source) == (info.dictionary, info.source):
            return dataclasses.replace(found, reused=True)
    if not text.is_file():
        raise _missing(text)
    cost = dictionary.unit_of.unknown_bits
    with atomic_write(encoded) as file:
        schema = pa.schema({"ids": pa.large_list(pa.from_numpy_dtype(dictionary.id_type))})
        if cost is None:
            schema = schema.append(pa.field("unknown_bits", pa.float64()))
        with pa.ipc.new_stream(file, _with_info(schema, info)) as stream:
            for lines in encode_chunks(text, dictionary):
                stream.write_batch(_record_batch(lines))
                unknown = info.unknown + len(lines.ids) - int(np.count_nonzero(lines.ids))
                info = dataclasses.replace(
                    info,
                    lines=info.lines + len(lines.lengths),
                    units=info.units + len(lines.ids),
                    characters=info.characters + lines.characters,
                    bytes=info.bytes + lines.bytes,
                    unknown=unknown,
                    unknown_bits=cost * unknown if cost is not None else info.unknown_bits + _sum_of_bits(lines),
                )
        _rewrite_schema(file, _with_info(schema, info))
    return info


def _missing(text: Path) -> CorpusError:
    return CorpusError(f"{text} is missing, and it is not encoded yet; restore it, or prepare the corpus again")


def _sum_of_bits(lines: EncodedLines) -> float:
    assert lines.unknown_bits is not None  # its unit has no cost for all
    return float(lines.unknown_bits.sum())


def encode_chunks(path: Path, dictionary: Dictionary) -> Iterator[EncodedLines]:
    """The lines of a text file, about `_UNITS_PER_BATCH` ids at a time.

    The ids are valid until the next ones are read.
    """
    encoder = dictionary.unit_of.encoder(dictionary.get_items(), dictionary.id_type)
    ids = np.empty(_UNITS_PER_BATCH, dtype=dictionary.id_type)  # the memory of every batch
    parts: list[EncodedLines] = []
    num_ids = 0
    for chunk in read_chunks(path):
        try:
            lines = encoder.encode(chunk)
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path} is not UTF-8 ({error.reason}); prepare it first") from error
        if num_ids + len(lines.ids) > len(ids):
            if num_ids:
                yield _join(parts, ids[:num_ids])
                parts, num_ids = [], 0
            if len(lines.ids) > len(ids):
                ids = np.empty_like(lines.ids)
        ids[num_ids : num_ids + len(lines.ids)] = lines.ids
        parts.append(dataclasses.replace(lines, ids=ids[:0]))
        num_ids += len(lines.ids)
    if num_ids:
        yield _join(parts, ids[:num_ids])


def _join(parts: Sequence[EncodedLines], ids: np.ndarray) -> EncodedLines:
    bits = [part.unknown_bits for part in parts if part.unknown_bits is not None]
    return EncodedLines(
        ids,
        np.concatenate([part.lengths for part in parts]),
        characters=sum(part.characters for part in parts),
        bytes=sum(part.bytes for part in parts),
        unknown_bits=np.concatenate(bits) if bits else None,
    )


def _record_batch(lines: EncodedLines) -> pa.RecordBatch:
    offsets = np.concatenate([[0], np.cumsum(lines.lengths)]).astype(np.int64)
    columns = {"ids": pa.LargeListArray.from_arrays(numbers(offsets), numbers(lines.ids))}
    if lines.unknown_bits is not None:
        columns["unknown_bits"] = numbers(lines.unknown_bits.astype(np.float64))
    return pa.RecordBatch.from_arrays([*columns.values()], names=[*columns])


def _with_info(schema: pa.Schema, info: EncodedInfo) -> pa.Schema:
    """The schema with `info` as metadata, numbers in a fixed width: they are known only when all is written."""
    values = dataclasses.asdict(info)
    del values["reused"]
    return schema.with_metadata({f"charlm.{name}": _fixed_width(value) for name, value in values.items()})


def _fixed_width(value: str | int | float) -> str:
    if isinstance(value, int):
        return f"{value:0{_DIGITS}d}"
    return f"{value!r:>{_FLOAT_WIDTH}}" if isinstance(value, float) else value


def _rewrite_schema(file: IO[bytes], schema: pa.Schema) -> None:
    """Overwrite the schema at the start of the stream with the final one, which has the same length."""
    message = schema.serialize()
    file.seek(0)
    file.write(message)


# ---- reading -------------------------------------------------------------------------------------------------------


def encoded_info(path: Path, dictionary: Dictionary) -> EncodedInfo:
    """The description in a file encoded with `dictionary`; raises CorpusError when it is missing or damaged."""
    info = _try_info(path, dictionary)
    if info is None:
        raise CorpusError(f"{path} is missing or damaged; delete it and prepare the corpus again")
    return info


def _try_info(path: Path, dictionary: Dictionary) -> EncodedInfo | None:
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            metadata = {key.decode(): value.decode() for key, value in (stream.schema.metadata or {}).items()}
        if "charlm.unknown_bits" not in metadata:  # a file of an older version, which knew no unit without such a cost
            metadata["charlm.unknown_bits"] = str(
                (dictionary.unit_of.unknown_bits or 0) * int(metadata["charlm.unknown"])
            )
        values: JsonObject = {
            field.name: field.type(metadata[f"charlm.{field.name}"])
            for field in dataclasses.fields(EncodedInfo)
            if field.name != "reused" and isinstance(field.type, type)
        }
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


def read_lengths(path: Path) -> np.ndarray:
    """The number of ids of each line of an encoded file, int64."""
    _, batches = open_rows(path)
    parts = [np.diff(to_numpy(rows.offsets)) for rows in batches]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def read_unknown_bits(path: Path) -> np.ndarray:
    """What naming the unknown items of each line costs, float64, where the unit has no one cost for all."""
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            parts = [to_numpy(batch.column("unknown_bits")).copy() for batch in stream]
    except (OSError, pa.ArrowException, KeyError) as error:
        raise CorpusError(f"{path} is missing or damaged; delete it and prepare the corpus again") from error
    return np.concatenate([np.empty(0, dtype=np.float64), *parts])


# ---- a whole corpus ------------------------------------------------------------------------------------------------


def split_files(corpus: CorpusFiles) -> dict[str, Path]:
    """The text files of a corpus by split name (`train_split_0001` …, `valid`, `test`).

    Works for a prepared corpus and for any folder of Flair's layout. Raises CorpusError when a part is missing; train
    shards of a prepared corpus may be, where their encoded form is enough.
    """
    return _split_files(corpus, known_digests(corpus))


def _split_files(corpus: CorpusFiles, digests: Mapping[str, str]) -> dict[str, Path]:
    if corpus.manifest.is_file():
        names = sorted(digests.keys() - {"valid", "test"}, key=lambda name: (len(name), name))
        shards = [corpus.train_dir / name for name in names]
    else:
        shards = _files_of(corpus.train_dir)
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
    digests = known_digests(corpus)
    files = _split_files(corpus, digests)
    fingerprint = dictionary.fingerprint
    encoded = {}
    for name in names if names is not None else files:
        if name not in files:
            raise CorpusError(f"{corpus.root} has no split {name!r}; it has {', '.join(files)}")
        encoded[name] = corpus.encoded(fingerprint, name)
        encode_file(files[name], encoded[name], dictionary, sha256=digests.get(name))
    return encoded


def record_unk_rate(corpus: CorpusFiles, dictionary: Dictionary) -> float:
    """The share of held-out items outside the dictionary, which is also noted in the manifest.

    The held-out text must be encoded.
    """
    infos = [encoded_info(corpus.encoded(dictionary.fingerprint, name), dictionary) for name in ("valid", "test")]
    unk_rate = sum(info.unknown for info in infos) / max(sum(info.units for info in infos), 1)
    manifest = load_manifest(corpus)
    if manifest.dictionary is not None and manifest.dictionary.unk_rate != unk_rate:
        record = dataclasses.replace(manifest.dictionary, unk_rate=unk_rate)
        save_manifest(corpus, dataclasses.replace(manifest, dictionary=record))
    return unk_rate
