"""Language models that Flair saves, and the vectors that Flair makes with them or with ours.

Run by Flair's interpreter:
    python tests/flair/embeddings.py models FOLDER           what tests/golden/flair/*.pt are copies of
    python tests/flair/embeddings.py vectors OUT.npz MODEL…  what tests/golden/flair/vectors.npz is a copy of

Our tests import this module for the texts and settings; Flair is imported only when the script runs.
"""

import itertools
import sys
from pathlib import Path

LETTERS = "\n abcdefghijklmnopqrstuvwxyzABIN.,!éäß\u0301\u05e9\u05dc😀"
TEXTS: list[str | list[str]] = [
    "I love Berlin",
    "two  spaces   and more ",
    "e\u0301te\u0301 cafe\u0301 naïve",
    "😀 emoji👩‍💻 ❤️ x",
    "שלום abc עולם",
    "İstanbul İ is BIG",
    "a" * 2000 + " b " + "c" * 600,
    ["New", "York", "is", "big", "."],
    ["New", "a  b", "York", "new"],
    "x",
]
SETTINGS = list(itertools.product((True, False), repeat=3))  # tokenized_lm, with_whitespace, is_lower
POOLINGS = list(itertools.product(("min", "max", "mean", "fade"), (False, True)))  # pooling, only_capitalized
MODELS = {  # direction, and what is unusual
    "forward": {"is_forward_lm": True},
    "backward": {"is_forward_lm": False},
    "gru": {"is_forward_lm": True, "recurrent_type": "GRU", "nlayers": 2, "nout": 5, "document_delimiter": "[SEP]"},
    "old": {"is_forward_lm": False, "nout": 6},
}


def settings_key(model: str, tokenized_lm: bool, with_whitespace: bool, is_lower: bool) -> str:
    return f"{model} {tokenized_lm:d}{with_whitespace:d}{is_lower:d}"


def write_models(folder: Path) -> None:
    """The models of MODELS; `old` in the file format of torch 1.5, without what early versions did not write."""
    import torch
    from flair.data import Dictionary
    from flair.models import LanguageModel

    dictionary = Dictionary()
    for letter in LETTERS:
        dictionary.add_item(letter)
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, arguments) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = LanguageModel(dictionary, **{"hidden_size": 8, "nlayers": 1, "embedding_size": 6} | arguments)
        model.save(folder / f"{name}.pt")
    state = torch.load(folder / "old.pt", weights_only=False)
    for key in ("recurrent_type", "has_decoder", "document_delimiter"):
        del state[key]
    del state["dictionary"].span_labels
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)


def write_vectors(output: Path, models: list[Path]) -> None:
    """The vectors of all tokens of TEXTS, (tokens, width), for all models and settings; pooled ones for the first."""
    import flair
    import numpy as np
    import torch
    from flair.data import Sentence
    from flair.embeddings import FlairEmbeddings, PooledFlairEmbeddings

    flair.device = torch.device("cpu")

    def sentences() -> list[Sentence]:
        return [Sentence(text, use_tokenizer=False) for text in TEXTS]

    def vectors(embedded: list[Sentence]) -> np.ndarray:
        return torch.stack([token.embedding for sentence in embedded for token in sentence]).numpy()

    arrays = {}
    for path in models:
        for setting in SETTINGS:
            tokenized_lm, with_whitespace, is_lower = setting
            embeddings = FlairEmbeddings(
                str(path), tokenized_lm=tokenized_lm, with_whitespace=with_whitespace, is_lower=is_lower
            )
            arrays[settings_key(path.stem, *setting)] = vectors(embeddings.embed(sentences()))
    for pooling, only_capitalized in POOLINGS:
        pooled = PooledFlairEmbeddings(
            FlairEmbeddings(str(models[0]), name="lm"), pooling=pooling, only_capitalized=only_capitalized
        )
        batches = [sentences(), sentences()[::-1]]  # the second time the memory is not empty
        arrays[f"pooled {pooling} {only_capitalized:d}"] = np.concatenate([vectors(pooled.embed(b)) for b in batches])
    np.savez_compressed(output, **arrays)


if __name__ == "__main__":
    if sys.argv[1] == "models":
        write_models(Path(sys.argv[2]))
    else:
        write_vectors(Path(sys.argv[2]), [Path(path) for path in sys.argv[3:]])
