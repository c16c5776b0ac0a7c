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

from charlm.artifacts import DIRECTIONS, BundleFiles, RunFiles
from charlm.config import ARCHITECTURE, TrainingConfig, UnitName
from charlm.config.extensions import EXTENSIONS, Extensions
from charlm.config.language_model import LanguageModelConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ModelFileError
from charlm.language_models.decoding import logits_of, mean_nats, target_nats
from charlm.language_models.generation import generate_text
from charlm.language_models.reading import read_ids
from charlm.language_models.representation import get_representation
from charlm.nn.cutoffs import choose_cutoffs, zipf_counts
from charlm.nn.device import find_device
from charlm.nn.dropout import EmbeddingDropout, TimeLockedDropout
from charlm.nn.inference import inference
from charlm.nn.lstm_stack import LSTMStack
from charlm.nn.recurrent import initialize_gatewise, recurrent_layer, recurrent_step
from charlm.nn.softmax import ClusteredSoftmax
from charlm.serialization.addresses import is_address, resolve_models
from charlm.serialization.bundle import read_bundle
from charlm.serialization.flair_file import read_flair_file, write_flair_file
from charlm.serialization.new_dictionary import extended_state
from charlm.serialization.state import LanguageModelState

Hidden = tuple[Tensor, Tensor] | Tensor
"""The state of an LSTM, or of a GRU; each tensor (nlayers, B, H)."""


