"""SequenceTagger: a label for every word, or for spans of words (Huang et al. 2015, Akbik et al. 2018).

Embeddings -> dropout -> reprojection -> bidirectional LSTM -> linear layer -> conditional random field. Spans are
learned as BIOES tags. Arguments, defaults and initialization are Flair's.
"""

# W = words of all sentences of a batch, sentence after sentence, longest first; D = width of the embeddings,
# H = hidden size, K = tags

import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Label, Sentence
from charlm.data.spans import OUTSIDE, is_span_tag, spans_from_tags, split_tag, tags_of
from charlm.embeddings.base import TokenEmbeddings
from charlm.embeddings.batches import token_matrix
from charlm.embeddings.stacked import token_embeddings_from_json
from charlm.errors import ConfigError, DatasetError
from charlm.evaluation.labels import score_labels, score_spans
from charlm.models.downstream_model import (
    DownstreamModel,
    Prediction,
    ScoredBatch,
    dictionary_of,
    label_items,
    label_weights,
    on_device,
)
from charlm.nn.bf16_linear import Linear
from charlm.nn.bidirectional import BidirectionalLSTM
from charlm.nn.crf import ConditionalRandomField
from charlm.nn.device import upload
from charlm.nn.dropout import Dropout, LockedDropout, WordDropout
from charlm.nn.packed import PackedRNN
from charlm.nn.ragged import Ragged
from charlm.storage.atomic import JsonObject

