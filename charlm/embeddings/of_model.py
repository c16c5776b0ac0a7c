"""The vectors that a language model gives to words, whatever its unit is."""

from charlm.embeddings.base import TokenEmbeddings
from charlm.embeddings.flair import FlairEmbeddings
from charlm.embeddings.word_lm import WordLMEmbeddings
from charlm.language_models.language_model import LanguageModel
from charlm.nn.precision import ReadingPrecision


def embeddings_of(
    model: LanguageModel, *, name: str | None = None, precision: ReadingPrecision = "fp32"
) -> TokenEmbeddings:
    """FlairEmbeddings of a model of characters or bytes, WordLMEmbeddings of one of words, which are always fp32."""
    if model.dictionary.unit_of.items_are_characters:
        return FlairEmbeddings(model, name=name, precision=precision)
    return WordLMEmbeddings(model, name=name)
