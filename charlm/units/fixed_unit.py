"""What units have in common that are the same for every text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from charlm.config import DictionaryConfig, SplitConfig, UnitName
from charlm.config.text import Normalization
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject
from charlm.units.unk_limits import ALL_KNOWN

if TYPE_CHECKING:
    from charlm.units.counts import Counts


class FixedUnit:
    """A unit without settings, from whose items every text is rebuilt."""

    name: UnitName
    settings: JsonObject
    keeps_text = True
    normalization: Normalization = "none"
    items_are_characters = True
    unk_limits = ALL_KNOWN

    def __init__(self) -> None:
        self.settings = {}

    @property
    def identity(self) -> str:
        return self.name

    def with_split(self, split: SplitConfig) -> Self:
        for setting in ("tokenizer", "sentences", "lowercase"):
            if getattr(split, setting) is not None:
                raise ConfigError(f"{setting} is a setting of the unit word; the unit of this text is {self.name}")
        return self

    def default_split(self) -> JsonObject:
        return {}

    def default_dictionary(self) -> DictionaryConfig:
        return DictionaryConfig()

    def with_settings(self, settings: Mapping[str, object]) -> Self:
        return self

    def losses(self, counts: "Counts") -> dict[str, int]:
        return {}

    def fitted(self, counts: "Counts", items: Sequence[str]) -> Self:
        return self

    def between(self, left: str, right: str) -> str:
        return ""
