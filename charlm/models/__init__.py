"""Models: the language model, and those that are trained on its embeddings."""

from charlm.models.language_model import LanguageModel

__all__ = ["LanguageModel"]
