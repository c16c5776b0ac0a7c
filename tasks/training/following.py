"""Take part in trainings that another machine, node 0, leads.

Reads  corpora/NAME/              (a prepared corpus: that of node 0 on a shared disk, or an equal one)

What a training leaves is written by node 0; here its child process has a temporary folder, which is deleted.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from charlm.artifacts import Workspace
from charlm.config import DictionaryChange, NodesConfig, TrainingConfig
from charlm.trainers.lm.gpu_memory import gpu_bytes
from charlm.trainers.lm.manifest import create_run
from tasks.registry.download import open_model
from tasks.services.session import Session
from tasks.terminal import terminal
from tasks.training.child import gpu_turn, run_child
from tasks.training.direction import TrainingRequest, config_of, corpus_of, dictionary_for
from tasks.training.finetuning import finetuning_requests
from tasks.training.parent_runs import pair_requests


def follow_pair(
    workspace: Workspace,
    name: str,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    num_processes: int,
    nodes: NodesConfig,
) -> list[str]:
    """Take part in what `train_pair` does on node 0; the directions, when all are trained."""
    requests = pair_requests(
        name, directions, training, reuse=False, resume=False, num_processes=num_processes, nodes=nodes
    )
    return _follow(workspace, requests)


def follow_finetuning(
    workspace: Workspace,
    name: str,
    model: str,
    directions: Sequence[str],
    training: TrainingConfig,
    *,
    change: DictionaryChange,
    num_processes: int,
    nodes: NodesConfig,
) -> list[str]:
    """Take part in what `finetune_pair` does on node 0; the directions, when all are trained."""
    workspace.prepared_corpus(name)  # or an error, before anything is downloaded
    with finetuning_requests(
        workspace,
        name,
        open_model(model, workspace),
        directions,
        training,
        change=change,
        reuse=False,
        resume=False,
        num_processes=num_processes,
        nodes=nodes,
    ) as requests:
        return _follow(workspace, requests)


def _follow(workspace: Workspace, requests: Sequence[TrainingRequest]) -> list[str]:
    for request in requests:
        _follow_direction(workspace, request)
    return [request.direction for request in requests]


def _follow_direction(workspace: Workspace, request: TrainingRequest) -> None:
    """Raises TrainingInterruptedError when the user ends it, and RunError with the reason when it fails."""
    corpus = corpus_of(workspace, request)
    trainings = Session.of(workspace).trainings
    title = f"train {request.training.recipe} {request.direction} on node {request.nodes.node_rank}"
    with tempfile.TemporaryDirectory(prefix="charlm-node-") as folder:
        config = dataclasses.replace(config_of(workspace, request, corpus), run_dir=str(Path(folder) / "run"))
        run = create_run(config, dictionary := dictionary_for(corpus, request))
        needed = gpu_bytes(request.training, len(dictionary), num_processes=request.num_processes)
        with (
            gpu_turn(workspace, None, needed=needed, num_processes=request.local_processes) as device,
            terminal.step(title) as bar,
        ):
            run_child(run, bar, lambda share: None, trainings, trainings.stop_flag, device, request.nodes)
            bar.finish("node 0 has the result")
