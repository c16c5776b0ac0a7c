"""Datasets of the Hugging Face hub: a record is a row, with its text in one column."""

import hashlib
from collections.abc import Iterator

import pyarrow as pa

from charlm.errors import SourceError
from charlm.text.sources.checking import SourceText
from charlm.text.sources.columns import check_column, column_texts

_RECORDS_PER_BATCH = 1000


def read_hub(source: SourceText) -> Iterator[tuple[bytes, int]]:
    """The text of each row, and its number."""
    name, split, named_column = parse_hub_address(source.source.address)
    column = named_column or source.column
    digest = hashlib.sha256()
    number = 0
    for batch in _hub_batches(name, split, source.source.address):
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


def _hub_batches(name: str, split: str, address: str) -> Iterator[pa.Table]:
    try:
        import datasets
    except ImportError as error:
        raise SourceError(f"{address} needs the package datasets; install charlm[pipeline]") from error
    try:
        stream = datasets.load_dataset(name, split=split, streaming=True).with_format("arrow")
        yield from stream.iter(batch_size=_RECORDS_PER_BATCH)
    except Exception as error:  # the hub, the network and the data raise many kinds
        raise SourceError(f"cannot read {address}: {' '.join(str(error).split())[:300]}") from error
