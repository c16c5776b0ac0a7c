"""The language model under the import path that registered versions from before version 0.2 carry."""

from charlm.language_models.language_model import LanguageModel, load_language_models

__all__ = ["LanguageModel", "load_language_models"]
