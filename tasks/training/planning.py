"""What a training needs on this machine, for all directions together."""

import math
from typing import TypedDict

from charlm.artifacts import Workspace
from charlm.config import TrainingConfig
from charlm.storage.atomic import JsonObject
from tasks.terminal import terminal
from tasks.training.direction import threads_for


class PairPlan(TypedDict):
    """What `charlm plan --json` shows."""

    minutes: float
    memory_bytes: int
    disk_bytes: int
    per_direction: JsonObject


def plan_pair(
    workspace: Workspace, name: str, num_directions: int, training: TrainingConfig, *, num_processes: int = 1
) -> PairPlan:
    """The plan of `charlm train`: directions train at the same time on a CPU and on several GPUs.

    On one GPU they train one after the other, or share it, which takes as long.
    """
    import torch

    from charlm.trainers.lm.planning import plan_training

    corpus = workspace.prepared_corpus(name, train_text=False)
    with terminal.step("calibrate") as bar:
        num_threads = threads_for(num_directions)
        plan = plan_training(corpus, training, num_threads=num_threads, num_processes=num_processes)
        bar.finish(f"{plan.characters_per_second:,.0f} characters/s in {plan.precision} on {plan.device}")
    if plan.notice is not None:
        terminal.print_line(f"! {plan.notice}")
    gpus = torch.cuda.device_count() // num_processes
    at_once = num_directions if plan.device == "cpu" else max(1, min(num_directions, gpus))
    in_turn = math.ceil(num_directions / at_once)
    return {
        "minutes": plan.minutes * in_turn,
        "memory_bytes": plan.memory_bytes * at_once,
        "disk_bytes": plan.disk_bytes * num_directions,
        "per_direction": plan.to_json(),
    }
