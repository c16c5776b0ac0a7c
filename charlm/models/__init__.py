"""Models: the language model, and taggers and classifiers that are trained on its embeddings."""

from charlm.errors import outside_charlm
from charlm.language_models.language_model import LanguageModel
from charlm.models.downstream_model import DownstreamModel
from charlm.models.evaluation import Evaluation
from charlm.models.sequence_tagger import SequenceTagger
from charlm.models.text_classifier import TextClassifier
from charlm.models.token_classifier import TokenClassifier

# Registered versions from before version 0.2 carry code that imports `TaskModel`.
TaskModel = DownstreamModel

__all__ = ["DownstreamModel", "Evaluation", "LanguageModel", "SequenceTagger", "TextClassifier", "TokenClassifier"]

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
        "WordTagger": "classifiers of that name (TokenClassifier is the newer one)",
    },
)
