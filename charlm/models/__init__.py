"""Models: the language model, and those that are trained on its embeddings."""

from charlm.errors import outside_charlm
from charlm.language_models.language_model import LanguageModel
from charlm.models.downstream_model import Evaluation, TaskModel
from charlm.models.sequence_tagger import SequenceTagger
from charlm.models.text_classifier import TextClassifier

__all__ = ["Evaluation", "LanguageModel", "SequenceTagger", "TaskModel", "TextClassifier"]

__getattr__ = outside_charlm(
    __name__,
    {
        "ClusteringModel": "clusterings",
        **dict.fromkeys(("EntityLinker", "EntityMentionLinker", "SpanClassifier"), "entity linkers"),
        **dict.fromkeys(("FewshotClassifier", "TARSClassifier", "TARSTagger"), "few-shot models"),
        "Lemmatizer": "lemmatizers",
        "MultitaskModel": "models of several tasks",
        "PrefixedSequenceTagger": "taggers with prefixes",
        "RegexpTagger": "taggers of regular expressions",
        **dict.fromkeys(("RelationClassifier", "RelationExtractor"), "relations between spans"),
        **dict.fromkeys(("TextPairClassifier", "TextPairRegressor", "TextTripleClassifier"), "models of several texts"),
        "TextRegressor": "models of numbers",
        **dict.fromkeys(("TokenClassifier", "WordTagger"), "classifiers of single words (SequenceTagger labels words)"),
    },
)
