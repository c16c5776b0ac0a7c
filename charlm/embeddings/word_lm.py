"""Contextual vectors of words from the states of language models of words.

A forward model has read the sentence up to a word and with it, a backward model down to it (Peters et al. 2018, "Deep
contextualized word representations", whose scalar mix of the layers is `layers="mix"`). One step a word is cheap, but
unknown words are all alike; beside character models in StackedEmbeddings, those cover them.
"""

# B = sentences, T = steps of the longest, E = embedding size, W = tokens of all sentences, D = width of a vector

import itertools
import os
from collections.abc import Sequence
from typing import Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor, nn

from charlm.config.language_model import LanguageModelConfig
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings, find_model
from charlm.errors import ConfigError, ModelFileError
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.language_models.layers import layer_outputs, layer_parameters, layer_widths
from charlm.nn.device import find_device, upload
from charlm.storage.atomic import JsonObject

Layers = Literal["top", "all", "mix"]
_SENTENCES_AT_ONCE = 64


class WordLMEmbeddings(TokenEmbeddings):
    """States of one or more language models of words, side by side.

    A token that the models' tokenizer splits further has the state after the last of its words, in reading direction.

    Args:
        models: a LanguageModel, the path of one, of a run or of a bundle with both directions, or several of them.
        layers: `top` for the last layer, `all` for all layers side by side, `mix` for their weighted sum, whose
            weights are learned with the downstream model.
        fine_tune: train the language models too.
        name: key of the vectors.
    """

    def __init__(
        self,
        models: LanguageModel | str | os.PathLike[str] | Sequence[LanguageModel | str | os.PathLike[str]],
        layers: Layers = "top",
        fine_tune: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if layers not in get_args(Layers):
            raise ConfigError(f"layers is top, all or mix, got {layers!r:.60}")
        given = [models] if isinstance(models, LanguageModel | str | os.PathLike) else list(models)
        lms = [lm for model in given for lm in _models_of(model)]
        if not lms:
            raise ConfigError("WordLMEmbeddings needs at least one language model")
        for lm in lms:
            if lm.dictionary.unit_of.items_are_characters:
                raise ModelFileError(f"WordLMEmbeddings needs models of words; of {lm.unit}s there is FlairEmbeddings")
            if layers == "mix" and len(set(layer_widths(lm))) > 1:
                raise ConfigError(f"layers='mix' needs layers of one width, this model has {layer_widths(lm)}")
        self.lms = nn.ModuleList(lms)
        self.layers: Layers = layers
        self.fine_tune = fine_tune
        self.static_embeddings = not fine_tune and layers != "mix"
        self.mix_weights: nn.ParameterList | None = None
        if layers == "mix":
            self.mix_weights = nn.ParameterList(nn.Parameter(torch.zeros(len(layer_widths(lm)) + 1)) for lm in lms)
        shown = [
            f"{model.direction}-{model.hidden_size}" if isinstance(model, LanguageModel) else str(model)
            for model in given
        ]
        self.name = name or f"word-lm-{layers}-{','.join(shown)}"
        self._ids: list[dict[str, list[int]]] = [{} for _ in lms]
        self.eval()

    @property
    def embedding_length(self) -> int:
        return sum(self.widths)

    @property
    def widths(self) -> list[int]:
        """Width of the vectors of each model."""
        return [sum(layer_widths(lm)) if self.layers == "all" else layer_widths(lm)[-1] for lm in self._lms]

    @property
    def reads_forward(self) -> list[bool]:
        """Direction of each model."""
        return [lm.is_forward_lm for lm in self._lms]

    @property
    def _lms(self) -> list[LanguageModel]:
        return list(self.lms)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> Self:
        """Without `fine_tune` the language models stay in evaluation mode: dropout would change the vectors."""
        super().train(mode)
        self.lms.train(mode and self.fine_tune)
        return self

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The weights that are trained, from the last layer down to the embedding, over all models together."""
        groups = [] if self.mix_weights is None else [list(self.mix_weights)]
        if self.fine_tune:
            groups += [
                [weight for weights in level for weight in weights]
                for level in itertools.zip_longest(*map(layer_parameters, self._lms), fillvalue=())
            ]
        return groups

    def _settings(self) -> JsonObject:
        return {
            "models": [lm.config.to_json() for lm in self._lms],
            "dictionaries": [lm.dictionary.to_json() for lm in self._lms],
            "layers": self.layers,
            "fine_tune": self.fine_tune,
            "name": self.name,
        }

    @classmethod
    def _from_settings(cls, settings: JsonObject) -> Self:
        arguments = dict(settings)
        configs = map(LanguageModelConfig.from_json, arguments.pop("models"))
        dictionaries = map(Dictionary.from_json, arguments.pop("dictionaries"))
        lms = [
            LanguageModel(dictionary, **config.to_json())
            for config, dictionary in zip(configs, dictionaries, strict=True)
        ]
        return cls(lms, **arguments)

    def _add_embeddings(self, sentences: list[Sentence]) -> None:
        for sentence in sentences:
            if not len(sentence):
                sentence.set_token_embeddings(
                    self.name, torch.empty(0, self.embedding_length, device=self._lms[0].device)
                )
        learns = (self.fine_tune or self.mix_weights is not None) and torch.is_grad_enabled()
        for batch in _batches(sorted(sentences, key=len)):
            with torch.set_grad_enabled(learns):
                matrix = torch.cat([self._states(number, batch) for number in range(len(self.lms))], dim=1)  # (W, D)
            for sentence, rows in zip(batch, torch.split(matrix, [len(one) for one in batch]), strict=True):
                sentence.set_token_embeddings(self.name, rows)

    def _states(self, number: int, sentences: Sequence[Sentence]) -> Tensor:
        """The states of one model at the tokens of all sentences, (W, D of the model)."""
        lm = self._lms[number]
        ids, rows, places = self._encoded(number, sentences)
        with torch.set_grad_enabled(self.fine_tune and torch.is_grad_enabled()):
            outputs = layer_outputs(lm, upload(torch.from_numpy(ids), lm.device))  # (T, B, D of a layer) each
        at = upload(torch.from_numpy(places), lm.device), upload(torch.from_numpy(rows), lm.device)
        if self.layers == "top":
            return outputs[-1][at]
        states = [output[at] for output in outputs]
        if self.mix_weights is None:
            return torch.cat(states, dim=1)
        scale, *_ = weights = self.mix_weights[number].to(lm.device)
        shares = weights[1:].softmax(0)
        mixed: Tensor = (1 + scale) * torch.stack(
            [share * state for share, state in zip(shares, states, strict=True)]
        ).sum(0)
        return mixed

    def _encoded(self, number: int, sentences: Sequence[Sentence]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ids that a model reads (T, B), a newline and the sentence; and each token's row and place there, (W,)."""
        lm = self._lms[number]
        newline = lm.dictionary.get_idx_for_item("\n")
        read, rows, places = [], [], []
        for row, sentence in enumerate(sentences):
            words = [self._ids_of(number, token) for token in sentence.words]
            counts = np.array([len(ids) for ids in words], dtype=np.int64)
            order = words if lm.is_forward_lm else [ids[::-1] for ids in words[::-1]]
            read.append([newline, *itertools.chain.from_iterable(order)])
            before = np.cumsum(counts) if lm.is_forward_lm else np.cumsum(counts[::-1])[::-1]
            places.append(before)  # the newline is at place 0
            rows.append(np.full(len(words), row))
        ids = np.full((max(map(len, read)), len(read)), newline, dtype=np.int64)
        for row, one in enumerate(read):
            ids[: len(one), row] = one
        return ids, np.concatenate(rows), np.concatenate(places)

    def _ids_of(self, number: int, token: str) -> list[int]:
        """The ids of the words that the model's tokenizer makes of a token; an unknown word where it makes none."""
        known = self._ids[number]
        if token not in known:
            known[token] = self._lms[number].dictionary.encode(token).tolist() or [0]
        return known[token]


def _batches(sentences: list[Sentence]) -> list[list[Sentence]]:
    """Sentences that are read together, without those that have no tokens."""
    full = [sentence for sentence in sentences if len(sentence)]
    return [full[start : start + _SENTENCES_AT_ONCE] for start in range(0, len(full), _SENTENCES_AT_ONCE)]


def _models_of(model: LanguageModel | str | os.PathLike[str]) -> list[LanguageModel]:
    """A model, or those of a path, without what they would predict with."""
    if isinstance(model, LanguageModel):
        return [model]
    found = list(load_language_models(find_model(model, [".pt"], "language model")).values())
    for lm in found:
        lm.decoder, lm.has_decoder = None, False
        lm.to(find_device())
    return found
