"""Vectors of sentences or words from a transformer; needs the package `transformers`."""

# B = sentences, N = word pieces of the longest, W = words of a sentence, D = width of the vectors

import os
import warnings
from typing import Any, Literal, Self

import torch
from torch import Tensor

from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddings, Embeddings, TokenEmbeddings, find_model
from charlm.embeddings.context import NO_CONTEXT, SEPARATOR, Context
from charlm.errors import CharLMWarning, ConfigError, ModelFileError, how_to_install
from charlm.storage.atomic import JsonObject

_BATCH = 32
_FETCHING_SETTINGS = {
    "auto_map",
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_name_or_path",
}
"""JsonObject that can name code on a hub; a model file must not decide which code runs."""


class TransformerEmbeddings(Embeddings):
    """A transformer and its tokenizer, and which of its layers are the vectors.

    Not made itself: TransformerDocumentEmbeddings and TransformerWordEmbeddings are.
    """

    def __init__(self, model: str | os.PathLike[str] = "", **settings: object) -> None:
        super().__init__()
        if type(self) is TransformerEmbeddings:
            raise ConfigError(
                "TransformerDocumentEmbeddings embed sentences, TransformerWordEmbeddings words; name one"
            )
        self._num_truncated = 0

    def _open(self, model: str | os.PathLike[str]) -> None:
        transformers = _transformers()
        path = find_model(model, [], "transformer")
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
        self, *, fine_tune: bool, pooling: str, layers: str, layer_mean: bool, context: Context = NO_CONTEXT
    ) -> None:
        self.context = context
        if context.length and context.has_separator and SEPARATOR not in self.tokenizer.get_vocab():
            self.tokenizer.add_special_tokens({"additional_special_tokens": [SEPARATOR]})
            if len(self.tokenizer) > self.model.config.vocab_size:
                self.model.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        self.fine_tune = fine_tune
        self.static_embeddings = not fine_tune
        self.pooling = pooling
        self.layers = layers
        self.layer_mean = layer_mean
        self._layers = _layer_numbers(layers, self.model.config.num_hidden_layers + 1)
        self.eval()

    @property
    def embedding_length(self) -> int:
        return int(self.model.config.hidden_size) * (1 if self.layer_mean else len(self._layers))

    def _settings(self) -> JsonObject:
        settings: JsonObject = {
            "model": self.model.config.to_diff_dict(),
            "tokenizer": self.tokenizer.backend_tokenizer.to_str(),
            "longest": self.tokenizer.model_max_length,
            "special_tokens": self.tokenizer.special_tokens_map,
            "name": self.name,
            "fine_tune": self.fine_tune,
            "pooling": self.pooling,
        }
        if self.layers != "-1":
            settings |= {"layers": self.layers, "layer_mean": self.layer_mean}
        if self.context.length:
            settings |= self.context.to_json()
        return settings

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        transformers = _transformers()
        embeddings = cls.__new__(cls)
        TransformerEmbeddings.__init__(embeddings)
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
        embeddings._set_up(
            fine_tune=settings["fine_tune"],
            pooling=settings["pooling"],
            layers=settings.get("layers", "-1"),
            layer_mean=settings.get("layer_mean", False),
            context=Context.from_json(settings),
        )
        return embeddings

    @property
    def context_length(self) -> int:
        """Words that are read on each side of a sentence."""
        return self.context.length

    @property
    def use_context_separator(self) -> bool:
        return self.context.has_separator

    def _pieces(self, sentences: list[Sentence]) -> tuple[Any, list[list[int | None]]]:
        """The word pieces of sentences with their context, and the number of each piece's word in its own sentence."""
        around = [self.context.around(sentence, training=self.training) for sentence in sentences]
        pieces = self.tokenizer(
            [[*before, *s.words, *after] for s, (before, after) in zip(sentences, around, strict=True)],
            is_split_into_words=True,
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        numbers = [
            [None if word is None or not 0 <= word - len(before) < len(s) else word - len(before) for word in words]
            for s, words, (before, _) in zip(
                sentences, map(pieces.word_ids, range(len(sentences))), around, strict=True
            )
        ]
        self._report_truncated(
            sum(
                bool(encoding.overflowing) and len(s) - 1 not in own
                for s, own, encoding in zip(sentences, numbers, pieces.encodings or (), strict=False)
            )
        )
        return pieces.to(self.model.device), numbers

    def _states(self, pieces: Any) -> Tensor:
        """The chosen layers side by side, or their mean: (B, N, D)."""
        if self._layers == [self.model.config.num_hidden_layers]:
            states: Tensor = self.model(**pieces).last_hidden_state
            return states
        hidden = self.model(**pieces, output_hidden_states=True).hidden_states
        chosen = [hidden[layer] for layer in self._layers]
        return torch.stack(chosen).mean(dim=0) if self.layer_mean else torch.cat(chosen, dim=2)

    def _report_truncated(self, truncated: int) -> None:
        """Warn of the first sentences of which the model reads only the beginning."""
        if truncated and not self._num_truncated:
            warnings.warn(
                f"{self.name} reads {self.tokenizer.model_max_length} pieces of a sentence; longer ones are truncated",
                CharLMWarning,
                stacklevel=2,
            )
        self._num_truncated += truncated


class TransformerDocumentEmbeddings(TransformerEmbeddings, DocumentEmbeddings):
    """The vector of the first piece (`cls`), or the mean or maximum over all pieces.

    Args:
        model: folder with a model (safetensors) and its tokenizer, or its name in the folder CHARLM_CACHE.
        fine_tune: train the transformer too.
        pooling: `cls`, `mean` or `max`; `cls_pooling` is Flair's name of it.
        layers: numbers of the layers to use, counted from 0 (the word pieces) or from the end: `-1`, `-1,-2`, or `all`.
        layer_mean: average the layers instead of putting them side by side.
        use_context: read this many words of the sentences before and after it too; true for 64.
        use_context_separator: put a token of its own, `[FLERT]`, between the sentence and its context.
        respect_document_boundaries: read nothing from beyond a document's boundary.
        context_dropout: how often each side is left out in training, in [0, 1].
        allow_long_sentences: has no effect: a sentence that is too long for the model is truncated, with a warning.
        is_document_embedding, force_max_length: have no effect.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        fine_tune: bool = True,
        pooling: Literal["cls", "mean", "max"] = "cls",
        layers: str = "-1",
        layer_mean: bool = True,
        *,
        cls_pooling: Literal["cls", "mean", "max"] | None = None,
        use_context: bool | int = False,
        use_context_separator: bool = True,
        respect_document_boundaries: bool = True,
        context_dropout: float = 0.5,
        allow_long_sentences: bool = False,
        force_max_length: bool = False,
        is_document_embedding: bool = True,
    ) -> None:
        super().__init__()
        pooling = cls_pooling or pooling
        if pooling not in ("cls", "mean", "max"):
            raise ConfigError(f"pooling is cls, mean or max, got {pooling!r}")
        context = Context.of(
            use_context,
            has_separator=use_context_separator,
            within_document=respect_document_boundaries,
            dropout=context_dropout,
        )
        self._open(model)
        self._set_up(fine_tune=fine_tune, pooling=pooling, layers=layers, layer_mean=layer_mean, context=context)
        self._reads_words = True

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        with torch.set_grad_enabled(self.fine_tune and torch.is_grad_enabled()):
            for start in range(0, len(sentences), _BATCH):
                batch = sentences[start : start + _BATCH]
                for sentence, vector in zip(batch, self._vectors(batch), strict=True):
                    sentence.set_embedding(self.name, vector)

    def _settings(self) -> JsonObject:
        return super()._settings() | {"reads_words": self._reads_words}

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        embeddings = super()._from_settings(settings)
        embeddings._reads_words = settings.get("reads_words", False)  # older files are of models that read texts
        return embeddings

    def _vectors(self, sentences: list[Sentence]) -> Tensor:
        if self._reads_words:
            pieces, _ = self._pieces(sentences)
        else:
            texts = [sentence.to_plain_string() for sentence in sentences]
            pieces = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.model.device)
            self._report_truncated(sum(bool(encoding.overflowing) for encoding in pieces.encodings or ()))
        states = self._states(pieces)  # (B, N, D)
        if self.pooling == "cls":
            return states[:, 0]
        mask: Tensor = pieces["attention_mask"].unsqueeze(2)
        if self.pooling == "mean":
            return (states * mask).sum(dim=1) / mask.sum(dim=1)
        return states.masked_fill(mask == 0, -torch.inf).amax(dim=1)


class TransformerWordEmbeddings(TransformerEmbeddings, TokenEmbeddings):
    """A vector for every word, made of those of its pieces; zeros for a word without pieces.

    A sentence longer than the model reads is truncated: the words after that get zeros.

    Args:
        model, fine_tune, layers, layer_mean: see TransformerDocumentEmbeddings, as all others.
        subtoken_pooling: vector of the `first` or `last` piece of the word, both (`first_last`), or their `mean`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        layers: str = "-1",
        subtoken_pooling: Literal["first", "last", "first_last", "mean"] = "first",
        layer_mean: bool = True,
        fine_tune: bool = True,
        *,
        use_context: bool | int = False,
        use_context_separator: bool = True,
        respect_document_boundaries: bool = True,
        context_dropout: float = 0.5,
        allow_long_sentences: bool = False,
        force_max_length: bool = False,
        is_document_embedding: bool = False,
    ) -> None:
        super().__init__()
        if subtoken_pooling not in ("first", "last", "first_last", "mean"):
            raise ConfigError(f"subtoken_pooling is first, last, first_last or mean, got {subtoken_pooling!r}")
        context = Context.of(
            use_context,
            has_separator=use_context_separator,
            within_document=respect_document_boundaries,
            dropout=context_dropout,
        )
        self._open(model)
        self._set_up(
            fine_tune=fine_tune, pooling=subtoken_pooling, layers=layers, layer_mean=layer_mean, context=context
        )

    @property
    def embedding_length(self) -> int:
        return super().embedding_length * (2 if self.pooling == "first_last" else 1)

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        with torch.set_grad_enabled(self.fine_tune and torch.is_grad_enabled()):
            for start in range(0, len(sentences), _BATCH):
                self._add_to_batch(sentences[start : start + _BATCH])

    def _add_to_batch(self, batch: list[Sentence]) -> None:
        pieces, word_numbers = self._pieces(batch)
        states = self._states(pieces)
        for sentence, numbers, rows in zip(batch, word_numbers, states, strict=True):
            sentence.set_token_embeddings(self.name, self._pooled(rows, numbers, len(sentence)))

    def _pooled(self, states: Tensor, numbers: list[int | None], num_words: int) -> Tensor:
        """The vectors of the words (W, D) of a sentence from those of its pieces (N, D)."""
        places: list[list[int]] = [[] for _ in range(num_words)]
        for place, number in enumerate(numbers):
            if number is not None:
                places[number].append(place)
        empty = states.new_zeros(self.embedding_length)
        vectors = [self._word(states, own) if own else empty for own in places]
        return torch.stack(vectors) if vectors else states.new_zeros(0, self.embedding_length)

    def _word(self, states: Tensor, places: list[int]) -> Tensor:
        if self.pooling == "mean":
            return states[places].mean(dim=0)
        if self.pooling == "first_last":
            return torch.cat([states[places[0]], states[places[-1]]])
        return states[places[0 if self.pooling == "first" else -1]]


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


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"transformer embeddings need the package transformers; {how_to_install('transformers')}"
        ) from error
    return transformers
