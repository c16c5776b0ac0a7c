"""How raw text is read, cut into documents and divided into splits, and which items get an id."""

import codecs
import math
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from charlm.artifacts import DIRECTIONS
from charlm.config.json_config import JsonConfig, check_share, check_words
from charlm.errors import ConfigError
from charlm.storage.atomic import JsonObject

UnitName = Literal["char", "byte", "word"]
Normalization = Literal["none", "NFC", "NFKC"]
DocumentMode = Literal["auto", "line", "paragraph", "file"]
BadBytes = Literal["strict", "replace", "skip"]

NEAR_THRESHOLD = 0.8
"""Of near-duplicates, unless a user sets it."""

_OPTIONAL = ("tokenizer", "sentences", "lowercase", "directions")
AUTO = "auto"
"""In the place of an encoding: look at each file."""
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kMG]?)B?\s*", re.IGNORECASE)
_SIZE_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_size(text: str | int) -> int:
    """A size in bytes from decimal units: `"50MB"` -> 50000000, `"100KB"` -> 100000."""
    match = _SIZE.fullmatch(str(text))
    size = int(float(match[1]) * _SIZE_FACTORS[match[2].lower()]) if match else 0
    if size < 1:
        raise ConfigError(f"a size is a number with kB, MB or GB (as 50MB), got {text!r}")
    return size


def codec_name(encoding: str) -> str:
    """An encoding by its one name, or `auto`; raises ConfigError for one that Python does not know."""
    if encoding == AUTO:
        return AUTO
    try:
        "a".encode(encoding)
        return codecs.lookup(encoding).name
    except (LookupError, ValueError) as error:
        raise ConfigError(f"unknown encoding {encoding!r:.60}; use auto, utf-8, utf-16, cp1252 …") from error


@dataclass(frozen=True, kw_only=True)
class SplitConfig(JsonConfig):
    """How raw text becomes documents, and documents become splits. Frozen in corpus.json at revision 1."""

    document: DocumentMode = "auto"
    """What a document is; `auto` decides per source: paragraphs where it has blank lines, lines otherwise."""

    unit: UnitName = "char"
    """What the language model predicts: characters (code points), bytes of UTF-8, or words."""

    shard_size: int = 50_000_000
    """A train shard is closed when it reaches this number of bytes."""

    valid_share: float = 0.02
    """Share of the documents held out for validation."""

    test_share: float = 0.02
    """Share of the documents held out for the test scores."""

    open_shards: int = 8
    """Number of shards that are filled at once; the hash of a document chooses one of them."""

    normalize_newlines: bool = True
    r"""Turn `\r\n` into `\n`."""

    normalization: Normalization = "none"
    """Unicode normalisation form."""

    tokenizer: str | None = None
    """Of the unit word: the name of what splits text into words; none for other units."""

    sentences: str | None = None
    """Of the unit word: `none`, or `punkt` to end every sentence as a line ends."""

    lowercase: bool | None = None
    """Of the unit word: whether words are counted and predicted in lower case."""

    directions: Literal["forward", "backward", "both"] | None = None
    """The directions that a champion of this corpus needs; none, the default but for words, for both."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self, "document", "unit", "normalization")
        if self.directions not in (None, "both", *DIRECTIONS):
            raise ConfigError(f"directions is forward, backward or both, got {self.directions!r}")
        check_share("valid_share", self.valid_share)
        check_share("test_share", self.test_share)
        if self.valid_share + self.test_share >= 1:
            raise ConfigError(
                f"valid_share + test_share must leave text to train on, got {self.valid_share} + {self.test_share}"
            )
        if self.shard_size < 1:
            raise ConfigError(f"shard_size must be at least 1 byte, got {self.shard_size}")
        if self.open_shards < 1:
            raise ConfigError(f"open_shards must be at least 1, got {self.open_shards}")

    @property
    def champion_directions(self) -> tuple[str, ...]:
        """The directions that a champion needs."""
        return DIRECTIONS if self.directions in (None, "both") else (str(self.directions),)

    def to_json(self) -> JsonObject:
        """Its fields; some only where they are set, so that the fingerprints of corpora without them stay."""
        values = super().to_json()
        return {name: value for name, value in values.items() if name not in _OPTIONAL or value is not None}


@dataclass(frozen=True, kw_only=True)
class DictionaryConfig(JsonConfig):
    """Which items of the text (characters, or what the unit is) get an id of their own."""

    coverage: float = 0.9999
    """Share of the training text that the kept items must cover, in (0, 1]."""

    max_size: int | None = None
    """Largest number of ids, `<unk>` included; no limit by default."""

    min_count: int = 1
    """Smallest number of occurrences of a kept item."""

    reserved: tuple[str, ...] = ()
    """Items that get an id whether they occur or not."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset({"reserved"})

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "reserved", tuple(self.reserved))  # a list in JSON
        check_share("coverage", self.coverage, zero=False, one=True)
        if self.max_size is not None and self.max_size < 3:
            raise ConfigError(f"max_size must leave room for <unk>, newline and space, got {self.max_size}")
        if self.max_size is not None and self.max_size < 3 + len(self.reserved):
            raise ConfigError(
                f"max_size={self.max_size} leaves no room for {len(self.reserved)} reserved items beside <unk>, newline"
                f" and space"
            )
        if self.min_count < 1:
            raise ConfigError(f"min_count must be at least 1, got {self.min_count}")


