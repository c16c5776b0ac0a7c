"""A vector for each of many texts in one call, and the same as a transformer of scikit-learn.

charlm.encode("models:/books@champion", ["The grass is green .", "It was cold"])  # (2, D)
"""

# R = texts, N = tokens of a text, D = width of a vector

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, Self, get_args

import numpy as np
import torch

from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings
from charlm.embeddings.of_model import embeddings_of
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.errors import ConfigError
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.nn.device import find_device
from charlm.nn.precision import ReadingPrecision
from charlm.serialization.addresses import is_address, resolve_models
from charlm.tokenization import AnyTokenizer

Pooling = Literal["mean", "max", "first_last"]
AnyModel = str | os.PathLike[str] | LanguageModel | Mapping[str, LanguageModel] | TokenEmbeddings
Text = str | Sequence[str]
"""A text, or its words."""


def encode(
    model: AnyModel,
    texts: Iterable[Text],
    *,
    pooling: Pooling = "mean",
    precision: ReadingPrecision = "fp32",
    tokenizer: AnyTokenizer = True,
    on_progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """A vector for each text, (R, D) float32; zeros for a text without words.

    Args:
        model: a best-lm.pt, a run, a bundle, an address; language models by direction; or embeddings of words. Texts
            of several calls share a model that was opened once by `open_embeddings`.
        texts: texts, or lists of words; both directions are computed for batches of similar length.
        pooling: `mean` or `max` of the vectors of the words, or those of the `first_last` word side by side.
        precision: see FlairEmbeddings.
        tokenizer: what makes words of a text, see Sentence.
        on_progress: called with the number of texts that are done.

    Raises ConfigError for a text that is none, ModelFileError for the model.
    """
    if pooling not in get_args(Pooling):
        raise ConfigError(f"pooling is {', '.join(get_args(Pooling))}; got {pooling!r:.60}")
    embeddings = open_embeddings(model, precision=precision)
    width = embeddings.embedding_length * (2 if pooling == "first_last" else 1)
    vectors: list[np.ndarray] = []
    for sentence in embeddings.embed_stream(_sentences(texts, tokenizer)):
        matrix = sentence.get_token_embeddings()  # (N, D)
        vectors.append(_pooled(matrix, pooling) if len(matrix) else np.zeros(width, np.float32))
        sentence.clear_embeddings()
        if on_progress is not None:
            on_progress(len(vectors))
    return np.stack(vectors) if vectors else np.empty((0, width), np.float32)


def open_embeddings(model: AnyModel, *, precision: ReadingPrecision = "fp32") -> TokenEmbeddings:
    """The embeddings of all directions of a model, side by side, on the default device."""
    if isinstance(model, TokenEmbeddings):
        return model
    if isinstance(model, LanguageModel):
        models: Mapping[str, LanguageModel] = {model.direction: model}
    elif isinstance(model, Mapping):
        models = model
    else:
        path = resolve_models(os.fspath(model)) if is_address(os.fspath(model)) else model
        models = {name: lm.to(find_device()) for name, lm in load_language_models(path).items()}
    return StackedEmbeddings([embeddings_of(lm, name=name, precision=precision) for name, lm in models.items()])


def _sentences(texts: Iterable[Text], tokenizer: AnyTokenizer) -> Iterator[Sentence]:
    if isinstance(texts, str):
        raise ConfigError(f"encode takes a list of texts, not one text: {texts!r:.60}")
    for number, text in enumerate(texts):
        if not isinstance(text, str) and not (isinstance(text, Sequence) and all(isinstance(w, str) for w in text)):
            raise ConfigError(f"text {number} is neither a text nor a list of words: {text!r:.60}")
        yield Sentence(text, use_tokenizer=tokenizer)


def _pooled(matrix: torch.Tensor, pooling: Pooling) -> np.ndarray:
    """One vector of the vectors of a text, (N, D) -> (D,), or (2 D,) for `first_last`."""
    if pooling == "first_last":
        row = matrix[[0, -1]].flatten()
    else:
        row = matrix.mean(dim=0) if pooling == "mean" else matrix.amax(dim=0)
    return np.asarray(row.float().cpu().numpy())


class TextVectorizer:
    """`encode` as scikit-learn expects it, for pipelines and grid searches; it learns nothing.

    The arguments are those of `encode`; a model that is given by a path or address is opened at the first use, and not
    pickled with the vectorizer.
    """

    def __init__(
        self,
        model: AnyModel,
        pooling: Pooling = "mean",
        precision: ReadingPrecision = "fp32",
        tokenizer: AnyTokenizer = True,
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.precision = precision
        self.tokenizer = tokenizer

    def fit(self, texts: Iterable[Text], labels: object = None) -> Self:
        """Nothing is learned; the model is opened, so that a wrong one is an error here."""
        self._embeddings()
        return self

    def transform(self, texts: Iterable[Text]) -> np.ndarray:
        """A vector for each text, (R, D)."""
        return encode(self._embeddings(), texts, pooling=self.pooling, tokenizer=self.tokenizer)

    def fit_transform(self, texts: Iterable[Text], labels: object = None) -> np.ndarray:
        return self.fit(texts).transform(texts)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """`charlm0`, `charlm1` …, a name for each number of a vector."""
        width = self._embeddings().embedding_length * (2 if self.pooling == "first_last" else 1)
        return np.array([f"charlm{number}" for number in range(width)], dtype=object)

    def get_params(self, deep: bool = True) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("model", "pooling", "precision", "tokenizer")}

    def set_params(self, **params: object) -> Self:
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(f"TextVectorizer has no parameter {name!r}; it has {', '.join(self.get_params())}")
            setattr(self, name, value)
        self.__dict__.pop("_opened", None)
        return self

    def _embeddings(self) -> TokenEmbeddings:
        if "_opened" not in self.__dict__:
            self._opened = open_embeddings(self.model, precision=self.precision)
        return self._opened

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> object:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags  # only scikit-learn calls this

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(string=True, two_d_array=False),
            requires_fit=False,
        )

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_opened"}
