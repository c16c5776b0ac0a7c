"""What all settings share: they are frozen and checked, plain JSON in files, and can be set by `field=value`."""

import dataclasses
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, Self, TypeVar

from charlm.errors import ConfigError, known_names
from charlm.storage.atomic import JsonObject

_C = TypeVar("_C", bound="JsonConfig")
_KINDS: dict[object, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    type(None): ((type(None),), "none"),
}


def _join_lines(schema: JsonObject) -> None:
    """Put the description of each field of a JSON schema on one line: a form shows the ends of lines."""
    for field in schema["properties"].values():
        if "description" in field:
            field["description"] = " ".join(field["description"].split())


@dataclass(frozen=True, kw_only=True)
class JsonConfig:
    """A configuration that is plain JSON in files. Its subclasses check their values in `__post_init__`."""

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "use_attribute_docstrings": True,
        "json_schema_extra": _join_lines,
    }
    """Forms made from a configuration, as in the Prefect UI, show the line under each field."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset()
    """Fields that JSON lacks where they have their default: files from before they existed keep their fingerprints."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field holds a value of another type."""
        fields = _kinds_of_fields(type(self))  # type: ignore[arg-type]  # mypy does not know that classes are hashable
        for name, (kinds, shown) in fields.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise ConfigError(f"{name} is {shown}, got {reprlib.repr(value)}")

    @classmethod
    def names(cls) -> list[str]:
        """Its fields."""
        return [field.name for field in dataclasses.fields(cls)]

    def to_json(self) -> JsonObject:
        values = dataclasses.asdict(self)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, JsonConfig):
                values[field.name] = value.to_json()
            elif field.name in self.OMITTED_AT_DEFAULT and value == field.default:
                del values[field.name]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The configuration with these fields; raises ConfigError for a field that does not exist or is missing."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                raise ConfigError(f"{cls.__name__} has no field {name!r}; it has {', '.join(sorted(fields))}")
        for name, field in fields.items():
            if name not in values and field.default is field.default_factory is dataclasses.MISSING:
                raise ConfigError(f"{cls.__name__} needs a value for {name!r}")
        return cls(**values)


@cache
def _kinds_of_fields(config: type[object]) -> dict[str, tuple[tuple[type, ...], str]]:
    """The Python types of each field of plain types, and how they are called in a message."""
    found = {}
    for name, hint in typing.get_type_hints(config).items():
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        if all(option in _KINDS for option in options):
            kinds = tuple(kind for option in options for kind in _KINDS[option][0])
            found[name] = kinds, " or ".join(_KINDS[option][1] for option in options)
    return found


def with_settings(config: _C, settings: list[str]) -> _C:
    """`config` with every `field=value` of `settings` applied; the value is read by the field's type."""
    known = typing.get_type_hints(type(config))
    hints = {field.name: known[field.name] for field in dataclasses.fields(config)}
    changes: JsonObject = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            raise ConfigError(f"--set takes field=value, got {setting!r}")
        if name not in hints:
            raise ConfigError(f"there is no field {name!r} to set; {known_names(name, sorted(hints))}")
        changes[name] = _parse_value(name, text.strip(), hints[name])
    return dataclasses.replace(config, **changes)


def _parse_value(name: str, text: str, hint: object) -> object:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if type(None) in options and text.lower() in ("none", "null", ""):
            return None
        hint = next(option for option in options if option is not type(None))
    if typing.get_origin(hint) is Literal:
        return text  # __post_init__ names the allowed words
    if hint is bool:
        if text.lower() in ("true", "yes", "1"):
            return True
        if text.lower() in ("false", "no", "0"):
            return False
        raise ConfigError(f"{name} is true or false, got {text!r}")
    if hint is int:
        try:
            number = float(text)
        except ValueError:
            number = 0.5
        if not number.is_integer():
            raise ConfigError(f"{name} is a whole number, got {text!r}")
        return int(number)
    if hint is float:
        try:
            return float(text)
        except ValueError:
            raise ConfigError(f"{name} is a number, got {text!r}") from None
    return text


def check_words(config: JsonConfig, *names: str) -> None:
    """Raise ConfigError where a field that has a fixed set of words holds another value."""
    hints = typing.get_type_hints(type(config))
    for name in names:
        words = typing.get_args(hints[name])
        if getattr(config, name) not in words:
            raise ConfigError(f"{name} is one of {', '.join(words)}; got {getattr(config, name)!r}")


def check_share(name: str, value: float, *, zero: bool = True, one: bool = False) -> None:
    if not (0 <= value <= 1) or (value == 0 and not zero) or (value == 1 and not one):
        raise ConfigError(f"{name} must be in {'[' if zero else '('}0, 1{']' if one else ')'}, got {value}")
