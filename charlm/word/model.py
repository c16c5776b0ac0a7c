"""Language models of words by name, with GluonNLP's settings: `get_model("standard_lstm_lm_200", vocab=vocab)`.

Reads and writes parameters as safetensors.
"""

# T = words of each stream in a batch, B = streams, V = size of the vocab

import copy
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from charlm.config import ARCHITECTURE, TrainingConfig
from charlm.errors import ConfigError, ModelFileError
from charlm.language_models.language_model import Hidden, LanguageModel
from charlm.recipes import find_recipe
from charlm.storage.atomic import atomic_write
from charlm.word.vocab import Vocab

MODELS = (
    "standard_lstm_lm_200",
    "standard_lstm_lm_650",
    "standard_lstm_lm_1500",
    "awd_lstm_lm_600",
    "awd_lstm_lm_1150",
)
"""Each is also a recipe of `charlm train`."""


class WordLanguageModel(nn.Module):
    """A language model that reads the ids of a vocab, time first.

    Attributes:
        lm: the model itself.
        vocab: the words of its ids.
        recipe: settings of its training in the pipeline.
    """

    def __init__(self, lm: LanguageModel, vocab: Vocab, recipe: TrainingConfig) -> None:
        super().__init__()
        self.lm = lm
        self.vocab = vocab
        self.recipe = recipe
        self._replicas: dict[torch.device, _Replica] = {}

    @property
    def device(self) -> torch.device:
        return self.lm.device

    def forward(self, inputs: Tensor, begin_state: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Logits (T, B, V) and the new state after words (T, B), computed where the words are.

        On another device than the model's, a replica there has the same weights, and its gradients are added to theirs.
        """
        logits, _, state = self._on(inputs.device)(inputs, begin_state)
        return logits, state

    def loss(self, inputs: Tensor, targets: Tensor, begin_state: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Mean nats of targets (T, B) after words (T, B), and the new state.

        As cross entropy of what the call itself gives, but faster, and in bounded memory for any vocab.
        """
        return self._on(inputs.device).loss(inputs, targets, begin_state)

    def begin_state(self, batch_size: int, device: torch.device | str | None = None) -> Hidden:
        """The state before the first word of each of `batch_size` streams: zeros."""
        state = self.lm.init_hidden(batch_size)
        if device is None:
            return state
        return tuple(part.to(device) for part in state) if isinstance(state, tuple) else state.to(device)  # type: ignore[return-value]

    def train(self, mode: bool = True) -> "WordLanguageModel":
        for replica in self._replicas.values():
            replica.lm.train(mode)
        return super().train(mode)

    def _on(self, device: torch.device) -> LanguageModel:
        if device == self.device:
            return self.lm
        if device not in self._replicas:
            self._replicas[device] = _Replica(self.lm, device)
        return self._replicas[device].with_present_weights()

    # ---- files -------------------------------------------------------------------------------------------------

    def save_parameters(self, path: str | os.PathLike[str]) -> None:
        """Write the weights as safetensors, atomically; nothing in the file can be executed when it is read."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.lm.state_dict().items()}
        with atomic_write(Path(path)) as file:
            file.write(save(tensors))

    def load_parameters(self, path: str | os.PathLike[str]) -> None:
        """Read weights that `save_parameters` wrote; raises ModelFileError where they are those of another model."""
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelFileError(f"cannot read parameters from {path}: {error}") from error
        own = {name: tuple(tensor.shape) for name, tensor in self.lm.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if own != found:
            name = next(name for name in (*own, *found) if own.get(name) != found.get(name))
            raise ModelFileError(
                f"{path} holds the parameters of another model: {name} is {found.get(name, 'missing')} there, "
                f"and {own.get(name, 'missing')} here"
            )
        self.lm.load_state_dict(tensors)


class _Replica:
    """A copy of a model on another device; what the copy learns from is added to the gradients of the original."""

    def __init__(self, original: LanguageModel, device: torch.device) -> None:
        self._original = original
        self.lm = copy.deepcopy(original).to(device)
        self._versions: list[int] = []
        for own, copied in zip(original.parameters(), self.lm.parameters(), strict=True):
            copied.register_post_accumulate_grad_hook(_Adder(own))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def with_present_weights(self) -> LanguageModel:
        """The copy, after it was given the weights that the original has now."""
        pairs = list(zip(self._original.parameters(), self.lm.parameters(), strict=True))
        versions = [own._version for own, _ in pairs]
        if versions != self._versions:
            self._versions = versions
            for own, copied in pairs:
                copied.copy_(own)
        return self.lm


class _Adder:
    """Moves a gradient from a copy to the original."""

    def __init__(self, original: Tensor) -> None:
        self._original = original

    def __call__(self, copied: Tensor) -> None:
        assert copied.grad is not None
        gradient = copied.grad.to(self._original.device)
        copied.grad = None
        self._original.grad = gradient if self._original.grad is None else self._original.grad + gradient


def get_model(
    name: str,
    vocab: Vocab | None = None,
    dataset_name: str | None = None,
    pretrained: bool = False,
    **settings: object,
) -> tuple[WordLanguageModel, Vocab]:
    """A model with random weights, and its vocab.

    Args:
        name: one of MODELS.
        vocab: the words that it reads and predicts.
        dataset_name: of pretrained models, which there are none of; None.
        settings: changes to the architecture, under the names of the recipe's fields: `dropout`, `hidden_size` …
    """
    if name not in MODELS:
        raise ConfigError(f"there is no model {name!r:.60}; there are {', '.join(MODELS)}")
    if pretrained or dataset_name is not None:
        raise ConfigError(
            f"there are no pretrained models, of {dataset_name or 'any corpus'} or another: leave dataset_name=None, "
            "and read your own with load_parameters"
        )
    if vocab is None:
        raise ConfigError(f"{name} needs a vocab: nlp.Vocab(nlp.data.Counter(train_dataset))")
    if strange := [setting for setting in settings if setting not in ARCHITECTURE]:
        raise ConfigError(f"{name} has no setting {strange[0]!r:.60}; it has {', '.join(ARCHITECTURE)}")
    recipe = TrainingConfig.from_json(find_recipe(name).to_json() | settings)
    lm = LanguageModel.from_config(recipe, vocab.to_dictionary(), is_forward_lm=True)
    return WordLanguageModel(lm, vocab, recipe), vocab
