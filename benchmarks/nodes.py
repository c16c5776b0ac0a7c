"""Two processes that train one model, beside one: how much faster, and what exchanging the gradients takes of a step.

A process of one thread trains the whole mini-batch; then two of one thread each train half of it, with their gradients
exchanged in buckets during the backward pass (what charlm does), after it in one message, and not at all. The sides
take turns, step for step, in the same two processes. Wall seconds are medians of the steps; CPU seconds of both
processes show what the exchange costs where other programs disturb the wall clock.

    python benchmarks/nodes.py [--hidden 512] [--batch 64] [--rounds 8] [--markdown docs/benchmarks/nodes.md]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from charlm.config import TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.distributed.gradients import GradientBuckets
from charlm.distributed.group import ProcessGroup
from charlm.language_models.language_model import LanguageModel
from charlm.nn.compat import avoid_compiler
from charlm.trainers.lm.bptt import ShardStreams, TruncatedBPTT

ALONE, BUCKETS, AFTER, NOTHING = "one process", "two, in buckets", "two, after the backward pass", "two, no exchange"
SIDES = (ALONE, BUCKETS, AFTER, NOTHING)
ENTRIES = 100


class AfterBackward(GradientBuckets):
    """The gradients in one message, when all are there."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        super().__init__((), ProcessGroup())
        self._parameters = parameters

    @contextmanager
    def averaged(self) -> Iterator[None]:
        yield
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    options = parser.parse_args()
    if "RANK" in os.environ:
        measure(options)
        return
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    shared = ["--hidden", str(options.hidden), "--batch", str(options.batch), "--rounds", str(options.rounds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, __file__, *shared]
    written = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    table = render(json.loads(written.splitlines()[-1]), options)
    if options.markdown:
        options.markdown.write_text(table)
    print(table)


def measure(options: argparse.Namespace) -> None:
    """Be one of the two processes; the first one prints the seconds of every step by side."""
    avoid_compiler()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    config = TrainingConfig(
        hidden_size=options.hidden,
        embedding_size=100,
        sequence_length=100,
        mini_batch_size=options.batch,
        max_epochs=1,
    )
    sides = {side: steps_of(side, config, rank) for side in SIDES}
    seconds: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    for number in range(options.rounds + 1):
        for side, step in sides.items():
            dist.barrier()
            started, before = time.perf_counter(), time.process_time()
            if side != ALONE or rank == 0:
                step(number)
            cpu = torch.tensor([time.process_time() - before])
            dist.all_reduce(cpu)  # ends when both have done their step
            if number:  # the first step allocates
                seconds[side].append((time.perf_counter() - started, float(cpu)))
    if rank == 0:
        print(json.dumps({"seconds": seconds, "bytes": parameter_bytes(config)}), flush=True)
    dist.barrier()
    dist.destroy_process_group()


def steps_of(side: str, config: TrainingConfig, rank: int) -> Callable[[int], int]:
    """A function that takes the step of a number on `side`."""
    torch.manual_seed(1)
    dictionary = Dictionary.from_items(chr(0x100 + number) for number in range(ENTRIES))
    model = LanguageModel.from_config(config, dictionary, is_forward_lm=True).train()
    group = ProcessGroup(rank, 2, rank) if side == BUCKETS else ProcessGroup()
    share = config if side in (ALONE, BUCKETS) else replace(config, mini_batch_size=config.mini_batch_size // 2)
    bptt = TruncatedBPTT(model, share, group, "fp32")
    if side == AFTER:
        bptt._gradients = AfterBackward(list(model.parameters()))
    rows = 40 * config.sequence_length + 1
    ids = np.random.default_rng(1).integers(0, ENTRIES, size=(rows, share.mini_batch_size), dtype=np.uint8)
    streams: ShardStreams = bptt.prepare(ids)
    return lambda number: bptt.step(
        streams, number * config.sequence_length, sequence_length=config.sequence_length, learning_rate=1e-3
    )


def parameter_bytes(config: TrainingConfig) -> int:
    dictionary = Dictionary.from_items(chr(0x100 + number) for number in range(ENTRIES))
    model = LanguageModel.from_config(config, dictionary, is_forward_lm=True)
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def render(measured: dict, options: argparse.Namespace) -> str:
    seconds = measured["seconds"]
    wall = {side: statistics.median(step[0] for step in steps) for side, steps in seconds.items()}
    cpu = {side: statistics.median(step[1] for step in steps) for side, steps in seconds.items()}
    rows = []
    for side in SIDES:
        gain = statistics.median(alone[0] / own[0] for alone, own in zip(seconds[ALONE], seconds[side], strict=True))
        exchange = "" if side in (ALONE, NOTHING) else f"{1 - wall[NOTHING] / wall[side]:.1%}"
        rows.append(f"| {side} | {1000 * wall[side]:,.0f} ms | {gain:.2f}x | {1000 * cpu[side]:,.0f} ms | {exchange} |")
    return "\n".join(
        [
            "# Two processes of training beside one",
            "",
            f"`benchmarks/nodes.py`: hidden {options.hidden}, mini-batch {options.batch}, sequences of 100, fp32, "
            f"{measured['bytes'] / 1e6:.1f} MB of gradients through gloo on one machine ({os.cpu_count()} cores), one "
            f"thread each; medians of {options.rounds} interleaved steps.",
            "",
            "| side | wall of a step | against one | CPU of a step, all processes | share of the exchange |",
            "| --- | ---: | ---: | ---: | ---: |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
