"""Models: the language model, and those that are trained on its embeddings."""

from charlm.language_models.language_model import LanguageModel
from charlm.models.downstream_model import Evaluation, TaskModel
from charlm.models.sequence_tagger import SequenceTagger
from charlm.models.text_classifier import TextClassifier

__all__ = ["Evaluation", "LanguageModel", "SequenceTagger", "TaskModel", "TextClassifier"]
