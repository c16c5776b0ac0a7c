"""Models: the language model, and taggers and classifiers that are trained on its embeddings."""

from charlm.language_models.language_model import LanguageModel
from charlm.models.downstream_model import DownstreamModel, Evaluation
from charlm.models.sequence_tagger import SequenceTagger
from charlm.models.text_classifier import TextClassifier

# Registered versions from before version 0.2 carry code that imports `TaskModel`.
TaskModel = DownstreamModel

__all__ = ["DownstreamModel", "Evaluation", "LanguageModel", "SequenceTagger", "TextClassifier"]
