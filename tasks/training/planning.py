"""What a training needs on this machine, for all directions together."""

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
    """The plan of `charlm train`: directions train at the same time on the CPU, one after the other on a GPU."""
    from charlm.trainers.lm.planning import plan_training

    corpus = workspace.prepared_corpus(name)
    with terminal.step("calibrate") as bar:
        num_threads = threads_for(num_directions)
        plan = plan_training(corpus, training, num_threads=num_threads, num_processes=num_processes)
        bar.finish(f"{plan.characters_per_second:,.0f} characters/s in {plan.precision} on {plan.device}")
    if plan.notice is not None:
        terminal.print_line(f"! {plan.notice}")
    in_turn = 1 if plan.device == "cpu" else num_directions
    at_once = num_directions if plan.device == "cpu" else 1
    return {
        "minutes": plan.minutes * in_turn,
        "memory_bytes": plan.memory_bytes * at_once,
        "disk_bytes": plan.disk_bytes * num_directions,
        "per_direction": plan.to_json(),
    }
