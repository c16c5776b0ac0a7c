"""JSON objects, one a line: one dialect, whatever libraries are installed.

`NaN` and `Infinity` are taken, as many programs write them. Half a surrogate pair in a field that is read follows
`ReadingRules.bad_bytes`. A field that stands twice in an object is refused, for only one of its values would be kept.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from charlm.datasets.lines import DEFAULT_RULES, ReadingRules, checked_text, is_blank, mistake, read_lines


def read_json_objects(
    path: Path, fields: Sequence[str], rules: ReadingRules = DEFAULT_RULES, *, required: bool = True
) -> Iterator[tuple[int, list[Any]]]:
    """Number of the line and the values of `fields` of every object; None for one that it lacks and need not have.

    Raises DatasetError with the line where it holds no object, lacks a field or has it twice.
    """
    for number, line in read_lines(path, rules):
        if is_blank(line):
            continue
        found = parse_object(path, number, line)
        for name in fields:
            if required and name not in found:
                raise mistake(path, number, f"the object has no field {name!r}; it has {_shown(found)}")
            if line.count(json.dumps(name)) > 1:
                _check_once(path, number, line, name)
        yield number, [_checked(path, number, found.get(name), rules) for name in fields]


def parse_object(path: Path, number: int, line: str) -> dict[str, Any]:
    """The object of one line."""
    try:
        value = json.loads(line)
    except RecursionError as error:
        raise mistake(path, number, "this is not valid JSON: it is nested too deeply") from error
    except ValueError as error:
        reason = getattr(error, "msg", str(error).partition(";")[0])
        hint = "; an object may not go on in the next line" if line.strip() in ("{", "[") else ""
        raise mistake(path, number, f"this is not valid JSON: {reason}{hint}") from error
    if not isinstance(value, dict):
        raise mistake(path, number, f"one JSON object is needed on each line, and this is {line.strip()[:60]!r}")
    return value


def as_label(value: Any) -> str | None:
    """A label as text: whole numbers and truth values too; None for anything else."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if value.is_integer():  # what pandas makes of whole numbers in a column with gaps
            return str(int(value))
    return None


def _shown(found: dict[str, Any]) -> str:
    return ", ".join(map(repr, list(found)[:8])) or "none"


def _check_once(path: Path, number: int, line: str, name: str) -> None:
    """Raise DatasetError where the outer object has a field twice."""

    def keep(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return pairs

    outer: list[tuple[str, Any]] = json.loads(line, object_pairs_hook=keep)
    if [key for key, _ in outer].count(name) > 1:
        raise mistake(path, number, f"the object has the field {name!r} twice")


def _checked(path: Path, number: int, value: Any, rules: ReadingRules) -> Any:
    """`value` with every text in it checked; see `checked_text`."""
    match value:
        case str():
            return value if value.isascii() else checked_text(path, number, value, rules)
        case list():
            return [_checked(path, number, item, rules) for item in value]
        case dict():
            return {key: _checked(path, number, item, rules) for key, item in value.items()}
    return value
