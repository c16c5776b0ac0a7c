"""JSON lines: a record with its text in one field, on each line."""

import importlib.util
import json
from collections.abc import Callable, Iterator

from charlm.text.sources.checking import SourceText
from charlm.text.sources.plain_text import read_lines

_MOST_DIGITS = 4000  # Python refuses to make an int of a few more


def read_json_lines(source: SourceText) -> Iterator[tuple[bytes, int]]:
    """The text of each record, and its line."""
    key = json.dumps(source.column).encode()
    for lines in read_lines(source):
        for number, line in enumerate(lines.text.split(b"\n"), start=lines.line):
            if not line.strip():
                continue
            where = source.where(number)
            try:
                record = load_record(source.check_record(line, number))
            except ValueError as error:
                source.refuse_record(
                    f"{where} is not JSON ({' '.join(str(error).split())}); write one object on each line"
                )
                continue
            if not isinstance(record, dict):
                source.refuse_record(f"{where} is no JSON object, but {line.decode()[:40]}; write one on each line")
                continue
            fields = record
            text = fields.get(source.column)
            if line.count(key) > 1 and _num_fields(line, source.column) > 1:
                source.refuse_record(
                    f"{where} has the field {source.column!r} twice; keep one, or use --bad-bytes skip"
                )
            elif isinstance(text, str):
                yield source.check_characters(text, number), number
            elif source.column in fields:
                source.refuse_record(
                    f"{where} has no text in {source.column!r}, but {json.dumps(text)[:40]}; "
                    f"add it, or use --bad-bytes skip"
                )
            else:
                found = f"fields {', '.join(fields)}" if fields else "no fields"
                source.refuse_record(
                    f"{where} has no text in {source.column!r}, it has {found}; name the right one with --text-column"
                )


def load_record(line: bytes) -> object:
    """The value of a line of JSON, as Python's own parser reads it; raises ValueError where it is not JSON.

    Python accepts `NaN`, `Infinity` and halves of surrogate pairs, which other programs write. orjson is four times as
    fast and accepts none of them, so what it refuses is parsed again.
    """
    try:
        return _fast_loads(line)
    except ValueError:
        return python_loads(line)


def python_loads(line: bytes) -> object:
    """The same without orjson."""
    try:
        return json.loads(line.decode(), parse_int=_whole_number)  # of bytes it would guess the encoding
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def _num_fields(line: bytes, name: str) -> int:
    """How often the object of a line has the field `name`; of several, a parser keeps the last."""
    pairs: list[tuple[str, object]] = json.loads(line.decode(), object_pairs_hook=list, parse_int=_whole_number)
    return [key for key, _ in pairs].count(name)


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _find_fast_loads() -> Callable[[bytes], object]:
    if importlib.util.find_spec("orjson"):
        import orjson

        return orjson.loads
    return python_loads


_fast_loads = _find_fast_loads()
