"""JSON lines: a record with its text in one field, on each line."""

import importlib.util
import json
from collections.abc import Callable, Iterator

from charlm.text.sources.checking import SourceText
from charlm.text.sources.plain_text import read_lines


def read_json_lines(source: SourceText) -> Iterator[tuple[bytes, int]]:
    """The text of each record, and its line."""
    loads = _json_loads()
    for lines in read_lines(source):
        for number, line in enumerate(lines.text.split(b"\n"), start=lines.line):
            if not line.strip():
                continue
            where = source.where(number)
            try:
                record = loads(source.check_record(line, number))
            except ValueError as error:
                source.refuse_record(f"{where} is not JSON ({' '.join(str(error).split())}); fix the line")
                continue
            text = record.get(source.column) if isinstance(record, dict) else None
            if isinstance(text, str):
                yield text.encode(errors="surrogatepass"), number
                continue
            found = f"fields {', '.join(map(str, record))}" if isinstance(record, dict) else "no fields"
            source.refuse_record(
                f"{where} has no text in {source.column!r}, it has {found}; name the right one with --text-column"
            )


def _json_loads() -> Callable[[bytes], object]:
    if importlib.util.find_spec("orjson"):
        import orjson

        return orjson.loads
    return json.loads