class LanguageModel(nn.Module):
    """Embedding -> LSTM or GRU -> optional projection -> logits over the dictionary.

    The arguments are Flair's, but for `cutoffs`, where clusters of the softmax begin, and the fields of Extensions.
    """

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
        cutoffs: Sequence[int] = (),
        **extensions: object,
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

        self.cutoffs = tuple(cutoffs)
        self.extensions = extras = Extensions.from_json(extensions)

        dropout_kind = TimeLockedDropout if extras.locked_dropout else nn.Dropout
        self.drop = dropout_kind(dropout)
        self.input_drop = dropout_kind(dropout if extras.input_dropout is None else extras.input_dropout)
        self.embedding_drop = EmbeddingDropout(extras.embedding_dropout, len(dictionary))
        self.encoder = nn.Embedding(len(dictionary), embedding_size)
        self.rnn = recurrent_layer(
            recurrent_type, embedding_size, hidden_size, nlayers, dropout, extensions=extras, nout=nout
        )
        width = self.rnn.state_sizes[-1] if isinstance(self.rnn, LSTMStack) else hidden_size
        self.proj = nn.Linear(width, nout) if nout is not None else None
        self.decoder = self._new_decoder() if has_decoder else None
        self._initialize()

    def _new_decoder(self) -> nn.Linear | ClusteredSoftmax:
        width, size = self.output_size, len(self.dictionary)
        return ClusteredSoftmax(size, width, self.cutoffs) if self.tie_weights else nn.Linear(width, size)

    def _initialize(self) -> None:
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        if self.proj is not None:
            bound = math.sqrt(3.0 / sum(self.proj.weight.shape))
            nn.init.uniform_(self.proj.weight, -bound, bound)
        if isinstance(self.decoder, nn.Linear):
            nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
            nn.init.zeros_(self.decoder.bias)

    @classmethod
    def from_config(
        cls,
        config: TrainingConfig,
        dictionary: Dictionary,
        *,
        is_forward_lm: bool,
        counts: np.ndarray | None = None,
    ) -> Self:
        """A model with random weights, drawn from torch's global generator.

        `counts` say how often each item of the dictionary occurs, (V,); by default they follow Zipf's law.
        """
        frequencies = zipf_counts(len(dictionary)) if counts is None else counts
        model = cls(
            dictionary,
            is_forward_lm,
            cutoffs=choose_cutoffs(frequencies) if config.softmax == "clustered" else (),
            **{name: getattr(config, name) for name in ARCHITECTURE},
        )
        if config.initialization == "gatewise":
            initialize_gatewise(None if model.tie_weights else model.encoder, model.rnn)
            if isinstance(model.decoder, ClusteredSoftmax) and counts is not None:
                model.decoder.start_at(counts)
        return model

    @property
    def tie_weights(self) -> bool:
        """Whether the embedding is also the weights of the softmax."""
        return self.extensions.tie_weights

    @property
    def unit(self) -> UnitName:
        return self.dictionary.unit

    @property
    def direction(self) -> str:
        return "forward" if self.is_forward_lm else "backward"

    @property
    def device(self) -> torch.device:
        return self.encoder.weight.device

    @property
    def output_size(self) -> int:
        """Width of the output of the top layer, after the projection where there is one."""
        return self.nout or (self.rnn.state_sizes[-1] if isinstance(self.rnn, LSTMStack) else self.hidden_size)

    def init_hidden(self, batch_size: int) -> Hidden:
        """Zero state for `batch_size` streams, each tensor (nlayers, B, H)."""
        if isinstance(self.rnn, LSTMStack):
            return self.rnn.zero_state(batch_size)
        zeros = torch.zeros(self.nlayers, batch_size, self.hidden_size, device=self.device)
        return (zeros, zeros.clone()) if isinstance(self.rnn, nn.LSTM) else zeros

    def forward(self, ids: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Tensor, Hidden]:
        """Logits (T, B, V), top-layer output (T, B, H or nout) and the new state, from ids (T, B)."""
        _, output, hidden = self.read(ids, hidden)
        return logits_of(self._decoder(), self.encoder.weight, output), output, hidden

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        hidden: Hidden | None = None,
        *,
        reduction: Literal["mean", "none"] = "mean",
    ) -> tuple[Tensor, Hidden]:
        """Cross entropy of the targets (T, B) after the inputs (T, B), in nats, and the new state.

        The mean over all units, for training; or, for scores, with `reduction="none"` that of each unit, (T, B). Many
        logits are computed a few at a time, so that the memory is bounded whatever the size of the dictionary.
        """
        _, output, hidden = self.read(inputs, hidden)
        return (self.mean_nats if reduction == "mean" else self.target_nats)(output, targets), hidden

    def mean_nats(self, output: Tensor, targets: Tensor, *, cluster_sizes: Sequence[int] | None = None) -> Tensor:
        """The mean of `target_nats`, for training; `cluster_sizes` are those of `ClusteredSoftmax.loss`."""
        return mean_nats(self._decoder(), self.encoder.weight, output, targets, cluster_sizes=cluster_sizes)

    def target_nats(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy of each target (T, B) after what the decoder gets, (T, B, H or nout), in nats, (T, B)."""
        return target_nats(self._decoder(), self.encoder.weight, output, targets)

    def predict_next(self, ids: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Logits (B, V) and the new state after one more unit of each stream, (B,), in evaluation mode."""
        output, hidden = recurrent_step(self.rnn, self.encoder(ids), hidden)
        output = output if self.proj is None else self.proj(output)
        return logits_of(self._decoder(), self.encoder.weight, output), hidden

    def read(self, ids: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Tensor, Hidden]:
        """From ids (T, B) the output (T, B, H or nout), the same with dropout for the decoder, and the new state."""
        output, hidden = read_ids(self, ids, hidden)
        output = output if self.proj is None else self.proj(output)
        return output, self.drop(output), hidden

    def _decoder(self) -> nn.Linear | ClusteredSoftmax:
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
        return self.from_state(extended_state(self.language_model_state(), dictionary))

    # ---- text --------------------------------------------------------------------------------------------------

    get_representation = get_representation

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
        top_k: int | None = None,
        seed: int | None = None,
    ) -> tuple[str, float]:
        """`prefix` continued by up to `number_of_characters` sampled units, and the mean nats of each.

        A backward model continues to the left: its text ends with `prefix`. `<unk>` is never sampled. Generation stops
        early when the new text ends with `break_on_suffix` (in reading direction).
        """
        # fmt: off
        return generate_text(
            self, prefix or "\n", number_of_characters,
            temperature=temperature, break_on_suffix=break_on_suffix, top_k=top_k, seed=seed,
        )
        # fmt: on

    def calculate_perplexity(self, text: str) -> float:
        """Perplexity of every unit of `text` but the first, read from a zero state as one stream."""
        if len(ids := self.encode_text(text).to(self.device).unsqueeze(1)) < 2:  # (T, 1)
            raise ModelFileError(f"perplexity needs a text of at least two characters, got {text!r}")
        with inference(self):
            return math.exp(self.loss(ids[:-1], ids[1:], reduction="none")[0].double().mean().item())

    # ---- files -------------------------------------------------------------------------------------------------

    @property
    def config(self) -> LanguageModelConfig:
        """The arguments, less the dictionary, of a model like this one."""
        own = [name for name in LanguageModelConfig.names() if name not in EXTENSIONS]
        return LanguageModelConfig(**{name: getattr(self, name) for name in own}, **vars(self.extensions))

    def language_model_state(self) -> LanguageModelState:
        """Everything a file holds of this model; the tensors are views on its weights."""
        return LanguageModelState(
            config=self.config,
            dictionary=self.dictionary,
            tensors={name: tensor.detach().cpu() for name, tensor in self.state_dict().items()},
        )

    @classmethod
    def from_state(cls, state: LanguageModelState) -> Self:
        model = cls(state.dictionary, **state.config.to_json())
        model.load_state_dict(state.tensors)
        return model.eval()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model in the format that Flair opens, atomically."""
        write_flair_file(self.language_model_state(), Path(path))

    @classmethod
    def load_language_model(cls, path: str | os.PathLike[str]) -> Self:
        """The one language model in `path`: `best-lm.pt` (also of Flair), run, bundle of one direction, or address.

        It is on the default device. Raises ModelFileError when it is missing, damaged, or not to be trusted.
        """
        states = _read_states(path)
        if len(states) > 1:
            raise ModelFileError(f"{path} holds both directions; name {path}/forward or {path}/backward")
        (state,) = states.values()
        return cls.from_state(state).to(find_device())


def load_language_models(path: str | os.PathLike[str]) -> dict[str, LanguageModel]:
    """The language models in a model file, a run folder, a bundle, one direction's folder of it, or at an address.

    Keys are `forward` and `backward`. Raises ModelFileError as `load_language_model` does.
    """
    return {direction: LanguageModel.from_state(state) for direction, state in _read_states(path).items()}


def _read_states(source: str | os.PathLike[str]) -> dict[str, LanguageModelState]:
    address = os.fspath(source)
    path = resolve_models(address) if is_address(address) else Path(source)
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
