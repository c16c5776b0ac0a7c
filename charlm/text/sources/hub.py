"""Datasets of the Hugging Face hub: a record is a row, with its text in one column."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from charlm.errors import SourceError, how_to_install
from charlm.storage.fingerprints import fingerprint
from charlm.text.sources.checking import SourceText
from charlm.text.sources.columns import check_column, column_texts

_RECORDS_PER_BATCH = 1000


def read_hub(source: SourceText) -> Iterator[tuple[bytes, int]]:
    """The text of each row, and its number."""
    name, split, named_column = parse_hub_address(source.source.address)
    column = named_column or source.column
    builder = _find_dataset(name, source.source.address)
    source.version = _version(builder, column)
    digest = hashlib.sha256()
    number = 0
    for batch in _hub_batches(builder, split, source.source.address):
        check_column(source, column, batch.column_names)
        for text in column_texts(source, column, batch.column(column)):
            number += 1
            if text is None:
                source.refuse_record(f"{source.where(number)} has no text in {column!r}")
                continue
            digest.update(len(text).to_bytes(8, "little") + text)
            source.num_stored += len(text)
            yield text, number
    source.sha256 = digest.hexdigest()


def parse_hub_address(address: str) -> tuple[str, str, str | None]:
    """`hf:NAME[:SPLIT[:COLUMN]]` -> name, split (`train` by default) and column (None by default)."""
    parts = address.removeprefix("hf:").split(":")
    if not parts[0] or len(parts) > 3:
        raise SourceError(f"a Hugging Face dataset is hf:NAME[:SPLIT[:COLUMN]], got {address!r}")
    name, split, column = [*parts, "", ""][:3]
    return name, split or "train", column or None


def version_of_hub(source: SourceText) -> str:
    """What identifies the content of a dataset, without reading it; empty where nothing does."""
    name, _, named_column = parse_hub_address(source.source.address)
    return _version(_find_dataset(name, source.source.address), named_column or source.column)


def _version(builder: Any, column: str) -> str:
    """The commit of a dataset on the hub, or the times of its files elsewhere, and the column that is read."""
    files = builder.config.data_files or {}
    origins = {str(split): [list(origin) for origin in found.origin_metadata] for split, found in files.items()}
    is_known = bool(origins) and all(origin for found in origins.values() for origin in found)
    return fingerprint([origins, column]) if is_known else ""


def _find_dataset(name: str, address: str) -> Any:
    """The builder of a dataset; the package `datasets` has no types."""
    try:
        import datasets
    except ImportError as error:
        raise SourceError(f"{address} needs the package datasets; {how_to_install('pipeline')}") from error
    try:
        return datasets.load_dataset_builder(name)
    except Exception as error:  # the hub and the network raise many kinds
        raise SourceError(f"cannot read {address}: {' '.join(str(error).split())[:300]}") from error


def _hub_batches(builder: Any, split: str, address: str) -> Iterator[pa.Table]:
    try:
        stream = builder.as_streaming_dataset(split=split).with_format("arrow")
        yield from stream.iter(batch_size=_RECORDS_PER_BATCH)
    except Exception as error:  # the hub, the network and the data raise many kinds
        raise SourceError(f"cannot read {address}: {' '.join(str(error).split())[:300]}") from error
