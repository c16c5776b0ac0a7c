"""Parquet: a record is a row, with its text in one column."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from charlm.errors import SourceError
from charlm.text.sources.checking import SourceText
from charlm.text.sources.columns import check_column, column_texts
from charlm.text.sources.raw import open_stored, sha256_of_source

_RECORDS_PER_BATCH = 1000


def read_parquet(source: SourceText) -> Iterator[tuple[bytes, int]]:
    """The text of each row, and its number."""
    column = source.column
    source.sha256 = sha256_of_source(source.source)
    with open_stored(source.source) as file:
        try:
            table = pq.ParquetFile(file, pre_buffer=False)
            check_column(source, column, table.schema_arrow.names)
            number = 0
            for batch in table.iter_batches(_RECORDS_PER_BATCH, columns=[column]):
                for text in column_texts(source, column, batch.column(0)):
                    number += 1
                    if text is not None:
                        yield text, number
                    else:
                        source.refuse_record(
                            f"{source.where(number)} has no text in {column!r}; add it, or use --bad-bytes skip"
                        )
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{source.source.address} is no whole Parquet file ({' '.join(str(error).split())}); fetch it again"
            ) from error
    source.num_stored = source.source.size or 0
