"""The vectors of several sentences as one matrix on the device that computes with them, and the other way round."""

# W = words of all sentences, D = width of their vectors

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.data.data_point import on_one_device
from charlm.data.sentence import Sentence
from charlm.nn.device import upload


def token_matrix(sentences: Sequence[Sentence], names: Sequence[str], device: torch.device) -> Tensor:
    """The vectors of all words, (W, D): those of the embeddings called `names`, in the order of the names.

    What lies on another device is copied once for each name, not once for each sentence.
    """
    parts = [sentence.token_matrices(names) for sentence in sentences]
    if any(part is None for part in parts):  # some words have vectors of their own
        return torch.cat([sentence.get_token_embeddings(list(names)).to(device) for sentence in sentences])
    by_name = zip(*(part or () for part in parts), strict=True)
    columns = [upload(torch.cat(on_one_device(list(column))), device) for column in by_name]
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)


def set_token_vectors(sentences: Sequence[Sentence], name: str, vectors: Tensor) -> None:
    """Give the sentences their rows of `vectors` (W, D) under `name`."""
    rows = torch.split(vectors, [len(sentence) for sentence in sentences])
    for sentence, matrix in zip(sentences, rows, strict=True):
        sentence.set_token_embeddings(name, matrix)
