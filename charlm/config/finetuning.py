"""What becomes of a model's dictionary when the model is continued on other text."""

from dataclasses import dataclass
from typing import Literal, Self

from charlm.config.json_config import JsonConfig, check_words
from charlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DictionaryChange(JsonConfig):
    """Which dictionary a continued model has, and where its new items start."""

    kind: Literal["keep", "extend", "map"] = "keep"
    """`keep`: the model's own; `extend`: new items come after those of the model; `map`: that of the corpus, in which
    the items that the model knows keep their weights."""

    vectors: str | None = None
    """File of word vectors, or its name in CHARLM_CACHE, from which new words start; none: at the mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self, "kind")
        if self.vectors is not None and self.kind == "keep":
            raise ConfigError("--vectors are where new words start: give --extend-dictionary or --map-dictionary too")

    @classmethod
    def of(cls, *, extend: bool, map_: bool, vectors: str | None) -> Self:
        """The change that two flags ask for; raises ConfigError for both at once."""
        if extend and map_:
            raise ConfigError("give --extend-dictionary or --map-dictionary, not both")
        return cls(kind="extend" if extend else "map" if map_ else "keep", vectors=vectors)
