"""Models: the language model, and those that are trained on its embeddings."""

from charlm.models.language_model import LanguageModel
from charlm.models.sequence_tagger import SequenceTagger
from charlm.models.task_model import Evaluation, TaskModel
from charlm.models.text_classifier import TextClassifier

__all__ = ["Evaluation", "LanguageModel", "SequenceTagger", "TaskModel", "TextClassifier"]
