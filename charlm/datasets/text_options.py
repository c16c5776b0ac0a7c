"""What programs written for Flair say about labelled texts beside their columns, under its names."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charlm.data.sentence import Sentence
from charlm.data.token_sequence import Tokenizer
from charlm.errors import DatasetError

if TYPE_CHECKING:
    from charlm.tokenization import Tokenizer as TokenizerObject


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How labelled texts become sentences."""

    tokenizer: "bool | str | Tokenizer | TokenizerObject" = True
    """See Sentence."""

    truncate_to_max_tokens: int = -1
    """How many words of a text are kept; -1 for all."""

    truncate_to_max_chars: int = -1
    """How many characters of a text are kept; -1 for all."""

    filter_if_longer_than: int = -1
    """Texts of more characters are left out; -1 for none."""

    label_name_map: Mapping[str, str] = field(default_factory=dict)
    """Other names for labels."""

    skip_labels: Collection[str] = ()
    """Texts with one of these labels, as they stand in the file, are left out."""

    no_class_label: str | None = None
    """What stands for no label."""

    allow_examples_without_labels: bool | None = None
    """Whether a text without a label is kept, or left out and reported; by default it is an error."""

    memory_mode: str = "full"
    """Has no effect; all sentences are held in memory."""

    in_memory: bool = True
    """Has no effect; all sentences are held in memory."""

    @classmethod
    def take(cls, options: Mapping[str, object]) -> "TextOptions":
        """The options by their names, those of tables included; those that are None are not set."""
        named = {_NAMES_IN_TABLES.get(name, name): value for name, value in options.items() if value is not None}
        if unknown := [name for name in named if name not in cls.__dataclass_fields__]:
            raise DatasetError(
                f"no option {unknown[0]!r} of a reader of texts; there are {', '.join(cls.__dataclass_fields__)}"
            )
        return cls(**named)  # type: ignore[arg-type]

    def keeps(self, labels: Collection[str], text: str) -> bool:
        """Whether a text is read at all."""
        if 0 < self.filter_if_longer_than < len(text):
            return False
        return not any(label in self.skip_labels for label in labels)

    def labels(self, found: Collection[str]) -> list[str]:
        """The labels by the names that they get, each once."""
        named = (self.label_name_map.get(label, label) for label in found if label != self.no_class_label)
        return list(dict.fromkeys(named))

    def sentence(self, text: str) -> Sentence:
        if self.truncate_to_max_chars > 0:
            text = text[: self.truncate_to_max_chars]
        sentence = Sentence(text, use_tokenizer=self.tokenizer)
        if 0 < self.truncate_to_max_tokens < len(sentence):
            return Sentence(sentence.tokens[: self.truncate_to_max_tokens])
        return sentence


_NAMES_IN_TABLES = {
    "max_tokens_per_doc": "truncate_to_max_tokens",
    "max_chars_per_doc": "truncate_to_max_chars",
    "use_tokenizer": "tokenizer",
}
