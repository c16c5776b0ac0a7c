"""Vectors of words and sentences from a transformer; needs the package `transformers`."""

# R = windows of a batch, N = pieces of a window, P = pieces of a sentence, D = width of the vectors

import os
import warnings
from typing import Literal, Self, TypedDict, Unpack

import torch
from torch import Tensor

from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddings, Embeddings, TokenEmbeddings
from charlm.embeddings.context import SEPARATOR, Context
from charlm.embeddings.pieces import (
    TEXT_POOLINGS,
    WORD_POOLINGS,
    Pieces,
    TextPooling,
    WordPooling,
    split_into_pieces,
    text_vector,
    word_vectors,
)
from charlm.embeddings.transformer_files import find_transformer, transformers_library
from charlm.errors import CharLMWarning, ConfigError, ModelFileError
from charlm.storage.atomic import JsonObject

_BATCH = 32
_NO_LIMIT = 10**9
"""A tokenizer that knows no longest sentence gives a number above this."""
_FETCHING_SETTINGS = {
    "auto_map",
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_name_or_path",
}
"""JsonObject that can name code on a hub; a model file must not decide which code runs."""


class _Settings(TypedDict, total=False):
    """Arguments of TransformerEmbeddings that its kinds hand on."""

    fine_tune: bool
    subtoken_pooling: WordPooling
    cls_pooling: TextPooling
    use_context: bool | int
    use_context_separator: bool
    respect_document_boundaries: bool
    context_dropout: float
    force_max_length: bool
    name: str | None


