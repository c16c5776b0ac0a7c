"""LanguageModel: a recurrent network that predicts the next character, or the one before.

A backward model reads the text reversed by code point. Architecture, attribute names and file format are Flair's, so
models move both ways (Akbik et al. 2018, "Contextual String Embeddings for Sequence Labeling").
"""

# T = sequence length in units, B = mini-batch size, E = embedding size, H = hidden size, V = dictionary size

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.artifacts import DIRECTIONS, BundleFiles, RunFiles
from charlm.config import TrainingConfig, UnitName
from charlm.config.language_model import LanguageModelConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ModelFileError
from charlm.language_models.generation import generate_text
from charlm.nn.inference import inference
from charlm.nn.recurrent import initialize_gatewise, recurrent_layer, recurrent_step
from charlm.serialization.bundle import read_bundle
from charlm.serialization.flair_file import read_flair_file, write_flair_file
from charlm.serialization.state import LanguageModelState

Hidden = tuple[Tensor, Tensor] | Tensor
"""The state of an LSTM, or of a GRU; each tensor (nlayers, B, H)."""

LOGITS_AT_ONCE = 1 << 24
"""Logits that a score computes at a time: 64 MB of fp32."""


class LanguageModel(nn.Module):
    """Embedding -> LSTM or GRU -> optional projection -> logits over the dictionary."""

    def __init__(
        self,
        dictionary: Dictionary,
        is_forward_lm: bool,
        hidden_size: int,
        nlayers: int,
        embedding_size: int = 100,
        nout: int | None = None,
        document_delimiter: str = "\n",
        dropout: float = 0.1,
        recurrent_type: str = "LSTM",
        has_decoder: bool = True,
    ) -> None:
        super().__init__()
        self.dictionary = dictionary
        self.is_forward_lm = is_forward_lm
        self.hidden_size = hidden_size
        self.nlayers = nlayers
        self.embedding_size = embedding_size
        self.nout = nout
        self.document_delimiter = document_delimiter
        self.dropout = dropout
        self.recurrent_type = recurrent_type
        self.has_decoder = has_decoder

        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(len(dictionary), embedding_size)
        self.rnn = recurrent_layer(recurrent_type, embedding_size, hidden_size, nlayers, dropout)
        self.proj = nn.Linear(hidden_size, nout) if nout is not None else None
        self.decoder = nn.Linear(nout or hidden_size, len(dictionary)) if has_decoder else None
        self._initialize()

    def _initialize(self) -> None:
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        if self.proj is not None:
            bound = math.sqrt(3.0 / sum(self.proj.weight.shape))
            nn.init.uniform_(self.proj.weight, -bound, bound)
        if self.decoder is not None:
            nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
            nn.init.zeros_(self.decoder.bias)

    @classmethod
    def from_config(cls, config: TrainingConfig, dictionary: Dictionary, *, is_forward_lm: bool) -> Self:
        """A model with random weights, drawn from torch's global generator."""
        model = cls(
            dictionary,
            is_forward_lm,
            config.hidden_size,
            config.nlayers,
            embedding_size=config.embedding_size,
            nout=config.nout,
            dropout=config.dropout,
        )
        if config.initialization == "gatewise":
            initialize_gatewise(model.encoder, model.rnn)
        return model

    @property
    def unit(self) -> UnitName:
        return self.dictionary.unit

    @property
    def direction(self) -> str:
        return "forward" if self.is_forward_lm else "backward"

    @property
    def device(self) -> torch.device:
        return self.encoder.weight.device

    def init_hidden(self, batch_size: int) -> Hidden:
        """Zero state for `batch_size` streams, each tensor (nlayers, B, H)."""
        zeros = torch.zeros(self.nlayers, batch_size, self.hidden_size, device=self.device)
        return (zeros, zeros.clone()) if isinstance(self.rnn, nn.LSTM) else zeros

    def forward(self, ids: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Tensor, Hidden]:
        """Logits (T, B, V), top-layer output (T, B, H or nout) and the new state, from ids (T, B)."""
        output, hidden = self._read(ids, hidden)
        return self._decoder()(output), output, hidden

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        hidden: Hidden | None = None,
        *,
        reduction: Literal["mean", "none"] = "mean",
    ) -> tuple[Tensor, Hidden]:
        """Cross entropy of the targets (T, B) after the inputs (T, B), in nats, and the new state.

        The mean over all units, for training; or, for scores, with `reduction="none"` that of each unit, (T, B). The
        latter computes few logits at a time, so that its memory is bounded whatever the size of the dictionary.
        """
        output, hidden = self._read(inputs, hidden)
        decoder, rows, expected = self._decoder(), output.flatten(0, 1), targets.flatten()
        if reduction == "mean":
            return F.cross_entropy(_at_least_fp32(decoder(rows)), expected), hidden
        rows_at_once = max(1, LOGITS_AT_ONCE // len(self.dictionary))
        nats = [
            F.cross_entropy(_at_least_fp32(decoder(part)), target, reduction="none")
            for part, target in zip(torch.split(rows, rows_at_once), torch.split(expected, rows_at_once), strict=True)
        ]
        return torch.cat(nats).view_as(targets), hidden

    def predict_next(self, ids: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Logits (B, V) and the new state after one more unit of each stream, (B,), in evaluation mode."""
        output, hidden = recurrent_step(self.rnn, self.encoder(ids), hidden)
        return self._decoder()(output if self.proj is None else self.proj(output)), hidden

    def _read(self, ids: Tensor, hidden: Hidden | None) -> tuple[Tensor, Hidden]:
        """What the decoder gets, (T, B, H or nout), and the new state, from ids (T, B)."""
        output, hidden = self.represent(self.drop(self.encoder(ids)), hidden)
        return self.drop(output), hidden

    def _decoder(self) -> nn.Linear:
        if self.decoder is None:
            raise ModelFileError("this language model was saved without its decoder: it embeds, but cannot predict")
        return self.decoder

    def represent(self, embedded: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Top-layer output (T, B, H or nout), after the projection where there is one, from (T, B, E)."""
        output, hidden = self.rnn(embedded, hidden)
        return (output if self.proj is None else self.proj(output)), hidden

    def with_dictionary(self, dictionary: Dictionary) -> Self:
        """A copy that knows the items `dictionary` adds at the end of this model's; old ids stay.

        A new item starts as the mean of the old ones, in the embedding and in the decoder.
        """
        size = len(self.dictionary)
        if not dictionary.extends(self.dictionary):
            raise ModelFileError("a dictionary is extended at its end: the first items must be the model's own")
        state = self.language_model_state()
        tensors = dict(state.tensors)
        for name in ("encoder.weight", "decoder.weight", "decoder.bias"):
            if name in tensors:
                rows = tensors[name]  # (V, …)
                new = rows.mean(dim=0, keepdim=True).expand(len(dictionary) - size, *rows.shape[1:])
                tensors[name] = torch.cat([rows, new])
        return self.from_state(LanguageModelState(state.config, dictionary, tensors))

    def get_representation(self, strings: Sequence[str], start_marker: str, end_marker: str) -> Tensor:
        """Top-layer output (T, B, H or nout) over marked texts in reading direction, filled up with spaces."""
        texts = [f"{start_marker}{text if self.is_forward_lm else text[::-1]}{end_marker}" for text in strings]
        length = max(map(len, texts))
        ids = np.stack([self.dictionary.encode(text.ljust(length)) for text in texts], axis=1).astype(np.int64)
        with torch.no_grad():
            return self.represent(self.encoder(torch.from_numpy(ids).to(self.device)))[0]

    # ---- text --------------------------------------------------------------------------------------------------

    def encode_text(self, text: str) -> Tensor:
        """The ids of `text` in reading direction, (T,) int64."""
        ids = self.dictionary.encode(text).astype(np.int64)
        return torch.from_numpy(ids if self.is_forward_lm else ids[::-1].copy())

    def generate_text(
        self,
        prefix: str = "\n",
        number_of_characters: int = 1000,
        temperature: float = 1.0,
        break_on_suffix: str | None = None,
        *,
        seed: int | None = None,
    ) -> tuple[str, float]:
        """`prefix` continued by up to `number_of_characters` sampled units, and the mean nats of each.

        A backward model continues to the left: its text ends with `prefix`. `<unk>` is never sampled. Generation stops
        early when the new text ends with `break_on_suffix` (in reading direction).
        """
        return generate_text(
            self,
            prefix or "\n",
            number_of_characters,
            temperature=temperature,
            break_on_suffix=break_on_suffix,
            seed=seed,
        )

    def calculate_perplexity(self, text: str) -> float:
        """Perplexity of every unit of `text` but the first, read from a zero state as one stream."""
        ids = self.encode_text(text).to(self.device).unsqueeze(1)  # (T, 1)
        if len(ids) < 2:
            raise ModelFileError(f"perplexity needs a text of at least two characters, got {text!r}")
        with inference(self):
            nats, _ = self.loss(ids[:-1], ids[1:], reduction="none")
        return math.exp(nats.double().mean().item())

    # ---- files -------------------------------------------------------------------------------------------------

    @property
    def config(self) -> LanguageModelConfig:
        """The arguments, less the dictionary, of a model like this one."""
        return LanguageModelConfig(
            is_forward_lm=self.is_forward_lm,
            hidden_size=self.hidden_size,
            nlayers=self.nlayers,
            embedding_size=self.embedding_size,
            nout=self.nout,
            document_delimiter=self.document_delimiter,
            dropout=self.dropout,
            recurrent_type=self.recurrent_type,
            has_decoder=self.has_decoder,
        )

    def language_model_state(self) -> LanguageModelState:
        """Everything a file holds of this model; the tensors are views on its weights."""
        return LanguageModelState(
            config=self.config,
            dictionary=self.dictionary,
            tensors={name: tensor.detach().cpu() for name, tensor in self.state_dict().items()},
        )

    @classmethod
    def from_state(cls, state: LanguageModelState) -> Self:
        config = state.config
        model = cls(
            state.dictionary,
            config.is_forward_lm,
            config.hidden_size,
            config.nlayers,
            embedding_size=config.embedding_size,
            nout=config.nout,
            document_delimiter=config.document_delimiter,
            dropout=config.dropout,
            recurrent_type=config.recurrent_type,
            has_decoder=config.has_decoder,
        )
        model.load_state_dict(state.tensors)
        return model.eval()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model in the format that Flair opens, atomically."""
        write_flair_file(self.language_model_state(), Path(path))

    @classmethod
    def load_language_model(cls, path: str | os.PathLike[str]) -> Self:
        """The one language model in `path`: a `best-lm.pt` of ours or Flair's, a run, or a bundle of one direction.

        Nothing in the file is executed. Raises ModelFileError when it is missing, damaged, or not to be trusted.
        """
        states = _read_states(Path(path))
        if len(states) > 1:
            raise ModelFileError(f"{path} holds both directions; name {path}/forward or {path}/backward")
        (state,) = states.values()
        return cls.from_state(state)


def _at_least_fp32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def load_language_models(path: str | os.PathLike[str]) -> dict[str, LanguageModel]:
    """The language models in a model file, a run folder, a bundle, or one direction's folder of a bundle.

    Keys are `forward` and `backward`. Raises ModelFileError as `load_language_model` does.
    """
    return {direction: LanguageModel.from_state(state) for direction, state in _read_states(Path(path)).items()}


def _read_states(path: Path) -> dict[str, LanguageModelState]:
    if not path.exists():
        raise ModelFileError(f"no model at {path}: give a best-lm.pt, a run folder or a bundle")
    if path.is_dir():
        if BundleFiles(path).manifest.is_file():
            return dict(read_bundle(path).states)
        if path.name in DIRECTIONS and BundleFiles(path.parent).manifest.is_file():
            return {path.name: read_bundle(path.parent).states[path.name]}
        run = RunFiles(path)
        if not run.best_lm.is_file():
            raise ModelFileError(f"{path} is no bundle and no run with a {run.best_lm.name}")
        path = run.best_lm
    state = read_flair_file(path)
    return {"forward" if state.config.is_forward_lm else "backward": state}
