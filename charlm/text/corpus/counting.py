"""Count the characters of each train shard, merge the counts, and build the dictionary.

Reads  train/train_split_*
Writes counts/train_split_*.parquet   character: string, count: int64; by code point
Writes counts/total.parquet           also rank: int64, cumulative_share: double; by rank
Writes dictionary/*                   dictionary.json, coverage.svg, char_mappings and characters.tsv, or words.tsv

Items are written as text: a byte as the character of that code.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.arrays.arrow import numbers, to_numpy
from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, UnitName
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError, CorpusError, DictionaryError, decoration
from charlm.malloc import keep_freed_memory
from charlm.storage.atomic import atomic_folder, atomic_write, write_text
from charlm.storage.fingerprints import sha256_of
from charlm.text.corpus.chunks import read_chunks
from charlm.text.corpus.dictionary_tables import coverage_plot, items_table
from charlm.text.corpus.manifest import CorpusManifest, DictionaryRecord, load_manifest, save_manifest
from charlm.units.counts import Counts
from charlm.units.encoded_lines import NUM_BEFORE, NUM_BEHIND
from charlm.units.unit import Unit, as_unit

_ITEMS_AT_ONCE = 1 << 20  # of the counts of several shards, which are added up together
_SOURCE, _UNIT, _CONTEXT = b"charlm.source", b"charlm.unit", b"charlm.context"


# ---- counting ------------------------------------------------------------------------------------------------------


@keep_freed_memory()
def count_text(path: Path, unit: Unit | UnitName) -> Counts:
    """How often each item occurs in a text file, newlines as Flair reads them."""
    counter = as_unit(unit).counter()
    try:
        for chunk in read_chunks(path):
            counter.add(chunk[NUM_BEFORE:-NUM_BEHIND])
        return counter.counts
    except UnicodeError as error:
        raise CorpusError(f"{path} is not UTF-8; prepare it first") from error


def count_shard(shard: Path, counts: Path, unit: Unit | UnitName, *, sha256: str | None = None) -> bool:
    """Write the counts of a shard; False when they were there already.

    `sha256` is the digest of the shard where the manifest has it; it is computed otherwise.
    """
    sha256 = sha256 or sha256_of(shard)
    if counts.is_file() and _metadata(counts) == {_SOURCE: sha256, _UNIT: as_unit(unit).identity}:
        return False
    write_counts(counts, count_text(shard, unit), unit, source=sha256)
    return True


def write_counts(path: Path, counts: Counts, unit: Unit | UnitName, *, source: str) -> None:
    _write_table(path, counts, {}, unit, source)


def read_counts(path: Path) -> Counts:
    """The counts in a Parquet file; raises CorpusError when it is missing or damaged."""
    try:
        with pq.ParquetFile(path) as file:
            column, *_ = file.schema_arrow.names
            batches = list(file.iter_batches(columns=[column, "count"]))
            context = json.loads((file.schema_arrow.metadata or {}).get(_CONTEXT, b"{}"))
        parts = [Counts(batch.column(0), to_numpy(batch.column(1))) for batch in batches]
        return dataclasses.replace(parts[0] if len(parts) == 1 else Counts.merge(parts), context=context)
    except (OSError, pa.ArrowException, TypeError, ValueError, IndexError) as error:
        raise CorpusError(f"{path} is missing or damaged; delete it and prepare the corpus again") from error


def merge_counts(parts: Sequence[Path], total: Path, unit: Unit | UnitName) -> Counts:
    """Add up the counts of all shards and write them by rank; the sum, most frequent first."""
    counts = _sum_of(map(read_counts, parts)).ranked()
    columns = {
        "rank": numbers(np.arange(1, len(counts.counts) + 1)),
        "cumulative_share": numbers(counts.cumulative_shares()),
    }
    _write_table(total, counts, columns, unit, source="")
    return counts


def _sum_of(parts: Iterable[Counts]) -> Counts:
    """The sums over all parts, with memory for the distinct items and a few parts, however many parts there are."""
    total = Counts.merge([])
    waiting: list[Counts] = []
    num_waiting = 0
    for part in parts:
        waiting.append(part)
        num_waiting += len(part.counts)
        if num_waiting >= max(_ITEMS_AT_ONCE, len(total.counts)):  # so that an item is added a few times only
            total, waiting, num_waiting = Counts.merge([total, *waiting]), [], 0
    return Counts.merge([total, *waiting])


def _write_table(path: Path, counts: Counts, more: dict[str, pa.Array], unit: Unit | UnitName, source: str) -> None:
    columns = {as_unit(unit).counts_column: counts.items, "count": numbers(counts.counts), **more}
    metadata: dict[bytes, str] = {_SOURCE: source, _UNIT: as_unit(unit).identity}
    if counts.context:
        metadata[_CONTEXT] = json.dumps(counts.context)
    table = pa.table(columns).replace_schema_metadata(metadata)
    with atomic_write(path) as file:
        pq.write_table(table, file)


def _metadata(path: Path) -> dict[bytes, str]:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return {}
    return {key: metadata.get(key, b"").decode() for key in (_SOURCE, _UNIT)}


# ---- the dictionary ------------------------------------------------------------------------------------------------


def is_kept(counts: Counts, config: DictionaryConfig, always_kept: Sequence[str]) -> np.ndarray:
    """True for each of the ranked `counts` that gets an id.

    The most frequent items get one until their cumulative share first reaches `coverage` (the crossing one too), if
    they occur at least `min_count` times. Those of `always_kept` get one in any case. With `<unk>` there are no more
    than `max_size`.
    """
    shares = counts.cumulative_shares()
    reached_before = np.concatenate([[False], shares[:-1] >= config.coverage])
    forced = np.array([item in always_kept for item in counts.items.to_pylist()], dtype=bool)
    kept: np.ndarray = ~reached_before & (counts.counts >= config.min_count) | forced
    if config.max_size is not None:
        room = config.max_size - 1 - len(always_kept)  # these have their places even if they do not occur
        kept &= forced | (np.cumsum(kept & ~forced) <= room)
    return kept


def choose_items(counts: Counts, config: DictionaryConfig, unit: Unit | UnitName) -> list[bytes]:
    """The items of a dictionary without `<unk>`: the kept ones by rank, then those always kept that never occur."""
    unit = as_unit(unit)
    if odd := [item for item in config.reserved if unit.num_items(item) != 1]:
        raise ConfigError(
            f"the reserved {odd[0]!r:.60} is no {unit.noun}, but {unit.num_items(odd[0])} of them; reserve each one"
        )
    always_kept, to_item = (*unit.always_kept, *config.reserved), unit.to_item
    kept = is_kept(counts, config, always_kept).tolist()
    chosen = [item for item, is_chosen in zip(counts.items.to_pylist(), kept, strict=True) if is_chosen]
    chosen += [item for item in always_kept if item not in chosen]
    return [to_item(item) for item in chosen]


def build_dictionary(corpus: CorpusFiles, config: DictionaryConfig, unit: Unit | UnitName) -> Dictionary:
    """The dictionary of the corpus. It is built from the counts of the shards at revision 1, and only read later.

    Raises CorpusError when counts are missing, or when the dictionary was built with another configuration.
    """
    manifest = load_manifest(corpus)
    counts = _merge_all(corpus, manifest, unit)
    if manifest.dictionary is None:
        items = choose_items(counts, config, unit)
        fitted = as_unit(unit).fitted(counts, [as_unit(unit).to_text(item) for item in items])
        dictionary = Dictionary.from_items(items, unit=fitted)
        _write_dictionary(corpus, manifest, config, dictionary, counts)
        return dictionary
    check_frozen_dictionary(corpus, manifest.dictionary, config)
    return load_dictionary(corpus, manifest)


def check_frozen_dictionary(corpus: CorpusFiles, record: DictionaryRecord, config: DictionaryConfig) -> None:
    """Raise CorpusError when `config` would have built another dictionary."""
    frozen, given = record.config, config
    for name in config.names():
        if getattr(frozen, name) != getattr(given, name):
            raise CorpusError(
                f"the dictionary of corpus {corpus.name!r} was built with {name}={getattr(frozen, name)}, got "
                f"{getattr(given, name)}; "
                f"keep the setting, extend the dictionary, or prepare the text under another name"
            )


def load_dictionary(corpus: CorpusFiles, manifest: CorpusManifest | None = None) -> Dictionary:
    """The dictionary of a prepared corpus; raises DictionaryError when it is not the one of the manifest."""
    manifest = manifest or load_manifest(corpus)
    return load_known_dictionary(corpus, manifest.dictionary.fingerprint if manifest.dictionary else None)


def load_known_dictionary(corpus: CorpusFiles, fingerprint: str | None) -> Dictionary:
    """The same, for the fingerprint that the manifest has."""
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    if dictionary.fingerprint != fingerprint:
        raise DictionaryError(
            f"{corpus.dictionary} is not the dictionary that {corpus.manifest.name} names; restore it, or prepare again"
        )
    return dictionary


def extend_dictionary(corpus: CorpusFiles) -> Dictionary:
    """The dictionary, extended by the items that its rule keeps in the present text; old items keep their ids.

    Models trained before the extension keep the dictionary in their files.
    """
    manifest = load_manifest(corpus)
    dictionary = load_dictionary(corpus, manifest)
    assert manifest.dictionary is not None  # load_dictionary has seen it
    counts = _merge_all(corpus, manifest, dictionary.unit_of)
    num_items = len(dictionary)
    for item in choose_items(counts, manifest.dictionary.config, dictionary.unit_of):
        dictionary.add_item(item)
    if len(dictionary) > num_items:
        _write_dictionary(corpus, manifest, manifest.dictionary.config, dictionary, counts)
    return dictionary


def _merge_all(corpus: CorpusFiles, manifest: CorpusManifest, unit: Unit | UnitName) -> Counts:
    shards = [Path(file.name).name for revision in manifest.revisions for file in revision.train_files]
    return merge_counts([corpus.counts(shard) for shard in shards], corpus.total_counts, unit)


def _write_dictionary(
    corpus: CorpusFiles, manifest: CorpusManifest, config: DictionaryConfig, dictionary: Dictionary, counts: Counts
) -> None:
    """Write the dictionary folder, then name it in the manifest; a run killed in between writes both again."""
    with atomic_folder(corpus.dictionary_dir) as folder:
        dictionary.save(folder / corpus.dictionary.name)
        if dictionary.unit_of.items_are_characters:
            dictionary.save(folder / corpus.char_mappings.name)
        table = corpus.characters_tsv if dictionary.unit_of.items_are_characters else corpus.words_tsv
        with decoration(table.name):
            write_text(folder / table.name, items_table(counts, dictionary))
        with decoration(corpus.coverage_plot.name):
            write_text(folder / corpus.coverage_plot.name, coverage_plot(counts, dictionary, config.coverage))
    record = DictionaryRecord(config=config, fingerprint=dictionary.fingerprint, size=len(dictionary))
    save_manifest(corpus, dataclasses.replace(manifest, dictionary=record))
