"""LanguageModelTrainer: training with Flair's call, on our engine.

`train` builds a `flair_classic` configuration from its arguments, so a program of Flair's tutorial runs unchanged:
SGD at 20, gradients clipped at 0.25, the rate quartered when validation has not improved for ten splits.
"""

import os
from pathlib import Path
from typing import Self

import torch

from charlm.artifacts import RunFiles
from charlm.config import TrainingConfig
from charlm.config.language_model import LanguageModelConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError, RunError
from charlm.language_models.language_model import LanguageModel
from charlm.nn.device import find_device
from charlm.storage.locks import exclusive_lock
from charlm.trainers.lm.checkpoint import Checkpoint
from charlm.trainers.lm.engine import TrainingEngine
from charlm.trainers.lm.reporting import TrainingResult
from charlm.trainers.lm.text_corpus import TextCorpus
from charlm.trainers.observer import ProgressLines, open_run_files

__all__ = ["LanguageModelTrainer", "TextCorpus"]


class LanguageModelTrainer:
    """Trains `model` on `corpus`.

    Args:
        model: trained in place; one on the CPU is moved to where models are computed (nn/device.py).
        corpus: must share the model's dictionary and direction.
        optimizer: torch's SGD or AdamW.
        test_mode: has no effect; Flair reads text without worker processes then, and here nothing has any.
    """

    def __init__(
        self,
        model: LanguageModel,
        corpus: TextCorpus,
        optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
        test_mode: bool = False,
    ) -> None:
        if model.is_forward_lm != corpus.forward:
            raise ConfigError(
                f"the model reads {model.direction}, the corpus {'forward' if corpus.forward else 'backward'}; "
                "they must go the same way"
            )
        if model.dictionary != corpus.dictionary:
            raise ConfigError("model and corpus must share one dictionary; take the model's for the corpus")
        if optimizer not in (torch.optim.SGD, torch.optim.AdamW):
            raise ConfigError(f"optimizer is torch.optim.SGD or AdamW, got {optimizer.__name__}")
        self.model = model.to(find_device()) if model.device.type == "cpu" else model
        self.corpus = corpus
        self.optimizer = optimizer
        self._resumed_from: Path | None = None

    def train(
        self,
        base_path: str | os.PathLike[str],
        sequence_length: int,
        learning_rate: float = 20,
        mini_batch_size: int = 100,
        anneal_factor: float = 0.25,
        patience: int = 10,
        clip: float = 0.25,
        max_epochs: int = 1000,
        checkpoint: bool = False,
        grow_to_sequence_length: int = 0,
        num_workers: int = 0,
        use_amp: bool = False,
        seed: int = 1,
        *,
        show_progress: bool = True,
        **settings: object,
    ) -> TrainingResult:
        """Train, and write `best-lm.pt`, `loss.tsv`, `training.log` and (with `checkpoint`) `checkpoint.pt`.

        Raises RunError when another process trains in `base_path`.

        Args:
            base_path: folder for everything that the training writes.
            sequence_length: characters of each stream between two steps.
            learning_rate: rate to begin with.
            mini_batch_size: number of parallel streams.
            anneal_factor: factor on the rate when validation has not improved for `patience` splits.
            patience: splits to wait for an improvement before the rate is lowered.
            clip: largest norm of the gradient.
            max_epochs: passes over the train shards.
            checkpoint: keep `checkpoint.pt`, from which `load_checkpoint` resumes.
            grow_to_sequence_length: grow `sequence_length` by one a split until this length; 0: never.
            num_workers: has no effect: text is read by this process, beside the training.
            use_amp: compute in bf16 where it is safe.
            seed: of shard order, line order, case flips and dropout; torch's global generator is set to it.
            show_progress: write the lines of training.log to stderr too.
            settings: any other field of TrainingConfig.
        """
        config = TrainingConfig.from_json(
            {
                "recipe": "flair_classic",
                "hidden_size": self.model.hidden_size,
                "nlayers": self.model.nlayers,
                "nout": self.model.nout,
                "embedding_size": self.model.embedding_size,
                "dropout": self.model.dropout,
                "initialization": "flair",
                "sequence_length": sequence_length,
                "grow_to_sequence_length": grow_to_sequence_length or None,
                "mini_batch_size": mini_batch_size,
                "optimizer": "sgd" if self.optimizer is torch.optim.SGD else "adamw",
                "learning_rate": learning_rate,
                "clip": clip,
                "schedule": "plateau",
                "anneal_factor": anneal_factor,
                "patience": patience,
                "shuffle_lines": self.corpus.shuffle,
                "random_case_flip": self.corpus.random_case_flip,
                "validations": None,
                "max_epochs": max_epochs,
                "seed": seed,
                "precision": "bf16" if use_amp else "fp32",
                **settings,
            }
        )
        files = RunFiles(Path(base_path))
        origin = self._resumed_from
        if origin is not None and origin != files.checkpoint.resolve():
            raise RunError(f"{origin} goes on in its own folder; train with base_path={origin.parent}")
        with exclusive_lock(files.lock, busy=f"{files.root} is being trained by another process"):
            result = self._train(config, files, resume=origin is not None, show_progress=show_progress)
            if not checkpoint:
                files.checkpoint.unlink(missing_ok=True)
        return result

    def _train(self, config: TrainingConfig, files: RunFiles, *, resume: bool, show_progress: bool) -> TrainingResult:
        torch.manual_seed(config.seed)
        written = open_run_files(files)
        shown = [ProgressLines()] if show_progress else []
        try:
            engine = TrainingEngine(self.model, self.corpus, config, files, observers=[*written, *shown])
            return engine.train(resume=resume)
        finally:
            for observer in written:
                observer.close()

    @classmethod
    def load_checkpoint(
        cls,
        checkpoint_file: str | os.PathLike[str],
        corpus: TextCorpus,
        optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
    ) -> Self:
        """A trainer whose `train`, called with the same arguments, continues where `checkpoint_file` was written."""
        path = Path(checkpoint_file)
        checkpoint = Checkpoint.load(path)
        config = LanguageModelConfig.from_json(checkpoint.model_config)
        model = LanguageModel(Dictionary.from_json(checkpoint.dictionary), **config.to_json())
        model.load_state_dict(checkpoint.model)
        trainer = cls(model, corpus, optimizer)
        trainer._resumed_from = path.resolve()
        return trainer
