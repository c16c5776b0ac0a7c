"""Take a checkpoint of a training, and put a training back to where a checkpoint was taken."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from charlm.config.training import BUDGETS
from charlm.distributed.group import ProcessGroup
from charlm.errors import ModelFileError, RunError
from charlm.trainers.lm.averaging import WeightAverage
from charlm.trainers.lm.bptt import TruncatedBPTT
from charlm.trainers.lm.checkpoint import Checkpoint, Progress, random_state, set_random_state
from charlm.trainers.lm.text_corpus import TextCorpus
from charlm.trainers.observer import RewindableFile


def training_checkpoint(
    bptt: TruncatedBPTT, corpus: TextCorpus, progress: Progress, files: Sequence[RewindableFile]
) -> Checkpoint:
    """The checkpoint of a training, with the states of all processes; every process must take it."""
    model, group = bptt.model, bptt.group
    return Checkpoint(
        model=model.state_dict(),
        model_config=model.config.to_json(),
        dictionary=corpus.dictionary.to_json(),
        optimizer=bptt.optimizer.state_dict(),
        progress=progress.to_json(),
        hidden=bptt.gathered_hidden(),
        random_state={name: group.all_gather(state) for name, state in random_state(model.device).items()},
        average=None if bptt.average is None else bptt.average.state(),
        config=bptt.config.to_json(),
        num_threads=torch.get_num_threads(),
        num_processes=group.world_size,
        precision=bptt.precision,
        loss_scale=bptt.mixed.state(),
        files={file.path.name: file.position() for file in files},
    )


def load_checkpoint(path: Path, group: ProcessGroup) -> Checkpoint:
    """The checkpoint of the main process, in all: the others may be on machines that do not have it."""
    if group.world_size == 1:
        return Checkpoint.load(path)
    content = group.broadcast_bytes(Checkpoint.read(path) if group.is_main else None)
    return Checkpoint.parse(content, path)


def restore_training(
    checkpoint: Checkpoint, path: Path, bptt: TruncatedBPTT, progress: Progress, files: Sequence[RewindableFile]
) -> None:
    """Put weights, optimizer, streams, generators, progress and files back to where `checkpoint` was taken.

    Raises RunError when it was trained with other settings, ModelFileError when it does not fit; both name `path`.
    """
    try:
        _check_settings(checkpoint, path, bptt)
        bptt.model.load_state_dict(checkpoint.model)
        bptt.optimizer.load_state_dict(checkpoint.optimizer)
        bptt.average = None if checkpoint.average is None else WeightAverage.restored(checkpoint.average, bptt.model)
        progress.restore(checkpoint.progress)
        bptt.restore_hidden(checkpoint.hidden)
        bptt.mixed.restore(checkpoint.loss_scale)
        bptt.drop_nats()
        states = {name: bptt.group.own_part(state) for name, state in checkpoint.random_state.items()}
        set_random_state(states, bptt.model.device)
        if bptt.model.device.type == "cpu":
            torch.set_num_threads(checkpoint.num_threads)  # another number of threads sums in another order
        for file in files:
            file.rewind(checkpoint.files.get(file.path.name, 0))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path} does not fit this run ({reason}); start anew") from error


def _check_settings(checkpoint: Checkpoint, path: Path, bptt: TruncatedBPTT) -> None:
    free = {"recipe", "checkpoint_minutes"}
    if bptt.config.schedule == "plateau":  # its steps do not depend on the budget
        free |= set(BUDGETS)
    now, before = bptt.config.to_json(), checkpoint.config  # a field that one of them lacks has its default
    defaults = {field.name: field.default for field in dataclasses.fields(bptt.config)}
    changed = sorted(
        name
        for name in (now.keys() | before.keys() & defaults.keys()) - free
        if before.get(name, defaults[name] if name in bptt.config.OMITTED_AT_DEFAULT else None)
        != now.get(name, defaults[name])
    )
    if changed:
        raise RunError(f"{path} was trained with other settings ({', '.join(changed)}); start anew")
    if checkpoint.num_processes != bptt.group.world_size:
        raise RunError(
            f"{path} was trained by num_processes={checkpoint.num_processes}, this is "
            f"{bptt.group.world_size}; go on with as many, or start anew"
        )
