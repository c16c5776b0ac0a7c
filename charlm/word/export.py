"""Take a model that was made in Python into the pipeline."""

import os
from pathlib import Path

from charlm.errors import ConfigError
from charlm.serialization.bundle import write_bundle
from charlm.word.model import WordLanguageModel
from charlm.word.vocab import Vocab


def to_bundle(model: WordLanguageModel, vocab: Vocab, folder: str | os.PathLike[str]) -> Path:
    """Write model and vocab as a bundle, which `charlm evaluate`, `finetune --from` and others take by its folder.

    The words of its texts are what stands between white space.
    """
    if vocab != model.vocab:
        raise ConfigError("this vocab is not the one that the model was made with")
    write_bundle(Path(folder), {"forward": model.lm.language_model_state()}, {"recipe": model.recipe.recipe})
    return Path(folder)
