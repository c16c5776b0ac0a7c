"""Count the characters of each train shard, merge the counts, and build the dictionary.

Reads  train/train_split_*
Writes counts/train_split_*.parquet   character: string, count: int64; by code point
Writes counts/total.parquet           also rank: int64, cumulative_share: double; by rank
Writes dictionary/*                   char_mappings, dictionary.json, characters.tsv, coverage.svg

A unit is a character, or a byte written as the character of that code.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.arrays.arrow import characters, numbers, to_numpy
from charlm.arrays.utf8 import bytes_beyond_ascii, code_points, share_beyond_ascii
from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, Unit
from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError, DictionaryError
from charlm.malloc import keep_freed_memory
from charlm.storage.atomic import atomic_folder, atomic_write, write_text
from charlm.storage.fingerprints import sha256_of
from charlm.text.corpus.chunks import NUM_BEFORE, NUM_BEHIND, read_chunks
from charlm.text.corpus.dictionary_tables import Counts, characters_table, coverage_plot, item_of
from charlm.text.corpus.manifest import CorpusManifest, DictionaryRecord, load_manifest, save_manifest

_NUM_ASCII = 128
_FEW = 2 / 3  # of the bytes of a text
_NUM_CODE_POINTS = 0x110000
_NO_COUNTS = np.empty(0, dtype=np.int64)
_ALWAYS_KEPT = (ord("\n"), ord(" "))
_SOURCE, _UNIT = b"charlm.source", b"charlm.unit"


# ---- counting ------------------------------------------------------------------------------------------------------


class UnitCounter:
    """Adds up how often each unit occurs, chunk by chunk."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self._decoded = np.zeros(_NUM_ASCII, dtype=np.int64)  # grows as it has to: a short one is read faster
        # Single bytes are counted two at a time, which is half the work; the last one of a chunk may stand alone.
        self._twos = np.zeros(1 << 16, dtype=np.int64)
        self._lone = np.zeros(256, dtype=np.int64)

    def add(self, text: bytes | np.ndarray) -> None:
        """Count whole characters of UTF-8; raises UnicodeDecodeError for anything else."""
        octets = np.frombuffer(text, dtype=np.uint8)
        if self.unit == "byte" or not len(octets):
            self._add_bytes(octets)
            return
        if share_beyond_ascii(octets) < _FEW:
            self._add_bytes(octets)
            octets = bytes_beyond_ascii(octets)
        if len(octets):
            self._add_decoded(octets)

    def _add_bytes(self, octets: np.ndarray) -> None:
        even = len(octets) // 2 * 2
        _add(self._twos, octets[:even].view(np.uint16))
        _add(self._lone, octets[even:])

    def _add_decoded(self, octets: np.ndarray) -> None:
        counts = np.bincount(code_points(octets))
        if len(counts) > len(self._decoded):
            self._decoded = np.pad(self._decoded, (0, len(counts) - len(self._decoded)))
        self._decoded[: len(counts)] += counts

    @property
    def counts(self) -> Counts:
        twos = self._twos.reshape(256, 256)
        octets = twos.sum(axis=0) + twos.sum(axis=1) + self._lone
        if self.unit == "byte":
            table = octets
        else:
            table = self._decoded.copy()
            table[:_NUM_ASCII] += octets[:_NUM_ASCII]
        found = np.flatnonzero(table)
        return Counts(found, table[found])


@keep_freed_memory()
def count_text(path: Path, unit: Unit) -> Counts:
    """How often each unit occurs in a text file, newlines as Flair reads them."""
    counter = UnitCounter(unit)
    try:
        for chunk in read_chunks(path):
            counter.add(chunk[NUM_BEFORE:-NUM_BEHIND])
        return counter.counts
    except UnicodeError as error:
        raise CorpusError(f"{path} is not UTF-8; prepare it first") from error


def _add(table: np.ndarray, values: np.ndarray) -> None:
    """Add one to the entry of each value; the table of np.bincount would be a new one each time."""
    np.add.at(table, values.astype(np.intp), 1)


def count_shard(shard: Path, counts: Path, unit: Unit, *, sha256: str | None = None) -> bool:
    """Write the counts of a shard; False when they were there already.

    `sha256` is the digest of the shard where the manifest has it; it is computed otherwise.
    """
    sha256 = sha256 or sha256_of(shard)
    if counts.is_file() and _metadata(counts) == {_SOURCE: sha256, _UNIT: unit}:
        return False
    write_counts(counts, count_text(shard, unit), unit, source=sha256)
    return True


def write_counts(path: Path, counts: Counts, unit: Unit, *, source: str) -> None:
    _write_table(path, {"character": characters(counts.code_points), "count": numbers(counts.counts)}, unit, source)


def read_counts(path: Path) -> Counts:
    """The counts in a Parquet file; raises CorpusError when it is missing or damaged."""
    try:
        with pq.ParquetFile(path) as file:
            batches = list(file.iter_batches(columns=["character", "count"]))
        found = [character for batch in batches for character in batch.column(0).to_pylist()]
        counts = [to_numpy(batch.column(1)) for batch in batches]
        return Counts(np.array(list(map(ord, found)), dtype=np.int64), np.concatenate([*counts, _NO_COUNTS]))
    except (OSError, pa.ArrowException, TypeError) as error:
        raise CorpusError(f"{path} is missing or damaged; delete it and prepare the corpus again") from error


def merge_counts(parts: Sequence[Path], total: Path, unit: Unit) -> Counts:
    """Add up the counts of all shards and write them by rank; the sum, most frequent first."""
    table = np.zeros(_NUM_CODE_POINTS, dtype=np.int64)
    for part in map(read_counts, parts):
        table[part.code_points] += part.counts
    found = np.flatnonzero(table)
    counts = Counts(found, table[found]).ranked()
    columns = {
        "character": characters(counts.code_points),
        "count": numbers(counts.counts),
        "rank": numbers(np.arange(1, len(found) + 1)),
        "cumulative_share": numbers(counts.cumulative_shares()),
    }
    _write_table(total, columns, unit, source="")
    return counts


