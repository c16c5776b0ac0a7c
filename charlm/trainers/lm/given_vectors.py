"""New words of a language model start where word vectors of another origin say, such as GloVe's.

Vectors of a file lie in a space of their own, of any width. So the linear map that takes the vectors of words that the
model knows closest to their rows (least squares with a small ridge) gives the rows of new words, for the embedding and,
where it has rows of its own, for the softmax (Kiros et al. 2015, "Skip-Thought Vectors", expand a vocabulary likewise).
"""

# N = words that the model knows and the file has, U = new words that it has, D = width of the vectors, E = of a row

import numpy as np
import torch
from torch import Tensor, nn

from charlm.data.dictionary import Dictionary
from charlm.embeddings.token import WordEmbeddings
from charlm.errors import ConfigError
from charlm.language_models.language_model import LanguageModel


@torch.no_grad()
def start_at_vectors(model: LanguageModel, before: LanguageModel, vectors: str) -> int:
    """Set the rows of items that `before` does not know from the file `vectors`; the number of those that are in it.

    A word is looked up as WordEmbeddings does: also in lower case. Raises ModelFileError for a file of no vectors, and
    ConfigError where it has fewer known words than are needed for a map.
    """
    file = WordEmbeddings(vectors)
    known = before.dictionary.item2idx
    is_new = np.array([item not in known for item in model.dictionary.idx2item])
    of_known, of_new = (_lines(file, other.dictionary) for other in (before, model))
    old, new = np.flatnonzero(of_known >= 0), np.flatnonzero(is_new & (of_new >= 0))
    if len(old) < file.embedding_length:
        raise ConfigError(
            f"{vectors} has {len(old):,} of the {len(known):,} words that the model knows; its vectors of "
            f"{file.embedding_length} numbers need as many to be compared with the model's; give another file"
        )
    sources = torch.from_numpy(np.array(file.vectors[of_known[old]]))  # (N, D)
    wanted = torch.from_numpy(np.array(file.vectors[of_new[new]]))  # (U, D)
    tables = [(model.encoder.weight, before.encoder.weight)]
    if isinstance(model.decoder, nn.Linear) and isinstance(before.decoder, nn.Linear):
        tables.append((model.decoder.weight, before.decoder.weight))
    for table, rows in tables:
        table[torch.from_numpy(new)] = _mapped(sources, rows[torch.from_numpy(old)], wanted)
    return len(new)


def _lines(file: WordEmbeddings, dictionary: Dictionary) -> np.ndarray:
    """The line of each item in the file, -1 where it has none, (V,)."""
    return np.array([file.line_of(item) for item in dictionary.get_items()])


def _mapped(sources: Tensor, targets: Tensor, new: Tensor) -> Tensor:
    """What `new` (U, D) becomes under the affine map that takes `sources` (N, D) to `targets` (N, E), (U, E)."""
    center, mean = sources.mean(dim=0), targets.mean(dim=0)
    sources = sources - center
    gram = (sources.t() @ sources).double()
    ridge = gram.trace() / len(sources)  # as if as many more words as a vector has numbers were at the mean
    weights = torch.linalg.solve(
        gram + ridge * torch.eye(len(gram), dtype=gram.dtype), (sources.t() @ (targets - mean)).double()
    )
    mapped: Tensor = mean + ((new - center).double() @ weights).to(mean)
    return mapped
