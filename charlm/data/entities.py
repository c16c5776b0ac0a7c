"""Sentences of texts whose labelled spans are known by their characters or by their words."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from charlm.data.parts import Token
from charlm.data.sentence import Sentence
from charlm.data.token_sequence import Tokenizer


class TokenEntity(NamedTuple):
    """A labelled run of tokens, counted from 0; `end_token_idx` is after the last one."""

    start_token_idx: int
    end_token_idx: int
    label: str
    value: str = ""
    score: float = 1.0


class CharEntity(NamedTuple):
    """A labelled run of characters, counted from 0; `end_char_idx` is after the last one."""

    start_char_idx: int
    end_char_idx: int
    label: str
    value: str = ""
    score: float = 1.0


def create_labeled_sentence_from_tokens(
    tokens: Sequence[str] | Sequence[Token], token_entities: Iterable[TokenEntity], type_name: str = "ner"
) -> Sentence:
    """The sentence of these words, with the labels in the layer `type_name`."""
    sentence = Sentence(tokens)
    for start, stop, label, _, score in token_entities:
        sentence[start:stop].add_label(type_name, label, score)
    return sentence


def create_labeled_sentence_from_entity_offsets(
    text: str,
    entities: Iterable[CharEntity],
    token_limit: float = float("inf"),
    use_tokenizer: bool | str | Tokenizer = True,
    type_name: str = "ner",
) -> Sentence:
    """The sentence of `text`, with the labels in the layer `type_name` on the words that each run of characters meets.

    Only the first `token_limit` words are kept. A run without a word of its own is left out.
    """
    sentence = Sentence(text, use_tokenizer=use_tokenizer)
    if len(sentence) > token_limit:
        sentence = Sentence(sentence.tokens[: int(token_limit)])
    spans = sentence.word_spans
    for start, end, label, _, score in entities:
        met = [place for place, (begin, stop) in enumerate(spans) if begin < end and start < stop]
        if met:
            sentence[met[0] : met[-1] + 1].add_label(type_name, label, score)
    return sentence
