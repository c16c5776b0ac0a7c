"""TokenClassifier: a label for every word from its vector alone, without a recurrent layer or a CRF."""

from collections.abc import Mapping
from typing import Literal, Self

from charlm.data.dictionary import Dictionary
from charlm.embeddings.base import TokenEmbeddings
from charlm.embeddings.stacked import token_embeddings_from_json
from charlm.models.downstream_model import dictionary_of
from charlm.models.sequence_tagger import SequenceTagger
from charlm.storage.atomic import JsonObject


class TokenClassifier(SequenceTagger):
    """A SequenceTagger that is a linear layer, as for a transformer that is fine-tuned.

    Args:
        embeddings: vectors of words.
        label_dictionary: the possible labels, from `Corpus.make_label_dictionary`.
        label_type: the layer of labels to train on and to predict.
        span_encoding: the tags that a dictionary of span values is turned into.
        dropout, locked_dropout: share of the values dropped before the linear layer.
        loss_weights: weight of the loss by label, 1 for all others.
    """

    def __init__(
        self,
        embeddings: TokenEmbeddings,
        label_dictionary: Dictionary,
        label_type: str,
        span_encoding: Literal["BIOES", "BIO"] = "BIOES",
        *,
        dropout: float = 0.0,
        locked_dropout: float = 0.0,
        loss_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            embeddings=embeddings,
            tag_dictionary=label_dictionary,
            tag_type=label_type,
            tag_format=span_encoding,
            use_crf=False,
            use_rnn=False,
            reproject_embeddings=False,
            dropout=dropout,
            locked_dropout=locked_dropout,
            loss_weights=loss_weights,
        )

    def _settings(self) -> JsonObject:
        names = ("dropout", "locked_dropout", "loss_weights")
        kept = {name: self._arguments[name] for name in names if name in self._arguments}
        return {"labels": self.tags, "label_type": self.label_type, **kept}

    @classmethod
    def _from_settings(cls, settings: JsonObject, embeddings: JsonObject) -> Self:
        labels = dictionary_of(settings["labels"])
        arguments = {name: value for name, value in settings.items() if name != "labels"}
        return cls(token_embeddings_from_json(embeddings), labels, **arguments)