_UNK = "<unk>"
_NO_TAGS = frozenset({_UNK, "<START>", "<STOP>"})
_RNN_KINDS: dict[str, type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
_BIO_PREFIXES = {"S": "B", "E": "I"}


class SequenceTagger(DownstreamModel):
    """Tags words, or finds spans where the dictionary holds span tags (`B-LOC`).

    Args:
        hidden_size: width of each direction of the recurrent layer.
        embeddings: vectors of words.
        tag_dictionary: the possible tags, from `Corpus.make_tag_dictionary`; or, from `Corpus.make_label_dictionary`,
            the values of spans (`LOC`), of which the tags of `tag_format` are made.
        tag_type: the layer of labels to train on and to predict.
        use_crf: score sequences of tags as a whole; otherwise each word by itself.
        use_rnn: use a recurrent layer over the sentence; otherwise the linear layer sees one word at a time.
        rnn_layers: number of recurrent layers.
        reproject_embeddings: put a linear layer before the LSTM, which adapts frozen embeddings.
        dropout: share of the values dropped before and after the LSTM.
        word_dropout: share of the words dropped.
        locked_dropout: share of the values dropped at all places of a sentence, before and after the LSTM.
        rnn_type: `LSTM`, `GRU` or `RNN`.
        bidirectional: read in both directions.
        tag_format: `BIOES` or `BIO`: the tags that a dictionary of span values is turned into.
        loss_weights: weight of the loss by tag, 1 for all others; without `use_crf` only.
        train_initial_hidden_state: learn the state that the recurrent layer starts from; it is zero at first.
        allow_unk_predictions: one more tag, `<unk>`, which words have whose tag is not in the dictionary.

    Without their names, the first arguments are `hidden_size, embeddings, tag_dictionary, tag_type` or, as in newer
    versions of Flair, `embeddings, tag_dictionary, tag_type`.
    """

    embeddings: TokenEmbeddings

    def __init__(
        self,
        *first: object,
        hidden_size: int = 256,
        embeddings: TokenEmbeddings | None = None,
        tag_dictionary: Dictionary | None = None,
        tag_type: str | None = None,
        use_crf: bool = True,
        use_rnn: bool = True,
        rnn_layers: int = 1,
        dropout: float = 0.0,
        word_dropout: float = 0.05,
        locked_dropout: float = 0.5,
        reproject_embeddings: bool = True,
        rnn_type: Literal["LSTM", "GRU", "RNN"] = "LSTM",
        bidirectional: bool = True,
        tag_format: Literal["BIOES", "BIO"] = "BIOES",
        loss_weights: Mapping[str, float] | None = None,
        train_initial_hidden_state: bool = False,
        allow_unk_predictions: bool = False,
    ) -> None:
        super().__init__()
        named = {"hidden_size": hidden_size, "embeddings": embeddings, "tag_dictionary": tag_dictionary}
        arguments = _by_position({**named, "tag_type": tag_type}, first)
        hidden_size, embeddings, tag_dictionary, tag_type = arguments
        if rnn_type not in _RNN_KINDS or tag_format not in ("BIOES", "BIO"):
            raise ConfigError(
                f"rnn_type is LSTM, GRU or RNN, tag_format BIOES or BIO; got {rnn_type!r} and {tag_format!r}"
            )
        self.embeddings = embeddings
        self.label_type = tag_type
        self.tags = list(dict.fromkeys([_UNK] * allow_unk_predictions + _tags(tag_dictionary, tag_format)))
        self.predict_spans = any(map(is_span_tag, self.tags))
        self._ids = {tag: idx for idx, tag in enumerate(self.tags)}
        width = embeddings.embedding_length
        self.dropout = Dropout(dropout)
        self.word_dropout = WordDropout(word_dropout if use_rnn or use_crf else 0.0)
        self.locked_dropout = LockedDropout(locked_dropout)
        self.embedding2nn = Linear(width, width) if reproject_embeddings else None
        self.rnn = (
            _recurrent(rnn_type, width, hidden_size, rnn_layers, bidirectional, train_initial_hidden_state)
            if use_rnn
            else None
        )
        self.linear = Linear(width if self.rnn is None else self.rnn.output_size, len(self.tags))
        self.crf = ConditionalRandomField(len(self.tags)) if use_crf else None
        self._arguments: JsonObject = {
            "hidden_size": hidden_size,
            "tag_type": tag_type,
            "use_crf": use_crf,
            "use_rnn": use_rnn,
            "rnn_layers": rnn_layers,
            "dropout": dropout,
            "word_dropout": word_dropout,
            "locked_dropout": locked_dropout,
            "reproject_embeddings": reproject_embeddings,
        }
        if rnn_type != "LSTM" or not bidirectional:  # equal models have equal files, also those of older versions
            self._arguments |= {"rnn_type": rnn_type, "bidirectional": bidirectional}
        flags = {
            "train_initial_hidden_state": train_initial_hidden_state,
            "allow_unk_predictions": allow_unk_predictions,
        }
        self._arguments |= {name: flag for name, flag in flags.items() if flag}
        if loss_weights:
            self._arguments["loss_weights"] = dict(loss_weights)
        self._loss_weights = label_weights(self.tags, loss_weights)
        if use_crf and loss_weights:
            warnings.warn("loss_weights have no effect with a CRF; add use_crf=False", stacklevel=2)
        self.to_default_device()

    @property
    def tag_type(self) -> str:
        return self.label_type

    def label_names(self) -> list[str]:
        return self.tags

    @property
    def _is_bio(self) -> bool:
        """Whether the spans are tagged in BIO: there are `B-` tags but no `E-` tags."""
        prefixes = {split_tag(tag)[0] for tag in self.tags if is_span_tag(tag)}
        return "B" in prefixes and not prefixes & {"E", "S"}

    # ---- learning ----------------------------------------------------------------------------------------------

    def encode_labels(self, sentence: Sentence) -> Tensor:
        """The ids of the sentence's tags, (N,)."""
        tags = self._gold_tags(sentence, self.label_type)
        if _UNK in self._ids and len(self.tags) > 1:
            return torch.tensor([self._ids.get(tag, self._ids[_UNK]) for tag in tags])
        try:
            return torch.tensor([self._ids[tag] for tag in tags])
        except KeyError as error:
            raise DatasetError(
                f"the tag {error.args[0]!r} of {sentence.text[:60]!r} is not among the tagger's {len(self.tags)}: "
                "make the dictionary with make_tag_dictionary of this corpus"
            ) from None

    def forward_loss(self, sentences: list[Sentence], targets: list[Tensor] | None = None) -> tuple[Tensor, int]:
        if targets is None:
            targets = list(map(self.encode_labels, sentences))
        full = [pair for pair in zip(sentences, targets, strict=True) if len(pair[0])]
        if not full:
            return torch.zeros((), device=self.device, requires_grad=True), 0
        full.sort(key=lambda pair: len(pair[0]), reverse=True)
        emissions, ragged = self._emissions([sentence for sentence, _ in full])
        tags = upload(torch.cat([target for _, target in full]), self.device)
        if self.crf is not None:
            return self.crf.loss(emissions, tags, ragged), len(tags)
        weights = on_device(self._loss_weights, emissions)
        return F.cross_entropy(emissions, tags, weight=weights, reduction="sum"), len(tags)

    def _gold_tags(self, sentence: Sentence, label_type: str) -> list[str]:
        """The tags of a layer of the sentence, (N,), in the scheme of the tagger."""
        tags = tags_of(sentence, label_type)
        return list(map(_to_bio, tags)) if self._is_bio else tags

    def _emissions(self, sentences: list[Sentence]) -> tuple[Tensor, Ragged]:
        """Scores (W, K) of all tags for all words of sentences, longest first, and the layout of the words."""
        self.embeddings.embed(sentences)
        names = self.embeddings.get_names()
        x = token_matrix(sentences, names, self.device)  # (W, D)
        ragged = Ragged([len(sentence) for sentence in sentences], self.device)
        x = self.locked_dropout(self.word_dropout(self.dropout(x)), ragged)
        if self.embedding2nn is not None:
            x = self.embedding2nn(x)
        if self.rnn is not None:
            x = self.rnn(x, ragged)  # (W, 2H)
        x = self.locked_dropout(self.dropout(x), ragged)
        return self.linear(x).float(), ragged

    # ---- predicting --------------------------------------------------------------------------------------------

    def _decode(self, sentences: list[Sentence]) -> tuple[list[list[int]], list[Tensor]]:
        """For sentences, longest first: the ids of the best tags, and the probability of every tag at each word.

        With a CRF these are the Viterbi sequence and the marginals; without, the argmax and the softmax of each word.
        """
        emissions, ragged = self._emissions(sentences)
        if self.crf is not None:
            tags, probabilities = self.crf.viterbi(emissions, ragged), self.crf.marginals(emissions, ragged)
        else:
            tags, probabilities = emissions.argmax(dim=1), emissions.softmax(dim=1)
        lengths = ragged.lengths.tolist()
        ids = [part.tolist() for part in torch.split(tags.cpu(), lengths)]
        return ids, list(torch.split(probabilities.cpu(), lengths))

    def _label(self, sentences: list[Sentence], how: Prediction) -> None:
        for sentence, ids, probabilities in zip(sentences, *self._decode(sentences), strict=True):
            if how.all_classes:
                for token, row in zip(sentence, probabilities.tolist(), strict=True):
                    labels = [Label(token, tag, score) for tag, score in zip(self.tags, row, strict=True)]
                    token.add_tags_proba_dist(how.layer, labels)
            scores = _chosen(probabilities, ids)
            if not self.predict_spans or how.on_tokens:
                for token, idx, score in zip(sentence, ids, scores, strict=True):
                    if self.tags[idx] != OUTSIDE:
                        token.add_label(how.layer, self.tags[idx], score)
                continue
            for start, stop, value in spans_from_tags([self.tags[idx] for idx in ids]):
                score = sum(scores[start:stop]) / (stop - start)
                sentence.get_span(start, stop).add_label(how.layer, value, score)

    def _score(self, sentences: list[Sentence], gold_label_type: str) -> ScoredBatch:
        ids, probabilities = self._decode(sentences)
        predicted = [[self.tags[idx] for idx in sentence_ids] for sentence_ids in ids]
        gold = [self._gold_tags(sentence, gold_label_type) for sentence in sentences]
        scores = map(_chosen, probabilities, ids)
        lines = [
            "".join(map("{}\t{}\t{}\t{:.4f}\n".format, sentence.words, true, guess, row)) + "\n"
            for sentence, true, guess, row in zip(sentences, gold, predicted, scores, strict=True)
        ]
        if self.predict_spans:
            return ScoredBatch(scores=score_spans(gold, predicted), lines=lines)
        return ScoredBatch(scores=score_labels(chain.from_iterable(gold), chain.from_iterable(predicted)), lines=lines)

    # ---- files -------------------------------------------------------------------------------------------------

    def _settings(self) -> JsonObject:
        return {"tags": self.tags, **self._arguments}

    @classmethod
    def _from_settings(cls, settings: JsonObject, embeddings: JsonObject) -> Self:
        arguments = dict(settings)
        tags = dictionary_of(arguments.pop("tags"))
        return cls(embeddings=token_embeddings_from_json(embeddings), tag_dictionary=tags, **arguments)


def _tags(dictionary: Dictionary, tag_format: str) -> list[str]:
    """The tags in a dictionary; of a dictionary of span values, `O` and the tags of the format for each."""
    items = label_items(dictionary, without=_NO_TAGS)
    if not dictionary.span_labels or any(map(is_span_tag, items)):
        return items
    prefixes = "SBEI" if tag_format == "BIOES" else "BI"
    values = [item for item in items if item != OUTSIDE]
    return [OUTSIDE, *(f"{prefix}-{value}" for value in values for prefix in prefixes)]


def _to_bio(tag: str) -> str:
    """The tag of a word in BIO instead of BIOES: `S-LOC` -> `B-LOC`, `E-LOC` -> `I-LOC`."""
    prefix, value = split_tag(tag)
    return f"{_BIO_PREFIXES[prefix]}-{value}" if prefix in _BIO_PREFIXES and value else tag


def _recurrent(
    rnn_type: str, width: int, hidden_size: int, nlayers: int, bidirectional: bool, learns_start: bool
) -> BidirectionalLSTM | PackedRNN:
    if rnn_type == "LSTM" and bidirectional and not learns_start:
        return BidirectionalLSTM(width, hidden_size, nlayers)
    kind = _RNN_KINDS[rnn_type]
    return PackedRNN(kind, width, hidden_size, nlayers, bidirectional=bidirectional, learns_start=learns_start)


def _chosen(probabilities: Tensor, ids: list[int]) -> list[float]:
    """The probability of the predicted tag of each word, (N,)."""
    scores: list[float] = probabilities.gather(1, torch.tensor(ids)[:, None]).squeeze(1).tolist()
    return scores


def _by_position(named: Mapping[str, object], first: Sequence[object]) -> tuple[int, TokenEmbeddings, Dictionary, str]:
    """hidden_size, embeddings, tag_dictionary and tag_type from arguments with and without names."""
    names = list(named)[1:] if first and isinstance(first[0], TokenEmbeddings) else list(named)
    if len(first) > len(names):
        raise ConfigError(f"name the arguments after {', '.join(names)}: use_crf=…")
    values = tuple({**named, **dict(zip(names, first, strict=False))}.values())
    match values:
        case (int(size), TokenEmbeddings() as vectors, Dictionary() as tags, str(layer)):
            return size, vectors, tags, layer
    kinds = ", ".join(type(value).__name__ for value in values)
    raise ConfigError(
        f"SequenceTagger takes {', '.join(named)}: a number, vectors of words, a Dictionary, a name; got {kinds}"
    )
