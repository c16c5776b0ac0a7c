"""Sentence vectors from a transformer; needs the package `transformers`."""

# B = sentences, N = word pieces of the longest, D = width of the model

import os
from typing import Any, Literal, Self

import torch
from torch import Tensor

from charlm.data.sentence import Sentence
from charlm.embeddings.base import DocumentEmbeddings, find_model
from charlm.errors import ConfigError, ModelFileError
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


class TransformerDocumentEmbeddings(DocumentEmbeddings):
    """The last layer's vector of the first piece (`cls`), or the mean or maximum over all pieces.

    Args:
        model: folder with a model (safetensors) and its tokenizer, or its name in the folder CHARLM_CACHE.
        fine_tune: train the transformer too.
        pooling: `cls`, `mean` or `max`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        fine_tune: bool = True,
        pooling: Literal["cls", "mean", "max"] = "cls",
    ) -> None:
        super().__init__()
        if pooling not in ("cls", "mean", "max"):
            raise ConfigError(f"pooling is cls, mean or max, got {pooling!r}")
        transformers = _transformers()
        path = find_model(model, [], "transformer")
        try:  # safetensors and no remote code: nothing in the folder is executed
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            network = transformers.AutoModel.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise ModelFileError(f"{path} is no transformer that we can read ({str(error).splitlines()[0]})") from error
        self._keep(network, tokenizer, name=f"transformer-{model}", fine_tune=fine_tune, pooling=pooling)

    def _keep(self, network: Any, tokenizer: Any, *, name: str, fine_tune: bool, pooling: str) -> None:
        self.model = network
        self.tokenizer = tokenizer
        self.name = name
        self.fine_tune = fine_tune
        self.static_embeddings = not fine_tune
        self.pooling = pooling
        self.eval()

    @property
    def embedding_length(self) -> int:
        return int(self.model.config.hidden_size)

    def _settings(self) -> JsonObject:
        return {
            "model": self.model.config.to_diff_dict(),
            "tokenizer": self.tokenizer.backend_tokenizer.to_str(),
            "longest": self.tokenizer.model_max_length,
            "special_tokens": self.tokenizer.special_tokens_map,
            "name": self.name,
            "fine_tune": self.fine_tune,
            "pooling": self.pooling,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        transformers = _transformers()
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=transformers.tokenization_utils_fast.TokenizerFast.from_str(settings["tokenizer"]),
            model_max_length=settings["longest"],
            **settings["special_tokens"],
        )
        values = {name: value for name, value in settings["model"].items() if name not in _FETCHING_SETTINGS}
        config = transformers.AutoConfig.for_model(**values)
        with torch.device("cpu"):  # it creates buffers that are in no state dict
            network = transformers.AutoModel.from_config(config, trust_remote_code=False)
        embeddings = cls.__new__(cls)
        DocumentEmbeddings.__init__(embeddings)
        chosen = {name: settings[name] for name in ("name", "fine_tune", "pooling")}
        embeddings._keep(network, tokenizer, **chosen)
        return embeddings

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        with torch.set_grad_enabled(self.fine_tune and torch.is_grad_enabled()):
            for start in range(0, len(sentences), _BATCH):
                batch = sentences[start : start + _BATCH]
                for sentence, vector in zip(batch, self._vectors([s.to_plain_string() for s in batch]), strict=True):
                    sentence.set_embedding(self.name, vector)

    def _vectors(self, texts: list[str]) -> Tensor:
        pieces = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        states: Tensor = self.model(**pieces).last_hidden_state  # (B, N, D)
        if self.pooling == "cls":
            return states[:, 0]
        mask: Tensor = pieces["attention_mask"].unsqueeze(2)
        if self.pooling == "mean":
            return (states * mask).sum(dim=1) / mask.sum(dim=1)
        return states.masked_fill(mask == 0, -torch.inf).amax(dim=1)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("transformer embeddings need a package: pip install 'charlm[transformers]'") from error
    return transformers
