"""SequenceTagger: a label for every word, or for spans of words (Huang et al. 2015, Akbik et al. 2018).

Embeddings -> dropout -> reprojection -> bidirectional LSTM -> linear layer -> conditional random field. Spans are
learned as BIOES tags. Arguments, defaults and initialization are Flair's.
"""

# W = words of all sentences of a batch, sentence after sentence, longest first; D = width of the embeddings,
# H = hidden size, K = tags

from itertools import chain
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.data.spans import is_span_tag, spans_from_tags, tags_of
from charlm.embeddings.base import TokenEmbeddings
from charlm.embeddings.stacked import token_embeddings_from_json
from charlm.errors import DatasetError
from charlm.evaluation.labels import score_labels, score_spans
from charlm.models.downstream_model import DownstreamModel, ScoredBatch, label_items
from charlm.nn.bf16_linear import Linear
from charlm.nn.bidirectional import BidirectionalLSTM
from charlm.nn.crf import ConditionalRandomField
from charlm.nn.dropout import Dropout, LockedDropout, WordDropout
from charlm.nn.ragged import Ragged
from charlm.storage.archive import Settings

_NO_TAGS = frozenset({"<unk>", "<START>", "<STOP>"})


class SequenceTagger(DownstreamModel):
    """Tags words, or finds spans where the dictionary holds span tags (`B-LOC`).

    Args:
        hidden_size: width of each direction of the LSTM.
        embeddings: vectors of words.
        tag_dictionary: the possible tags, from `Corpus.make_tag_dictionary`.
        tag_type: the layer of labels to train on and to predict.
        use_crf: score sequences of tags as a whole; otherwise each word by itself.
        use_rnn: use an LSTM over the sentence; otherwise the linear layer sees one word at a time.
        rnn_layers: number of LSTM layers.
        reproject_embeddings: put a linear layer before the LSTM, which adapts frozen embeddings.
        dropout: share of the values dropped before and after the LSTM.
        word_dropout: share of the words dropped.
        locked_dropout: share of the values dropped at all places of a sentence, before and after the LSTM.
    """

    embeddings: TokenEmbeddings

    def __init__(
        self,
        hidden_size: int,
        embeddings: TokenEmbeddings,
        tag_dictionary: Dictionary,
        tag_type: str,
        use_crf: bool = True,
        use_rnn: bool = True,
        rnn_layers: int = 1,
        dropout: float = 0.0,
        word_dropout: float = 0.05,
        locked_dropout: float = 0.5,
        reproject_embeddings: bool = True,
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.label_type = tag_type
        self.tags = label_items(tag_dictionary, without=_NO_TAGS)
        self.predict_spans = any(map(is_span_tag, self.tags))
        self._ids = {tag: idx for idx, tag in enumerate(self.tags)}
        width = embeddings.embedding_length
        self.dropout = Dropout(dropout)
        self.word_dropout = WordDropout(word_dropout if use_rnn or use_crf else 0.0)
        self.locked_dropout = LockedDropout(locked_dropout)
        self.embedding2nn = Linear(width, width) if reproject_embeddings else None
        self.rnn = BidirectionalLSTM(width, hidden_size, rnn_layers) if use_rnn else None
        self.linear = Linear(width if self.rnn is None else self.rnn.output_size, len(self.tags))
        self.crf = ConditionalRandomField(len(self.tags)) if use_crf else None
        self._arguments = {
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

    @property
    def tag_type(self) -> str:
        return self.label_type

    # ---- learning ----------------------------------------------------------------------------------------------

    def encode_labels(self, sentence: Sentence) -> Tensor:
        """The ids of the sentence's tags, (N,)."""
        tags = tags_of(sentence, self.label_type)
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
        tags = torch.cat([target for _, target in full]).to(self.device)
        if self.crf is not None:
            return self.crf.loss(emissions, tags, ragged), len(tags)
        return F.cross_entropy(emissions, tags, reduction="sum"), len(tags)

    def _emissions(self, sentences: list[Sentence]) -> tuple[Tensor, Ragged]:
        """Scores (W, K) of all tags for all words of sentences, longest first, and the layout of the words."""
        self.embeddings.embed(sentences)
        names = self.embeddings.get_names()
        x = torch.cat([sentence.get_token_embeddings(names) for sentence in sentences]).to(self.device)  # (W, D)
        ragged = Ragged([len(sentence) for sentence in sentences], self.device)
        x = self.locked_dropout(self.word_dropout(self.dropout(x)), ragged.sequence)
        if self.embedding2nn is not None:
            x = self.embedding2nn(x)
        if self.rnn is not None:
            x = self.rnn(x, ragged)  # (W, 2H)
        x = self.locked_dropout(self.dropout(x), ragged.sequence)
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
        return [part.tolist() for part in torch.split(tags, lengths)], list(torch.split(probabilities.cpu(), lengths))

    def _label(self, sentences: list[Sentence], label_name: str, all_classes: bool) -> None:
        for sentence, ids, probabilities in zip(sentences, *self._decode(sentences), strict=True):
            if all_classes:
                self._label_with_all_tags(sentence, ids, probabilities, label_name)
                continue
            scores = _chosen(probabilities, ids)
            if not self.predict_spans:
                for token, idx, score in zip(sentence, ids, scores, strict=True):
                    token.add_label(label_name, self.tags[idx], score)
                continue
            for start, stop, value in spans_from_tags([self.tags[idx] for idx in ids]):
                score = sum(scores[start:stop]) / (stop - start)
                sentence.get_span(start, stop).add_label(label_name, value, score)

    def _label_with_all_tags(self, sentence: Sentence, ids: list[int], probabilities: Tensor, label_name: str) -> None:
        """Every tag of every word: the predicted one, then the others by falling probability."""
        for token, idx, row in zip(sentence, ids, probabilities.tolist(), strict=True):
            for other in sorted(range(len(row)), key=lambda other: (other != idx, -row[other])):
                token.add_label(label_name, self.tags[other], row[other])

    def _score(self, sentences: list[Sentence], gold_label_type: str) -> ScoredBatch:
        ids, probabilities = self._decode(sentences)
        predicted = [[self.tags[idx] for idx in sentence_ids] for sentence_ids in ids]
        gold = [tags_of(sentence, gold_label_type) for sentence in sentences]
        scores = map(_chosen, probabilities, ids)
        lines = [
            "".join(map("{}\t{}\t{}\t{:.4f}\n".format, sentence.words, true, guess, row)) + "\n"
            for sentence, true, guess, row in zip(sentences, gold, predicted, scores, strict=True)
        ]
        if self.predict_spans:
            return ScoredBatch(scores=score_spans(gold, predicted), lines=lines)
        return ScoredBatch(scores=score_labels(chain.from_iterable(gold), chain.from_iterable(predicted)), lines=lines)

    # ---- files -------------------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        return {"tags": self.tags, **self._arguments}

    @classmethod
    def _from_settings(cls, settings: Settings, embeddings: Settings) -> Self:
        arguments = dict(settings)
        dictionary = Dictionary(add_unk=False)
        for tag in arguments.pop("tags"):
            dictionary.add_item(tag)
        return cls(embeddings=token_embeddings_from_json(embeddings), tag_dictionary=dictionary, **arguments)


def _chosen(probabilities: Tensor, ids: list[int]) -> list[float]:
    """The probability of the predicted tag of each word, (N,)."""
    scores: list[float] = probabilities.gather(1, torch.tensor(ids)[:, None]).squeeze(1).tolist()
    return scores