class TransformerEmbeddings(TokenEmbeddings, DocumentEmbeddings):
    """Vectors of words, of whole sentences, or of both at once.

    Args:
        model: folder with a model (safetensors) and its tokenizer, or its name (see find_transformer).
        fine_tune: train the transformer too.
        layers: numbers of the layers to use, counted from 0 (the word pieces) or from the end: `-1`, `-1,-2`, or `all`.
        layer_mean: average the layers instead of putting them side by side.
        subtoken_pooling: vector of the `first` or `last` piece of a word, both (`first_last`), or their `mean`.
        cls_pooling: of a sentence that of the special piece that stands for it (`cls`), the `mean` or `max` of all.
        is_token_embedding, is_document_embedding: whether words and sentences get vectors.
        allow_long_sentences: read a sentence that is too long for the model in windows that overlap; otherwise it is
            truncated, with a warning, and the words after that get zeros.
        use_context: read this many words of the sentences before and after it too; true for 64.
        use_context_separator: put a token of its own, `[FLERT]`, between the sentence and its context.
        respect_document_boundaries: read nothing from beyond a document's boundary.
        context_dropout: how often each side is left out in training, in [0, 1].
        force_max_length: has no effect on vectors: padding is not read.
        name: what the vectors are called.
    """

    embedding_type: Literal["word-level", "sentence-level"]

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        fine_tune: bool = True,
        layers: str = "-1",
        layer_mean: bool = True,
        subtoken_pooling: WordPooling = "first",
        cls_pooling: TextPooling = "cls",
        is_token_embedding: bool = True,
        is_document_embedding: bool = True,
        allow_long_sentences: bool = False,
        use_context: bool | int = False,
        respect_document_boundaries: bool = True,
        context_dropout: float = 0.5,
        *,
        use_context_separator: bool = True,
        force_max_length: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if cls_pooling not in TEXT_POOLINGS:
            raise ConfigError(f"pooling is cls, mean or max, got {cls_pooling!r}")
        if subtoken_pooling not in WORD_POOLINGS:
            raise ConfigError(f"subtoken_pooling is first, last, first_last or mean, got {subtoken_pooling!r}")
        if not (is_token_embedding or is_document_embedding):
            raise ConfigError("is_token_embedding or is_document_embedding must be true")
        context = Context.of(
            use_context,
            has_separator=use_context_separator,
            within_document=respect_document_boundaries,
            dropout=context_dropout,
        )
        self._open(model)
        self.name = name or self.name
        self._set_up(
            fine_tune=fine_tune,
            layers=layers,
            layer_mean=layer_mean,
            subtoken_pooling=subtoken_pooling,
            cls_pooling=cls_pooling,
            is_token_embedding=is_token_embedding,
            is_document_embedding=is_document_embedding,
            allow_long_sentences=allow_long_sentences,
            context=context,
        )

    def _open(self, model: str | os.PathLike[str]) -> None:
        transformers = transformers_library()
        path = find_transformer(model)
        try:  # safetensors and no remote code: nothing in the folder is executed
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, add_prefix_space=True
            )
            self.model = transformers.AutoModel.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelFileError(f"{path} is not a transformer that charlm can read ({reason})") from error
        self.name = f"transformer-{model}"

    def _set_up(
        self,
        *,
        fine_tune: bool,
        layers: str,
        layer_mean: bool,
        subtoken_pooling: WordPooling,
        cls_pooling: TextPooling,
        is_token_embedding: bool,
        is_document_embedding: bool,
        allow_long_sentences: bool,
        context: Context,
        reads_words: bool = True,
    ) -> None:
        self.context = context
        if context.length and context.has_separator and SEPARATOR not in self.tokenizer.get_vocab():
            self.tokenizer.add_special_tokens({"additional_special_tokens": [SEPARATOR]})
            if len(self.tokenizer) > self.model.config.vocab_size:
                self.model.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        self.fine_tune = fine_tune
        self.static_embeddings = not fine_tune
        self.layers = layers
        self.layer_mean = layer_mean
        self._layers = _layer_numbers(layers, self.model.config.num_hidden_layers + 1)
        self.subtoken_pooling = subtoken_pooling
        self.cls_pooling = cls_pooling
        self.is_token_embedding = is_token_embedding
        self.is_document_embedding = is_document_embedding
        self.embedding_type = "word-level" if is_token_embedding else "sentence-level"
        has_limit = self.tokenizer.model_max_length < _NO_LIMIT
        self.stride = self.tokenizer.model_max_length // 2 if allow_long_sentences and has_limit else 0
        self._allows_long_sentences = allow_long_sentences
        self._reads_words = reads_words
        self._cls_place = 0 if self.tokenizer.encode("a")[0] == self.tokenizer.cls_token_id else -1
        self._num_truncated = 0
        self.eval()

    @property
    def embedding_length(self) -> int:
        length = int(self.model.config.hidden_size) * (1 if self.layer_mean else len(self._layers))
        return length * (2 if self.is_token_embedding and self.subtoken_pooling == "first_last" else 1)

    @property
    def context_length(self) -> int:
        """Words that are read on each side of a sentence."""
        return self.context.length

    @property
    def use_context_separator(self) -> bool:
        return self.context.has_separator

    def is_on(self, sentence: Sentence) -> bool:
        return (not self.is_token_embedding or sentence.has_token_embeddings(self.name)) and (
            not self.is_document_embedding or sentence.has_embedding(self.name)
        )

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        if self.context.length:
            Sentence.set_context_for_sentences(sentences)
        with torch.set_grad_enabled(self.fine_tune and torch.is_grad_enabled()):
            for start in range(0, len(sentences), _BATCH):
                self._add_to_batch(sentences[start : start + _BATCH])

    def _add_to_batch(self, batch: list[Sentence]) -> None:
        pieces = self._pieces(batch)
        states = self._states(pieces).flatten(0, 1)  # (R, N, D) -> (R N, D)
        for sentence, places, words in zip(batch, pieces.places, pieces.words, strict=True):
            own = states[places]  # (P, D)
            if self.is_document_embedding:
                sentence.set_embedding(self.name, text_vector(own, self.cls_pooling, self._cls_place))
            if self.is_token_embedding:
                vectors = word_vectors(own, words, len(sentence), self.subtoken_pooling)
                sentence.set_token_embeddings(self.name, vectors)

    def _pieces(self, sentences: list[Sentence]) -> Pieces:
        """The pieces of sentences with their context; a piece's word is numbered in its own sentence."""
        if not self._reads_words:
            texts = [sentence.to_plain_string() for sentence in sentences]
            pieces = split_into_pieces(self.tokenizer, texts)
            self._report_truncated(pieces.num_truncated)
        else:
            around = [self.context.around(sentence, training=self.training) for sentence in sentences]
            expanded = [[*before, *s.words, *after] for s, (before, after) in zip(sentences, around, strict=True)]
            pieces = split_into_pieces(self.tokenizer, expanded, overlap=self.stride)
            for sentence, words, (before, _) in zip(sentences, pieces.words, around, strict=True):
                shifted = (None if word is None else word - len(before) for word in words)
                words[:] = [None if word is None or not 0 <= word < len(sentence) else word for word in shifted]
            if pieces.num_truncated:
                self._report_truncated(
                    sum(len(s) - 1 not in words for s, words in zip(sentences, pieces.words, strict=True))
                )
        pieces.inputs.to(self.model.device)
        return pieces

    def _states(self, pieces: Pieces) -> Tensor:
        """The chosen layers side by side, or their mean: (R, N, D)."""
        if self._layers == [self.model.config.num_hidden_layers]:
            states: Tensor = self.model(**pieces.inputs).last_hidden_state
            return states
        hidden = self.model(**pieces.inputs, output_hidden_states=True).hidden_states
        chosen = [hidden[layer] for layer in self._layers]
        return torch.stack(chosen).mean(dim=0) if self.layer_mean else torch.cat(chosen, dim=2)

    def _report_truncated(self, truncated: int) -> None:
        """Warn of the first sentences of which the model reads only the beginning."""
        if truncated and not self._num_truncated:
            warnings.warn(
                f"{self.name} reads {self.tokenizer.model_max_length} pieces of a sentence; longer ones are truncated"
                " (allow_long_sentences=True reads all)",
                CharLMWarning,
                stacklevel=2,
            )
        self._num_truncated += truncated

    def _settings(self) -> JsonObject:
        settings: JsonObject = {
            "model": self.model.config.to_diff_dict(),
            "tokenizer": self.tokenizer.backend_tokenizer.to_str(),
            "longest": self.tokenizer.model_max_length,
            "special_tokens": self.tokenizer.special_tokens_map,
            "name": self.name,
            "fine_tune": self.fine_tune,
            "subtoken_pooling": self.subtoken_pooling,
            "cls_pooling": self.cls_pooling,
            "is_token_embedding": self.is_token_embedding,
            "is_document_embedding": self.is_document_embedding,
            "allow_long_sentences": self._allows_long_sentences,
            "reads_words": self._reads_words,
        }
        if self.layers != "-1":
            settings |= {"layers": self.layers, "layer_mean": self.layer_mean}
        if self.context.length:
            settings |= self.context.to_json()
        return settings

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        transformers = transformers_library()
        embeddings = cls.__new__(cls)
        Embeddings.__init__(embeddings)
        embeddings.tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=transformers.tokenization_utils_fast.TokenizerFast.from_str(settings["tokenizer"]),
            model_max_length=settings["longest"],
            **settings["special_tokens"],
        )
        values = {name: value for name, value in settings["model"].items() if name not in _FETCHING_SETTINGS}
        config = transformers.AutoConfig.for_model(**values)
        with torch.device("cpu"):  # it creates buffers that are in no state dict
            embeddings.model = transformers.AutoModel.from_config(config, trust_remote_code=False)
        embeddings.name = settings["name"]
        is_of_words = issubclass(cls, TransformerWordEmbeddings)
        older = settings.get("pooling")  # in older files, which embed either words or texts
        poolings = ({"subtoken_pooling": older} if is_of_words else {"cls_pooling": older}) if older else settings
        embeddings._set_up(
            fine_tune=settings["fine_tune"],
            layers=settings.get("layers", "-1"),
            layer_mean=settings.get("layer_mean", False),
            subtoken_pooling=poolings.get("subtoken_pooling", "first"),
            cls_pooling=poolings.get("cls_pooling", "cls"),
            is_token_embedding=settings.get("is_token_embedding", is_of_words),
            is_document_embedding=settings.get("is_document_embedding", not is_of_words),
            allow_long_sentences=settings.get("allow_long_sentences", False),
            context=Context.from_json(settings),
            reads_words=settings.get("reads_words", is_of_words),  # older models of texts read them as a whole
        )
        return embeddings