def _write_table(path: Path, columns: dict[str, pa.Array], unit: Unit, source: str) -> None:
    table = pa.table(columns).replace_schema_metadata({_SOURCE: source, _UNIT: unit})
    with atomic_write(path) as file:
        pq.write_table(table, file)


def _metadata(path: Path) -> dict[bytes, str]:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return {}
    return {key: metadata.get(key, b"").decode() for key in (_SOURCE, _UNIT)}


# ---- the dictionary ------------------------------------------------------------------------------------------------


def is_kept(counts: Counts, config: DictionaryConfig) -> np.ndarray:
    """True for each of the ranked `counts` that gets an id.

    Kept are the most frequent ones until their cumulative share first reaches `coverage` (the crossing one too), those
    of `min_count` at least, newline and space always, and no more than `max_size` with `<unk>`.
    """
    shares = counts.cumulative_shares()
    reached_before = np.concatenate([[False], shares[:-1] >= config.coverage])
    forced = np.isin(counts.code_points, _ALWAYS_KEPT)
    kept: np.ndarray = ~reached_before & (counts.counts >= config.min_count) | forced
    if config.max_size is not None:
        room = config.max_size - 1 - len(_ALWAYS_KEPT)  # newline and space have their places even if they do not occur
        kept &= forced | (np.cumsum(kept & ~forced) <= room)
    return kept


def choose_units(counts: Counts, config: DictionaryConfig, unit: Unit) -> list[bytes]:
    """The items of a dictionary without `<unk>`: the kept units by rank, then newline and space if they never occur."""
    chosen = counts.code_points[is_kept(counts, config)].tolist()
    chosen += [code_point for code_point in _ALWAYS_KEPT if code_point not in chosen]
    return [item_of(code_point, unit) for code_point in chosen]


def build_dictionary(corpus: CorpusFiles, config: DictionaryConfig, unit: Unit) -> Dictionary:
    """The dictionary of the corpus, made from the counts of its shards at revision 1 and only read later on.

    Raises CorpusError when counts are missing, or when the dictionary was built with another configuration.
    """
    manifest = load_manifest(corpus)
    counts = _merge_all(corpus, manifest, unit)
    if manifest.dictionary is None:
        dictionary = Dictionary.from_items(choose_units(counts, config, unit), unit=unit)
        _write_dictionary(corpus, manifest, config, dictionary, counts)
        return dictionary
    check_frozen_dictionary(corpus, manifest.dictionary, config)
    return load_dictionary(corpus, manifest)


def check_frozen_dictionary(corpus: CorpusFiles, record: DictionaryRecord, config: DictionaryConfig) -> None:
    """Raise CorpusError when `config` would have built another dictionary."""
    frozen, asked = record.config.to_json(), config.to_json()
    for name in frozen:
        if frozen[name] != asked[name]:
            raise CorpusError(
                f"the dictionary of corpus {corpus.name!r} was built with {name}={frozen[name]}, got {asked[name]}; "
                f"keep the setting, extend the dictionary, or prepare the text under another name"
            )


def load_dictionary(corpus: CorpusFiles, manifest: CorpusManifest | None = None) -> Dictionary:
    """The dictionary of a prepared corpus; raises DictionaryError when it is not the one of the manifest."""
    manifest = manifest or load_manifest(corpus)
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    if manifest.dictionary is None or dictionary.fingerprint != manifest.dictionary.fingerprint:
        raise DictionaryError(
            f"{corpus.dictionary} is not the dictionary that {corpus.manifest.name} names; restore it, or prepare anew"
        )
    return dictionary


def extend_dictionary(corpus: CorpusFiles) -> Dictionary:
    """The dictionary with the units added that its rule keeps in the present text; old units keep their ids.

    Models trained before the extension go on with the dictionary that they carry.
    """
    manifest = load_manifest(corpus)
    dictionary = load_dictionary(corpus, manifest)
    assert manifest.dictionary is not None  # load_dictionary has seen it
    counts = _merge_all(corpus, manifest, dictionary.unit)
    num_items = len(dictionary)
    for item in choose_units(counts, manifest.dictionary.config, dictionary.unit):
        dictionary.add_item(item)
    if len(dictionary) > num_items:
        _write_dictionary(corpus, manifest, manifest.dictionary.config, dictionary, counts)
    return dictionary


def _merge_all(corpus: CorpusFiles, manifest: CorpusManifest, unit: Unit) -> Counts:
    shards = [Path(file.name).name for revision in manifest.revisions for file in revision.train_files]
    return merge_counts([corpus.counts(shard) for shard in shards], corpus.total_counts, unit)


def _write_dictionary(
    corpus: CorpusFiles, manifest: CorpusManifest, config: DictionaryConfig, dictionary: Dictionary, counts: Counts
) -> None:
    """Write the dictionary folder, then name it in the manifest; a run killed in between writes both again."""
    with atomic_folder(corpus.dictionary_dir) as folder:
        dictionary.save(folder / corpus.dictionary.name)
        dictionary.save(folder / corpus.char_mappings.name)
        write_text(folder / corpus.characters_tsv.name, characters_table(counts, dictionary))
        write_text(folder / corpus.coverage_plot.name, coverage_plot(counts, dictionary, config.coverage))
    record = DictionaryRecord(config=config, fingerprint=dictionary.fingerprint, size=len(dictionary))
    save_manifest(corpus, dataclasses.replace(manifest, dictionary=record))
