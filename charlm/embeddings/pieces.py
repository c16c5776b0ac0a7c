"""Word pieces of sentences as a transformer reads them: in windows of its length, which overlap if there are several.

Of two windows that overlap, each gives one half of what they share: so every piece is taken once, where it has more
text around it.
"""

# R = windows of all sentences, N = pieces of a window, P = pieces of a sentence, W = its words, D = width of a vector

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

WordPooling = Literal["first", "last", "first_last", "mean"]
TextPooling = Literal["cls", "mean", "max"]
TEXT_POOLINGS: tuple[TextPooling, ...] = ("cls", "mean", "max")
WORD_POOLINGS: tuple[WordPooling, ...] = ("first", "last", "first_last", "mean")


@dataclass(frozen=True)
class Pieces:
    """The pieces of several sentences."""

    inputs: Any
    """What the transformer takes, (R, N)."""

    places: list[list[int]]
    """Where the pieces of each sentence are in the windows, as one row of R * N: (P,)."""

    words: list[list[int | None]]
    """The number of the word that each piece is of, (P,); None for special pieces."""

    num_truncated: int
    """Sentences of which the end is not read."""


def split_into_pieces(tokenizer: Any, texts: Sequence[str] | Sequence[Sequence[str]], *, overlap: int = 0) -> Pieces:
    """The pieces of texts or of lists of words; windows overlap by `overlap` pieces, with 0 there is only the first."""
    inputs = tokenizer(
        list(texts),
        is_split_into_words=bool(texts) and not isinstance(texts[0], str),
        padding=True,
        truncation=True,
        stride=overlap,
        return_overflowing_tokens=overlap > 0,
        return_tensors="pt",
    )
    owners = inputs.pop("overflow_to_sample_mapping", torch.arange(len(texts))).tolist()
    masks, width = inputs["attention_mask"].tolist(), inputs["input_ids"].shape[1]
    places: list[list[int]] = [[] for _ in texts]
    words: list[list[int | None]] = [[] for _ in texts]
    for row, owner in enumerate(owners):
        numbers, real = inputs.word_ids(row), [place for place, is_real in enumerate(masks[row]) if is_real]
        inner = [place for place in real if numbers[place] is not None]
        if owners[row - 1 : row] == [owner]:  # the window before has the first half of what both share
            real = [place for place in real if inner and place >= inner[overlap // 2]]
        if owners[row + 1 : row + 2] == [owner]:
            real = [place for place in real if inner and place < inner[overlap // 2 - overlap]]
        places[owner] += [row * width + place for place in real]
        words[owner] += [numbers[place] for place in real]
    truncated = 0 if overlap else sum(bool(encoding.overflowing) for encoding in inputs.encodings or ())
    return Pieces(inputs, places, words, truncated)


def text_vector(states: Tensor, pooling: TextPooling, cls_place: int) -> Tensor:
    """The vector of a sentence (D,) from those of its pieces (P, D), of which that at `cls_place` stands for it."""
    if pooling == "cls":
        return states[cls_place]
    return states.mean(dim=0) if pooling == "mean" else states.amax(dim=0)


def word_vectors(states: Tensor, words: Sequence[int | None], num_words: int, pooling: WordPooling) -> Tensor:
    """Vectors of words (W, D) from those of a sentence's pieces (P, D); zeros for a word without pieces."""
    own = [place for place, word in enumerate(words) if word is not None]
    numbers = torch.tensor([words[place] for place in own], dtype=torch.long, device=states.device)
    states = states[own]
    if pooling == "mean":
        counts = torch.bincount(numbers, minlength=num_words).clamp(min=1)
        sums = states.new_zeros(num_words, states.shape[1]).index_add(0, numbers, states)
        return sums / counts[:, None].to(states.dtype)
    ends = {
        "first": {words[place]: row for row, place in reversed(list(enumerate(own)))},
        "last": {words[place]: row for row, place in enumerate(own)},
    }
    chosen = [_rows(states, ends[end], num_words) for end in pooling.split("_")]
    return chosen[0] if len(chosen) == 1 else torch.cat(chosen, dim=1)


def _rows(states: Tensor, row_of: dict[int | None, int], num_words: int) -> Tensor:
    """The row of each word, (W, D); zeros where there is none."""
    padded = torch.cat([states, states.new_zeros(1, states.shape[1])])
    return padded[[row_of.get(word, len(states)) for word in range(num_words)]]