class TransformerDocumentEmbeddings(TransformerEmbeddings):
    """TransformerEmbeddings of whole sentences; `pooling` is another name of `cls_pooling`."""

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        layers: str = "-1",
        layer_mean: bool = False,
        is_token_embedding: bool = False,
        *,
        allow_long_sentences: bool = False,
        pooling: TextPooling | None = None,
        is_document_embedding: bool = True,
        **settings: Unpack[_Settings],
    ) -> None:
        if pooling is not None:
            settings["cls_pooling"] = pooling
        super().__init__(
            model,
            layers=layers,
            layer_mean=layer_mean,
            is_token_embedding=is_token_embedding,
            is_document_embedding=is_document_embedding,
            allow_long_sentences=allow_long_sentences,
            **settings,
        )


class TransformerWordEmbeddings(TransformerEmbeddings):
    """TransformerEmbeddings of words."""

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        is_document_embedding: bool = False,
        allow_long_sentences: bool = True,
        *,
        layers: str = "-1",
        layer_mean: bool = True,
        is_token_embedding: bool = True,
        **settings: Unpack[_Settings],
    ) -> None:
        super().__init__(
            model,
            layers=layers,
            layer_mean=layer_mean,
            is_token_embedding=is_token_embedding,
            is_document_embedding=is_document_embedding,
            allow_long_sentences=allow_long_sentences,
            **settings,
        )


def _layer_numbers(layers: str, count: int) -> list[int]:
    """The numbers of the layers that `-1`, `0,-2` or `all` names, of `count`; raises ConfigError for others."""
    if layers == "all":
        return list(range(count))
    try:
        numbers = [int(part) for part in layers.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(-count <= number < count for number in numbers):
        raise ConfigError(f"layers is `all` or numbers from {-count} to {count - 1} such as -1,-2; got {layers!r}")
    return [number % count for number in numbers]
