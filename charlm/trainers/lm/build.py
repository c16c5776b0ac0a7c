"""Build the training engine that a run's manifest describes."""

import os
from pathlib import Path

import numpy as np
import torch
from torch.distributed import ReduceOp

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import RunConfig
from charlm.data.dictionary import Dictionary
from charlm.distributed.group import ProcessGroup
from charlm.errors import ConfigError, CorpusError, RunError
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.nn.device import find_device
from charlm.text.corpus.counting import read_counts
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.events import Event
from charlm.trainers.lm.engine import StopSignal, TrainingEngine
from charlm.trainers.lm.manifest import RunManifest
from charlm.trainers.lm.text_corpus import TextCorpus, choose_shards, side_by_side
from charlm.trainers.observer import Observer
from charlm.trainers.resources import translate_resource_errors


def build_engine(
    files: RunFiles, group: ProcessGroup, stop: StopSignal, observers: tuple[Observer[Event], ...]
) -> TrainingEngine:
    """The engine of the run in `files`; raises RunError, CorpusError or ConfigError when it cannot be trained here."""
    manifest = RunManifest.load(files)
    config = manifest.resolved_config(files)
    num_threads = group.all_reduce(torch.tensor(_num_threads(config, group)), ReduceOp.MIN)
    # The main process encodes what is missing, while the others wait.
    with group.main_first():
        if group.world_size != config.num_processes:
            raise ConfigError(
                f"{files.root} is to be trained by num_processes={config.num_processes}, not {group.world_size}"
            )
        with translate_resource_errors(files.root, config.device):
            device = _find_device(config.device, group)
            torch.set_num_threads(int(num_threads))
            torch.manual_seed(config.training.seed)
            model = _build_model(config)
            if model.dictionary.fingerprint != manifest.dictionary["fingerprint"]:
                raise RunError(
                    f"the dictionary of {config.corpus_dir} has changed since {files.root} was made; start a new run"
                )
            corpus = TextCorpus(
                config.corpus_dir,
                model.dictionary,
                model.is_forward_lm,
                random_case_flip=config.training.random_case_flip,
                shuffle=config.training.shuffle_lines,
                shard_groups=shard_groups(config),
            )
            return TrainingEngine(
                model.to(device), corpus, config.training, files, observers=observers, stop=stop, group=group
            )


def _num_threads(config: RunConfig, group: ProcessGroup) -> int:
    """Threads of this process: its share of the cores of its machine.

    All processes compute with as many as the one that has the fewest. None would be faster with more, because each
    step ends with the slowest one; and a checkpoint holds one number.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(config.num_threads or cores, cores) // group.local_world_size)


def shard_groups(config: RunConfig) -> list[list[str]] | None:
    """Which train shards are read together; None to read them one after the other, as Flair does."""
    corpus, training = CorpusFiles(Path(config.corpus_dir)), config.training
    if not corpus.manifest.is_file():
        return None
    manifest = load_manifest(corpus)
    if training.old_share is not None:
        return side_by_side(
            choose_shards(
                manifest, old_share=training.old_share, seed=training.seed, known_revision=config.known_revision
            )
        )
    if manifest.revision == 1 or training.validations is None:
        return None
    return side_by_side([file for revision in manifest.revisions for file in revision.train_files])


def _build_model(config: RunConfig) -> LanguageModel:
    is_forward = config.direction == "forward"
    if config.initial_model is None:
        dictionary = run_dictionary(config)
        return LanguageModel.from_config(
            config.training, dictionary, is_forward_lm=is_forward, counts=item_counts(config, dictionary)
        )
    models = load_language_models(config.initial_model)
    if config.direction not in models:
        raise RunError(f"{config.initial_model} has no {config.direction} model to continue, only {', '.join(models)}")
    return models[config.direction]


def item_counts(config: RunConfig, dictionary: Dictionary) -> np.ndarray | None:
    """How often each item of the dictionary occurs in the train text, `<unk>` for all others, (V,); None if unknown."""
    path = CorpusFiles(Path(config.corpus_dir)).total_counts
    if not config.training.tie_weights or not path.is_file():
        return None
    return read_counts(path).by_id(dictionary.get_items())


def run_dictionary(config: RunConfig) -> Dictionary:
    """The dictionary of a run: the initial model's, or the corpus's own."""
    if config.initial_model is not None:
        return next(iter(load_language_models(config.initial_model).values())).dictionary
    corpus = CorpusFiles(Path(config.corpus_dir))
    if not corpus.dictionary.is_file():
        raise CorpusError(f"{corpus.root} has no dictionary; prepare it first")
    return Dictionary.load_from_file(corpus.dictionary)


def _find_device(name: str, group: ProcessGroup) -> torch.device:
    """The device called `name`; each process of a group has a GPU of its own."""
    device = find_device(name)
    if device.type == "cpu" or group.world_size == 1:
        return device
    if group.local_world_size == 1:  # the only one of its machine has the GPU that it was given
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
        return device
    if group.local_rank >= (found := torch.cuda.device_count()):
        raise ConfigError(
            f"num_processes={group.world_size} needs a GPU for each process, torch finds {found} on this machine; "
            "lower it, or set device=cpu"
        )
    device = torch.device("cuda", group.local_rank)
    torch.cuda.set_device(device)
    return device
