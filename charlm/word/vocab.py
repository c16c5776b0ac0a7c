"""Vocab: the words that have an id, and the special ones among them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Self, overload

from charlm.config import SplitConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError, DictionaryError
from charlm.units.unit import find_unit

_SPECIAL = ("unknown_token", "padding_token", "bos_token", "eos_token")


class Vocab:
    """The words of a text with consecutive ids: special and reserved ones first, then the most frequent.

    Equally frequent words are in the order of their code points. Special words are `None` where there are none; a word
    without an id has that of the unknown one.

    Args:
        counter: how often each word occurs; None for special words alone.
        max_size: most words beside special and reserved ones; None for no limit.
        min_freq: words that occur less often get no id.
        reserved_tokens: further words that get an id whether they occur or not.
        token_to_idx: ids that some words must have.
    """

    def __init__(
        self,
        counter: Mapping[str, int] | None = None,
        max_size: int | None = None,
        min_freq: int = 1,
        unknown_token: str | None = "<unk>",
        padding_token: str | None = "<pad>",
        bos_token: str | None = "<bos>",
        eos_token: str | None = "<eos>",
        reserved_tokens: Sequence[str] = (),
        token_to_idx: Mapping[str, int] | None = None,
    ) -> None:
        if min_freq < 1 or (max_size is not None and max_size < 0):
            raise ConfigError(f"min_freq must be at least 1 and max_size at least 0, got {min_freq} and {max_size}")
        self.unknown_token = unknown_token
        self.padding_token = padding_token
        self.bos_token = bos_token
        self.eos_token = eos_token
        self.reserved_tokens = list(reserved_tokens)
        special = [token for token in (unknown_token, padding_token, bos_token, eos_token) if token is not None]
        first = [*special, *self.reserved_tokens]
        if len(set(first)) < len(first):
            raise ConfigError(f"a special or reserved word is given twice: {', '.join(first)}")
        ranked = sorted(
            (token for token, count in (counter or {}).items() if count >= min_freq and token not in set(first)),
            key=lambda token: (-(counter or {})[token], token),
        )
        self.idx_to_token = _arranged([*first, *ranked[:max_size]], token_to_idx or {})
        self.token_to_idx = {token: idx for idx, token in enumerate(self.idx_to_token)}

    def __len__(self) -> int:
        return len(self.idx_to_token)

    def __contains__(self, token: object) -> bool:
        return token in self.token_to_idx

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocab) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]  # it compares by content

    def __repr__(self) -> str:
        return (
            f'Vocab(size={len(self)}, unk="{self.unknown_token}", reserved="{self.reserved_tokens}", '
            f'eos="{self.eos_token}")'
        )

    @overload
    def __getitem__(self, tokens: str | None) -> int: ...  # type: ignore[overload-overlap]  # a string is one word

    @overload
    def __getitem__(self, tokens: Sequence[str]) -> list[int]: ...

    def __getitem__(self, tokens: str | Sequence[str] | None) -> int | list[int]:
        """The id of a word, or those of several; raises DictionaryError for an unknown one where none stands for it."""
        if tokens is None or isinstance(tokens, str):
            return self._look_up([tokens or ""])[0]
        return self._look_up(tokens)

    def __call__(self, tokens: str | Sequence[str]) -> int | list[int]:
        return self[tokens]

    to_indices = __call__

    def _look_up(self, tokens: Iterable[str]) -> list[int]:
        known = self.token_to_idx
        if self.unknown_token is not None:
            unknown = known[self.unknown_token]
            return [known.get(token, unknown) for token in tokens]
        try:
            return [known[token] for token in tokens]
        except KeyError as error:
            raise DictionaryError(f"{error} is not in the vocab, which has no unknown_token") from error

    def to_tokens(self, indices: int | Sequence[int]) -> str | list[str]:
        """The word of an id, or those of several; raises DictionaryError for an id that there is not."""
        several = [indices] if isinstance(indices, int) else indices
        for index in several:
            if not 0 <= index < len(self):
                raise DictionaryError(f"there is no id {index} in a vocab of {len(self)} words")
        tokens = [self.idx_to_token[index] for index in several]
        return tokens[0] if isinstance(indices, int) else tokens

    def to_json(self) -> str:
        """The vocab as JSON."""
        special = {name: getattr(self, name) for name in _SPECIAL}
        values = {**special, "reserved_tokens": self.reserved_tokens, "idx_to_token": self.idx_to_token}
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The vocab in what `to_json` gave; raises DictionaryError for anything else."""
        try:
            values = json.loads(text)
            special = {name: values[name] for name in _SPECIAL}
            tokens, reserved = values["idx_to_token"], values["reserved_tokens"]
        except (ValueError, TypeError, KeyError) as error:
            raise DictionaryError(f"this is no vocab: {error!r:.200}") from error
        named = [token for token in special.values() if token is not None]
        if not all(isinstance(token, str) for token in (*tokens, *named, *reserved)) or len(set(tokens)) < len(tokens):
            raise DictionaryError("this is no vocab: its words are strings, each of them once")
        if missing := {*named, *reserved} - set(tokens):
            raise DictionaryError(f"this is no vocab: {', '.join(sorted(missing))} has no id")
        vocab = cls(**special, reserved_tokens=reserved)
        vocab.idx_to_token = list(tokens)
        vocab.token_to_idx = {token: idx for idx, token in enumerate(tokens)}
        return vocab

    def to_dictionary(self) -> Dictionary:
        """The dictionary of a language model: the same ids, where the word that ends a line is a newline.

        The unknown word must have the id 0, as in every dictionary. The words of other texts are then what stands
        between white space. Raises DictionaryError where the ids do not fit.
        """
        if self.unknown_token is None or self[self.unknown_token] != 0 or self.eos_token is None:
            raise DictionaryError("a language model needs a vocab with the unknown_token as its id 0, and an eos_token")
        items = ["\n" if token == self.eos_token else token for token in self.idx_to_token[1:]]
        unit = find_unit("word").with_split(SplitConfig(unit="word", tokenizer="whitespace"))
        dictionary = Dictionary.from_items(items, unit=unit)
        if len(dictionary) != len(self):
            raise DictionaryError(r"a vocab with the word <unk> or \n beside its unknown_token and eos_token")
        return dictionary


def _arranged(tokens: list[str], places: Mapping[str, int]) -> list[str]:
    """`tokens` in their order, but for those that have a place of their own."""
    if strange := [token for token in places if token not in set(tokens)]:
        raise ConfigError(f"token_to_idx names words that the vocab has not: {', '.join(strange[:5])}")
    if len(set(places.values())) < len(places) or not all(0 <= place < len(tokens) for place in places.values()):
        raise ConfigError(f"token_to_idx gives each of its words an id of its own below {len(tokens)}")
    fixed = {place: token for token, place in places.items()}
    others = iter(token for token in tokens if token not in places)
    return [fixed[place] if place in fixed else next(others) for place in range(len(tokens))]
