"""Pickles are read as data: what they name is never imported, what they ask to call is never called."""

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from charlm.errors import ModelFileError
from charlm.storage.plain_pickle import Call, External, Name, PickledObject, read_pickle, write_pickle

PLAIN = {
    "text": "naïve \U0001f600 \udcff",
    "numbers": [0, 1, -1, 255, 65_536, -(2**31), 2**31, 2**70, -(2**70), 0.5],
    "constants": [None, True, False],
    "bytes": b"\x00\xff",
    "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[], [1]], {}),
    7: "key",
}
CLASS = Name("somewhere.far", "Away")


def read(content: bytes, **functions: Any) -> Any:
    named = {Name("functions", name): function for name, function in functions.items()}
    return read_pickle(io.BytesIO(content), functions=named, classes=frozenset({CLASS}))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read_in_every_protocol(protocol):
    plain = {**PLAIN, "ordered": OrderedDict(a=1, b=[2])}
    assert read(pickle.dumps(plain, protocol)) == plain


def test_what_we_write_python_and_we_read():
    assert pickle.loads(write_pickle(PLAIN)) == PLAIN
    assert read(write_pickle(PLAIN)) == PLAIN


def test_objects_stay_names_with_their_attributes():
    value = [PickledObject(CLASS, (1,), {"a": 2}), External(("storage", 3)), CLASS]
    assert read(write_pickle(value)) == value


def test_a_call_is_made_only_of_a_function_of_ours():
    content = write_pickle(Call(Name("functions", "add"), (2, 3)))
    assert read(content, add=lambda x, y: x + y) == 5
    with pytest.raises(ModelFileError, match=r"asks to import functions\.add"):
        read(content)


class Exploit:
    """Makes a folder when it is unpickled as Python would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_exploit_is_refused_and_does_nothing(tmp_path, protocol):
    content = pickle.dumps({"state_dict": Exploit(tmp_path / "proof")}, protocol)
    with pytest.raises(ModelFileError, match=r"asks to import \w+\.mkdir, which is refused"):
        read(content)
    assert not (tmp_path / "proof").exists()
    pickle.loads(content)  # the exploit is a real one
    assert (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04cbuiltins\neval\n(X\x01\x00\x00\x001tR.",  # a call
        b"\x80\x04cbuiltins\ngetattr\n.",  # a name alone
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",  # a name from the stack
        b"(S'id'\nios\nsystem\n.",  # INST of protocol 0
        b"(cos\nsystem\nS'id'\no.",  # OBJ of protocol 1
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x04]}(K\x01]uh\x00.",  # a memo entry that is not there
    ],
)
def test_other_ways_to_run_code_are_refused(content):
    with pytest.raises((ModelFileError, KeyError)):
        read(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x04](K\x01K\x02u.", "fills a list as if it were a dict"),
        (b"\x80\x04K\x05}b.", "fills a int as if it were a dict"),
        (b"\x80\x04}(K\x01\x85K\x02u.", "keys that are not text or numbers"),
        (b"\x80\x04K\x05)R.", "calls something that is not a name"),
    ],
)
def test_confused_types_are_refused(content, reason):
    with pytest.raises(ModelFileError, match=reason):
        read(content)


def test_a_key_nested_a_million_deep_does_not_end_the_process():
    with pytest.raises(ModelFileError, match="keys that are not text or numbers"):
        read(b"\x80\x04})" + b"\x85" * 200_000 + b"K\x01s.")


def test_a_declared_size_allocates_nothing():
    with pytest.raises(ValueError, match="expected 10000000000 bytes"):
        read(b"\x80\x04\x8e" + (10**10).to_bytes(8, "little") + b"short.")


def test_a_huge_memo_index_allocates_nothing():
    assert read(b"\x80\x04Nr\xff\xff\xff\x7f.") is None


def test_what_is_not_plain_cannot_be_written():
    with pytest.raises(TypeError, match="no pickle is written of a set"):
        write_pickle({1})
