"""Pickles as data: read one without importing or calling what it names, write one that names classes we do not have.

A pickle is a program for a stack machine. We run the few instructions that build data ourselves: a name stays a `Name`,
an object a `PickledObject`, and a call is made only where the caller gave a function of ours for that very name. So
nothing in a file can be executed, and nothing is allocated that the file does not really contain.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from charlm.errors import ModelFileError

Value = Any
"""Whatever a pickle holds; it is checked where it is used."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class PickledObject:
    """An object of a class that we did not import: its name, its arguments, and its attributes."""

    name: Name
    arguments: tuple[Value, ...] = ()
    state: Value = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """For writing: the result of calling a function that we did not import."""

    name: Name
    arguments: tuple[Value, ...] = ()


@dataclass(frozen=True)
class External:
    """A value that the pickle keeps outside itself, as torch does with the numbers of a tensor."""

    identity: tuple[Value, ...]


Functions = Mapping[Name, Callable[..., Value]]

_ORDERED_DICT = Name("collections", "OrderedDict")
_ENCODE = Name("_codecs", "encode")
# Flair's dictionaries keep a defaultdict(int) when they were used before they were saved.
_DEFAULT_DICT, _INT = Name("collections", "defaultdict"), Name("builtins", "int")
_MARK = object()
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def read_pickle(file: IO[bytes], *, functions: Functions, classes: frozenset[Name]) -> Value:
    """The value of the pickle that starts at the position of `file`, which is left after its end.

    Args:
        file: an open binary file.
        functions: our own function for each callable that the pickle may call.
        classes: names that it may use as objects or as themselves.

    Raises:
        ModelFileError: it names anything else.
        Exception: almost any, where the pickle is damaged.
    """
    return _Machine(functions, classes).run(file)


class _Machine:
    """The stack machine, reduced to what plain data needs."""

    def __init__(self, functions: Functions, classes: frozenset[Name]) -> None:
        plain: Functions = {_ORDERED_DICT: _ordered_dict, _ENCODE: _encode_latin1, _DEFAULT_DICT: _default_dict}
        self._functions: Functions = {**plain, **functions}
        self._classes = classes | {_INT}
        self._stack: list[Value] = []
        self._memo: dict[int, Value] = {}

    def run(self, file: IO[bytes]) -> Value:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        raise ModelFileError("its pickle has no end")

    def _step(self, opcode: str, argument: Value) -> None:
        stack = self._stack
        if opcode in _VALUES:
            stack.append(argument)
            return
        if opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
            return
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "LIST":
                stack.append(self._pop_to_mark())
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "DICT":
                stack.append(_pairs(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(opcode[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "APPEND":
                value = stack.pop()
                self._top(list).append(value)
            case "APPENDS":
                values = self._pop_to_mark()
                self._top(list).extend(values)
            case "SETITEM":
                values = [stack.pop(), stack.pop()][::-1]
                self._top(dict).update(_pairs(values))
            case "SETITEMS":
                values = self._pop_to_mark()
                self._top(dict).update(_pairs(values))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                module, _, name = argument.partition(" ")
                stack.append(self._trusted(Name(module, name)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(self._trusted(Name(module, name)))
            case "REDUCE" | "NEWOBJ":
                arguments, name = stack.pop(), stack.pop()
                stack.append(self._call(name, arguments))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], PickledObject):
                    stack[-1].state = state
                else:
                    self._top(dict)  # what torch hangs on a state dict: versions of its modules
            case "BINPERSID":
                stack.append(External(tuple(stack.pop())))
            case _:
                raise ModelFileError(f"its pickle uses {opcode}, which plain data does not need")

    def _trusted(self, name: Name) -> Name:
        if name not in self._functions and name not in self._classes:
            raise ModelFileError(f"it asks to import {name}, which is refused")
        return name

    def _call(self, name: Value, arguments: Value) -> Value:
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise ModelFileError("its pickle calls something that is not a name")
        if name in self._functions:
            return self._functions[name](*arguments)
        return PickledObject(name, arguments)

    def _pop_to_mark(self) -> list[Value]:
        start = next(index for index in reversed(range(len(self._stack))) if self._stack[index] is _MARK)
        values = self._stack[start + 1 :]
        del self._stack[start:]
        return values

    def _top(self, kind: type) -> Value:
        if type(self._stack[-1]) is not kind:
            raise ModelFileError(f"its pickle fills a {type(self._stack[-1]).__name__} as if it were a {kind.__name__}")
        return self._stack[-1]


def _pairs(values: list[Value]) -> dict[Value, Value]:
    # Only flat keys: hashing a tuple nested a million deep would end the process.
    if not all(isinstance(key, str | bytes | int) for key in values[::2]):
        raise ModelFileError("its pickle has a dict with keys that are not text or numbers")
    return dict(zip(values[::2], values[1::2], strict=True))


def _ordered_dict(pairs: Value = ()) -> dict[Value, Value]:
    return _pairs([value for pair in pairs for value in pair])


def _default_dict(_default: Value = None) -> dict[Value, Value]:
    return {}


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes: as a call of `_codecs.encode`."""
    if encoding != "latin1" or not isinstance(text, str):
        raise ModelFileError(f"it encodes text as {encoding!r}, which is refused")
    return text.encode("latin-1")


def write_pickle(value: Value) -> bytes:
    """The pickle (protocol 4) of plain data, `Name`, `PickledObject`, `Call` and `External`.

    Equal values give equal bytes. A `PickledObject` comes back as an instance of the class it names wherever that
    class can be imported.
    """
    return b"\x80\x04" + b"".join(_opcodes(value)) + b"."


def _opcodes(value: Value) -> list[bytes]:
    match value:
        case None:
            return [b"N"]
        case bool():
            return [b"\x88" if value else b"\x89"]
        case int() if -(2**31) <= value < 2**31:
            return [b"J" + struct.pack("<i", value)]
        case int():
            digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return [b"\x8a" + bytes([len(digits)]) + digits]
        case float():
            return [b"G" + struct.pack(">d", value)]
        case str():
            text = value.encode("utf-8", "surrogatepass")
            return [b"X" + struct.pack("<I", len(text)) + text]
        case bytes():
            return [b"B" + struct.pack("<I", len(value)) + value]
        case tuple():
            return [b"(", *_many(value), b"t"]
        case list():
            return [b"](", *_many(value), b"e"]
        case dict():
            return [b"}(", *_many([entry for pair in value.items() for entry in pair]), b"u"]
        case Name():
            return [f"c{value.module}\n{value.name}\n".encode()]
        case External():
            return [*_opcodes(value.identity), b"Q"]
        case Call():
            return [*_opcodes(value.name), *_opcodes(value.arguments), b"R"]
        case PickledObject():
            return [*_opcodes(value.name), *_opcodes(value.arguments), b"\x81", *_opcodes(value.state), b"b"]
    raise TypeError(f"no pickle is written of a {type(value).__name__}")


def _many(values: Value) -> list[bytes]:
    return [opcode for value in values for opcode in _opcodes(value)]
