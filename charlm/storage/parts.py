"""A Parquet file that is written in parts, so that an interrupted writer continues after its last one.

Writes OUTPUT            when all parts are there
       .OUTPUT.parts/    the finished parts until then, each with facts about itself
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from charlm.artifacts import OutputFiles
from charlm.errors import ConfigError
from charlm.storage.atomic import atomic_write, remove_temporaries
from charlm.storage.locks import exclusive_lock


class ParquetParts:
    """The parts of one file, numbered from 0.

    Attributes:
        options: those of pyarrow's `write_table`.
    """

    def __init__(self, files: OutputFiles, options: Mapping[str, object]) -> None:
        self._files = files
        self.options = options

    def facts(self, number: int) -> dict[str, str] | None:
        """The facts that a finished part was written with; None where there is no such part."""
        path = self._files.part(number)
        if not path.is_file():
            return None
        return {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}

    def write(self, number: int, table: pa.Table, facts: Mapping[str, str]) -> None:
        """Write a part, over one of its number."""
        with atomic_write(self._files.part(number)) as file:
            pq.write_table(table.replace_schema_metadata(dict(facts)), file, **self.options)

    def tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns of each part, in order."""
        return (pq.read_table(path, columns=columns) for path in self._files.parts())

    def drop(self, first: int) -> None:
        """Delete the parts from `first` on."""
        for path in self._files.parts()[first:]:
            path.unlink()

    def close(self) -> None:
        """Delete what is left, and the folder."""
        shutil.rmtree(self._files.parts_dir, ignore_errors=True)

    def join(self, *, rows_of_group: int = 0) -> None:
        """Write the parts into the file, and delete them; a part is a row group, or several are, of so many rows."""
        paths = self._files.parts()
        schema = pq.read_schema(paths[0]).remove_metadata()
        with atomic_write(self._files.output) as file, pq.ParquetWriter(file, schema, **self.options) as writer:
            group: list[pa.Table] = []
            for path in paths:
                group.append(pq.read_table(path).replace_schema_metadata(None))
                if sum(table.num_rows for table in group) >= rows_of_group:
                    writer.write_table(pa.concat_tables(group))
                    group = []
            if group:
                writer.write_table(pa.concat_tables(group))
        self.close()


@contextmanager
def open_parts(files: OutputFiles, **options: object) -> Iterator[ParquetParts]:
    """The parts of a file, for one process alone.

    Raises ConfigError where the file cannot be written, RunError while another process writes it.
    """
    if files.output.is_dir():
        raise ConfigError(f"{files.output} is a folder; name a file to write to")
    with exclusive_lock(files.lock, busy=f"{files.output} is being written by another process"):
        remove_temporaries(files.parts_dir)
        yield ParquetParts(files, options)
