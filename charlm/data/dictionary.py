"""Dictionary: the two-way map between items (characters, bytes or labels) and ids.

Reads  dictionary.json          (our own format)
Reads  char_mappings            (Flair's pickle of plain containers; nothing in it is executed)
Writes both.

The attributes and method names are Flair's, so that programs written for it run here.
"""

import io
import json
import os
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import numpy as np

from charlm.config import UnitName
from charlm.data.cache import cache_dir
from charlm.errors import CharLMError, DictionaryError
from charlm.storage.atomic import JsonObject, atomic_write, write_json
from charlm.storage.fingerprints import fingerprint
from charlm.storage.plain_pickle import read_pickle
from charlm.units.unit import Unit, as_unit, find_unit

UNK = b"<unk>"
START, STOP = b"<START>", b"<STOP>"
_FORMAT = "charlm.dictionary/1"


class Dictionary:
    """Items with consecutive ids; id 0 is `<unk>` unless `add_unk` is false.

    Attributes:
        idx2item: item of each id, as UTF-8 bytes (a single raw byte each where `unit` is `byte`).
        item2idx: id of each item.
        unit: name of what an item is when the dictionary encodes text; `unit_of` is the unit itself.
        unit_settings: the settings of that unit, where it has some (`charlm.units`).
        multi_label, span_labels: of a dictionary of labels, whether something has several, and whether spans have them.
        label_type: of a dictionary of labels, the layer that they were found in; it is not written to files.
    """

    multi_label = False
    span_labels = False
    label_type: str | None = None

    def __init__(self, add_unk: bool = True, *, unit: Unit | UnitName = "char") -> None:
        self.idx2item: list[bytes] = []
        self.item2idx: dict[bytes, int] = {}
        self.add_unk = add_unk
        self.unit: UnitName = as_unit(unit).name
        self.unit_settings: JsonObject = as_unit(unit).settings
        self._unit: Unit | None = None
        self._text_encoder: Callable[[str], np.ndarray] | None = None
        self._num_encoded = 0  # items that the encoder was made of
        if add_unk:
            self.add_item(UNK)

    @classmethod
    def from_items(cls, items: Iterable[str | bytes], *, unit: Unit | UnitName = "char") -> Self:
        """`<unk>` followed by `items` in their order."""
        dictionary = cls(unit=unit)
        for item in items:
            dictionary.add_item(item)
        return dictionary

    def add_item(self, item: str | bytes) -> int:
        """The id of `item`, which is added at the end when it is new."""
        key = item.encode() if isinstance(item, str) else item
        if key not in self.item2idx:
            self.item2idx[key] = len(self.idx2item)
            self.idx2item.append(key)
        return self.item2idx[key]

    def get_idx_for_item(self, item: str | bytes) -> int:
        """The id of `item`; 0 for an unknown one where the dictionary has `<unk>`, DictionaryError otherwise."""
        key = item.encode() if isinstance(item, str) else item
        if key in self.item2idx:
            return self.item2idx[key]
        if self.add_unk:
            return 0
        raise DictionaryError(f"{key.decode(errors='replace')!r} is not in the dictionary: {self}")

    def get_idx_for_items(self, items: Iterable[str | bytes]) -> list[int]:
        return [self.get_idx_for_item(item) for item in items]

    def get_item_for_index(self, idx: int) -> str:
        """The item of an id as text (a byte unit as the character of that code)."""
        item = self.idx2item[idx]
        return self.unit_of.to_text(item) if idx > 0 else item.decode()

    def get_items(self) -> list[str]:
        to_text = self.unit_of.to_text
        return [item.decode() for item in self.idx2item[:1]] + [to_text(item) for item in self.idx2item[1:]]

    def has_item(self, item: str | bytes) -> bool:
        return (item.encode() if isinstance(item, str) else item) in self.item2idx

    def remove_item(self, item: str | bytes) -> None:
        """Take out an item, where it is there; those after it get ids one lower."""
        kept = [other for other in self.idx2item if other != (item.encode() if isinstance(item, str) else item)]
        self.idx2item, self.item2idx = kept, {item: idx for idx, item in enumerate(kept)}
        self._text_encoder = None

    def set_start_stop_tags(self) -> None:
        """Add the tags that Flair's CRF begins and ends a sentence with; ours needs none."""
        self.add_item(START)
        self.add_item(STOP)

    def start_stop_tags_are_set(self) -> bool:
        return START in self.item2idx and STOP in self.item2idx

    def is_span_prediction_problem(self) -> bool:
        """Whether the labels are those of spans, or tags of words inside spans, such as `B-LOC`."""
        return self.span_labels or any(item[:2] in (b"B-", b"S-", b"I-") for item in self.idx2item)

    def __len__(self) -> int:
        return len(self.idx2item)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dictionary):
            return NotImplemented
        return self.unit_of == other.unit_of and self.idx2item == other.idx2item

    __hash__ = None  # type: ignore[assignment]  # it can still grow

    def __repr__(self) -> str:
        shown = ", ".join(self.get_items()[:50])
        return f"Dictionary with {len(self)} tags: {shown}{', …' if len(self) > 50 else ''}"

    # ---- text to ids -------------------------------------------------------------------------------------------

    @property
    def unit_of(self) -> Unit:
        """What an item is when the dictionary encodes text."""
        if self._unit is None:
            self._unit = find_unit(self.unit).with_settings(self.unit_settings)
        return self._unit

    @property
    def id_type(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned integer that holds every id."""
        return np.min_scalar_type(max(len(self) - 1, 0))

    def encode(self, text: str) -> np.ndarray:
        """The ids of `text`, one an item, in the dictionary's smallest integer type."""
        if self._text_encoder is None or self._num_encoded != len(self):  # it can grow
            self._text_encoder, self._num_encoded = self.unit_of.text_encoder(self.get_items(), self.id_type), len(self)
        return self._text_encoder(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; `<unk>` and broken byte sequences become U+FFFD."""
        return self.unit_of.decode(None if idx == 0 else self.idx2item[idx] for idx in ids)

    def extends(self, other: "Dictionary") -> bool:
        """True when this dictionary begins with all items of `other`, so that their ids mean the same in both."""
        return self.unit_of == other.unit_of and self.idx2item[: len(other)] == other.idx2item

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.to_json())

    # ---- files -------------------------------------------------------------------------------------------------

    def to_json(self) -> JsonObject:
        value = {"format": _FORMAT, "unit": self.unit, "add_unk": self.add_unk, "items": self.get_items()}
        return value | ({"unit_settings": self.unit_settings} if self.unit_settings else {})

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The dictionary in a value read from JSON; raises DictionaryError when it is not one."""
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise DictionaryError(f"this is not a dictionary: it has no format {_FORMAT!r}")
        items, unit, add_unk = value.get("items"), value.get("unit"), value.get("add_unk", True)
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise DictionaryError("the dictionary has no list of items")
        settings = value.get("unit_settings", {})
        if not isinstance(settings, dict):
            raise DictionaryError("the settings of the dictionary's unit are damaged")
        dictionary = cls(add_unk=False, unit=find_unit(unit).with_settings(settings))
        to_item = dictionary.unit_of.to_item
        dictionary.add_unk = bool(add_unk)
        for idx, item in enumerate(items):
            dictionary.add_item(to_item(item) if idx > 0 else item.encode())
        if len(dictionary) != len(items):
            raise DictionaryError("the dictionary holds an item twice")
        return dictionary

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `dictionary.json`, or Flair's pickle `char_mappings` where the name does not end in `.json`."""
        path = Path(path)
        if path.suffix == ".json":
            write_json(path, self.to_json())
            return
        with atomic_write(path) as file:
            pickle.dump({"idx2item": self.idx2item, "item2idx": self.item2idx}, file, protocol=4)

    @classmethod
    def load_from_file(cls, path: str | os.PathLike[str]) -> Self:
        """The dictionary in `dictionary.json` or in Flair's pickle, whose items may be `bytes` or `str`.

        Raises DictionaryError when the file is missing, damaged, or would need anything executed to be read.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DictionaryError(f"cannot read the dictionary {path}: {error.strerror}") from error
        try:
            if content.lstrip()[:1] == b"{":
                return cls.from_json(json.loads(content))
            return cls._from_mappings(read_pickle(io.BytesIO(content), functions={}, classes=frozenset()))
        except CharLMError as error:
            raise DictionaryError(f"{path} is not a dictionary we trust: {error}") from error
        except Exception as error:  # damaged pickles raise almost anything
            raise DictionaryError(f"{path} is not a dictionary: {error or type(error).__name__}") from error

    @classmethod
    def _from_mappings(cls, mappings: object) -> Self:
        items = mappings.get("idx2item") if isinstance(mappings, dict) else None
        if not isinstance(items, list) or not items:
            raise DictionaryError("it holds no list `idx2item`")
        if not all(isinstance(item, str | bytes) for item in items):
            raise DictionaryError("its items are not text")
        dictionary = cls(add_unk=False)
        for item in items:
            dictionary.add_item(item)
        if len(dictionary) != len(items):
            raise DictionaryError("it holds an item twice")
        dictionary.add_unk = dictionary.idx2item[0] == UNK
        return dictionary

    @classmethod
    def load(cls, name: str) -> Self:
        """The default set `"chars"`, or the dictionary file `name` (a path, or a file in CHARLM_CACHE)."""
        if name == "chars":
            return cls.from_items(_default_characters())
        cache = cache_dir()
        for path in (Path(name), cache / name, cache / "dictionaries" / name):
            if path.is_file():
                return cls.load_from_file(path)
        raise DictionaryError(
            f'no dictionary {name!r}: load "chars", give a path, or put the file in {cache} (CHARLM_CACHE)'
        )


def _default_characters() -> list[str]:
    """Newline, space, and the printable characters of European scripts and typography, most common blocks first."""
    blocks = [(0x21, 0x7F), (0xA1, 0x180), (0x391, 0x3CA), (0x410, 0x450), (0x2010, 0x2028), (0x20A0, 0x20C0)]
    characters = ["\n", " ", "\t", "\N{NO-BREAK SPACE}"]
    characters += [chr(code) for start, end in blocks for code in range(start, end) if chr(code).isprintable()]
    return characters
