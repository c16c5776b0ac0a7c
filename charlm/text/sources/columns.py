"""The column of a table that holds the text."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from charlm.errors import SourceError
from charlm.text.sources.checking import SourceText


def check_column(source: SourceText, column: str, names: Sequence[str]) -> None:
    """Raise SourceError unless a table with columns of these names has the one that is to be read."""
    if column not in names:
        raise SourceError(
            f"{source.source.address} has no column {column!r}, it has {', '.join(names)}; "
            f"name the right one with --text-column"
        )
    if names.count(column) > 1:
        raise SourceError(f"{source.source.address} has {names.count(column)} columns {column!r}; keep one")


def column_texts(source: SourceText, column: str, values: pa.Array | pa.ChunkedArray) -> Iterator[bytes | None]:
    """The values of a column as stored, unchecked; None where there is none."""
    kind = values.type
    if pa.types.is_null(kind):  # how a table is written that has no value at all in the column
        kind = pa.string()
    if pa.types.is_dictionary(kind):  # what pandas and Polars call categories
        kind = kind.value_type
        values = values.cast(kind)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise SourceError(f"{source.source.address}: column {column!r} holds {kind}, not text; name another one")
    yield from values.cast(pa.large_binary()).to_pylist()