@dataclass(frozen=True, kw_only=True)
class ReadConfig(JsonConfig):
    """How raw text is read, and what of it is held out; each revision may have its own settings."""

    encoding: str = "utf-8"
    """Encoding of text and JSON lines by any name that Python has for it; `auto` looks at each file and reports it."""

    bad_bytes: BadBytes = "strict"
    """What to do about bytes that are not text in this encoding."""

    text_column: str | None = None
    """Field of JSON lines, or column of a table, that holds the text; `text` by default."""

    max_document_bytes: int = 32_000_000
    """Largest size of a document or line in bytes; it is held in memory as a whole."""

    max_ratio: float = 200.0
    """Largest number of bytes of text per compressed byte; more counts as a decompression bomb."""

    max_unpacked_bytes: int = 10**13
    """Largest number of bytes of text in one compressed file."""

    deduplicate: bool = False
    """Leave out documents that the corpus already holds."""

    near_threshold: float | None = None
    """Leave out documents too that share so much of their runs of five words with one before; none for exact copies."""

    min_bits_per_byte: float | None = None
    """Leave out documents that need fewer bits per byte: repetitions and boilerplate."""

    max_bits_per_byte: float | None = None
    """Leave out documents that need more bits per byte: foreign and garbled text."""

    filter_model: str | None = None
    """The model that needs them; by default the champion of the corpus."""

    valid_text: tuple[str, ...] = ()
    """Files, folders and addresses of given validation text; then no other document goes there."""

    test_text: tuple[str, ...] = ()
    """The same for the test text."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset({"near_threshold"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self, "bad_bytes")
        if self.codec != "utf-8" and self.bad_bytes == "skip":
            raise ConfigError(f"bad_bytes is strict or replace for the encoding {self.encoding}; skip is for utf-8")
        for name in ("valid_text", "test_text"):  # a list in JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if (
            not 0
            <= (self.min_bits_per_byte or 0)
            <= (math.inf if self.max_bits_per_byte is None else self.max_bits_per_byte)
        ):
            raise ConfigError(
                f"0 <= min_bits_per_byte <= max_bits_per_byte, got {self.min_bits_per_byte}, {self.max_bits_per_byte}"
            )
        if self.filter_model is not None and not self.has_filter:
            raise ConfigError("filter_model needs min_bits_per_byte or max_bits_per_byte")
        if self.max_document_bytes < 1:
            raise ConfigError(f"max_document_bytes must be at least 1, got {self.max_document_bytes}")
        if self.near_threshold is not None and not (self.deduplicate and 0 < self.near_threshold <= 1):
            raise ConfigError(
                f"near_threshold is a share in (0, 1] beside deduplicate, got {self.near_threshold} and "
                f"deduplicate={self.deduplicate}"
            )
        if not self.max_ratio > 1:
            raise ConfigError(f"max_ratio must be greater than 1, got {self.max_ratio}")
        if self.max_unpacked_bytes < 1:
            raise ConfigError(f"max_unpacked_bytes must be at least 1, got {self.max_unpacked_bytes}")

    @property
    def codec(self) -> str:
        """The encoding by its one name, or `auto`."""
        return codec_name(self.encoding)

    @property
    def has_filter(self) -> bool:
        return self.min_bits_per_byte is not None or self.max_bits_per_byte is not None
