"""Taggers and classifiers beside Flair's: same data, same language models, same settings.

Every training runs in a process of its own with one thread; the sides alternate, and CPU seconds are counted, so other
work on the machine affects both sides equally. An epoch is training and the scoring of the dev sentences. charlm keeps
vectors in a file (`embeddings_storage_mode="cpu"`), which is empty at the first seed: the first epoch of the others
shows what a second experiment on the same text costs. Two more sides show what language models bring: a tagger on word
vectors and language models, as in Flair's tutorial, and the same without the latter; the gain is resampled over test
sentences.

Usage: python benchmarks/downstream.py --flair-python .venv-flair/bin/python --data FOLDER --models FORWARD BACKWARD \\
           --vectors FILE --results FOLDER
The data folder holds ud-english-ewt/, ncbi-disease/ and trec/ as they are published.
Writes docs/benchmarks/downstream.md
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from charlm.data import Corpus, Sentence  # noqa: E402
from charlm.data.spans import spans_of, tags_of  # noqa: E402
from charlm.datasets import TREC_6, UD_ENGLISH, ColumnCorpus  # noqa: E402
from charlm.evaluation.bootstrap import interval_of, resampled_ratios  # noqa: E402
from charlm.evaluation.labels import score_labels, score_spans  # noqa: E402
from charlm.nn.precision import can_compute_bf16, instruction_set  # noqa: E402

REPORT = HERE.parent / "docs" / "benchmarks" / "downstream.md"
WITH, WITHOUT = "word vectors and language models", "word vectors alone"
SIDES = ("Flair", "ours, fp32", "ours, bf16", WITH, WITHOUT)
Label = tuple[int | None, int | None, str]
"""Start, stop and value of a span; no stop for a word, and no start for a text."""


@dataclass(frozen=True)
class Task:
    """What is learned, and how it reaches both programs."""

    name: str
    score: str
    kind: str
    """`words`, `spans` or `classifier`."""
    open: Callable[[Path], Corpus]
    labels: Callable[[Sentence], Sequence[Label]]
    epochs: int
    optimizer: str = "SGD"
    learning_rate: float = 0.1
    is_gain_shown: bool = True


TASKS = {
    "ewt": Task(
        "EWT",
        "accuracy",
        "words",
        lambda f: UD_ENGLISH(f / "ud-english-ewt"),
        lambda s: [(place, None, tag) for place, tag in enumerate(tags_of(s, "upos"))],
        epochs=5,
    ),
    "ncbi": Task(
        "NCBI-disease",
        "span F1",
        "spans",
        lambda f: ColumnCorpus(
            f / "ncbi-disease", {0: "text", 1: "ner"}, "train.tsv", "test.tsv", "devel.tsv", check_tags=False
        ),
        lambda s: spans_of(s, "ner"),
        epochs=6,
        optimizer="Adam",  # SGD at 0.1 has come nowhere after so few epochs, and seeds differ by ten points
        learning_rate=0.002,
    ),
    "trec": Task(
        "TREC-6",
        "accuracy",
        "classifier",
        lambda f: TREC_6(f / "trec"),
        lambda s: [(None, None, s.get_label("class").value)],
        epochs=10,
        is_gain_shown=False,
    ),
}


@dataclass
class Runs:
    """All trainings of one side for one task, a seed each."""

    results: list[dict[str, Any]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    @property
    def scores(self) -> list[float]:
        return [100 * result["score"] for result in self.results]

    @property
    def first_epoch(self) -> float:
        """Seconds of the first epoch of the first seed, which nothing was stored for."""
        return float(self.results[0]["seconds"][0])

    @property
    def stored_first_epoch(self) -> float | None:
        """The same of the later seeds."""
        return min((result["seconds"][0] for result in self.results[1:]), default=None)

    @property
    def epoch(self) -> float:
        """Seconds of an epoch behind the first."""
        return median(seconds for result in self.results for seconds in result["seconds"][1:])

    @property
    def peak(self) -> float:
        return max(result["peak_mb"] for result in self.results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flair-python", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs=2, required=True, metavar=("FORWARD", "BACKWARD"))
    parser.add_argument("--vectors", type=Path, help="word vectors of the last two sides")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--results", type=Path, required=True, help="a folder for the trainings")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--sentences", type=int, help="most sentences of each split, for a trial")
    options = parser.parse_args()
    cpu = torch.device("cpu")
    if "ours, bf16" in options.sides and not can_compute_bf16(cpu):
        options.sides.remove("ours, bf16")
        print(f"without bf16, which this processor ({instruction_set(cpu)}) does not compute", file=sys.stderr)
    found = {task: run_task(TASKS[task], options.results / task, options) for task in options.tasks}
    report = render(found, options)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(report)
    print(report)


def run_task(task: Task, folder: Path, options: argparse.Namespace) -> dict[str, Runs]:
    """Train every side with every seed, one after the other, but what has its result in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = task.open(options.data)
    splits = {"train": corpus.train, "dev": corpus.dev, "test": corpus.test}
    text = {
        name: [(s.words, task.labels(s)) for s in sentences[: options.sentences] if len(s)]
        for name, sentences in splits.items()
    }
    is_gain_shown = task.is_gain_shown and options.vectors is not None
    runs = {side: Runs() for side in options.sides if side not in (WITH, WITHOUT) or is_gain_shown}
    for seed in options.seeds:
        for side, side_runs in runs.items():
            job = folder / f"{side.replace(' ', '-')}-{seed}.json"
            if not job.with_suffix(".result.json").exists():
                if seed == options.seeds[0]:  # a training that was stopped has stored vectors
                    shutil.rmtree(cache_of(job, side), ignore_errors=True)
                train(task, side, seed, job, text, options)
            side_runs.results.append(json.loads(job.with_suffix(".result.json").read_text()))
            side_runs.folders.append(job.with_suffix(""))
            print(f"{task.name} seed {seed} {side}: {side_runs.scores[-1]:.2f}", file=sys.stderr, flush=True)
    return runs


def train(task: Task, side: str, seed: int, job: Path, text: dict[str, Any], options: argparse.Namespace) -> None:
    """Train in a process of its own; what it found is written beside its job."""
    content = {
        "side": "flair" if side == "Flair" else "charlm",
        "task": task.kind,
        "text": text,
        "labels": sorted({value for part in text.values() for _, labels in part for *_, value in labels}),
        "models": [] if side == WITHOUT else options.models,
        "vectors": str(options.vectors) if side in (WITH, WITHOUT) else None,
        "hidden_size": options.hidden,
        "seed": seed,
        "precision": {"ours, fp32": "fp32", "ours, bf16": "bf16"}.get(side, "auto"),
        "folder": str(job.with_suffix("")),
        "optimizer": task.optimizer,
        "settings": {"learning_rate": task.learning_rate, "mini_batch_size": 32, "max_epochs": task.epochs},
    }
    job.write_text(json.dumps(content))
    python = options.flair_python if side == "Flair" else sys.executable
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CHARLM_CACHE": str(cache_of(job, side)),
        "PYTHONPATH": "" if side == "Flair" else str(HERE.parent),
    }
    command = [python, HERE / "downstream_run.py", job]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(f"{side} has failed: {process.stderr[-2000:]}")


def cache_of(job: Path, side: str) -> Path:
    """Where one side keeps the vectors of one task."""
    return job.parent / f"cache-{side}"


# ---- the report ----------------------------------------------------------------------------------------------------


def render(found: dict[str, dict[str, Runs]], options: argparse.Namespace) -> str:
    usage = (__doc__ or "").split("Usage:")[0].split("\n", 1)
    tasks = [TASKS[name] for name in found]
    lines = [
        "# Taggers and classifiers: beside Flair 0.15.1",
        "",
        usage[1].strip(),
        "",
        f"Mini-batches of 32, hidden size {options.hidden}, seeds {', '.join(map(str, options.seeds))}; "
        + ", ".join(f"{task.name} {task.epochs} epochs of {task.optimizer} at {task.learning_rate:g}" for task in tasks)
        + ". Scores are those of the best model on the test sentences, in percent; times are processor seconds.",
        "",
        "| task | side | score | of each seed | first epoch | stored | later epochs | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task, runs in found.items():
        for side, side_runs in runs.items():
            stored = side_runs.stored_first_epoch
            cells = [
                f"{TASKS[task].name} {TASKS[task].score}",
                side,
                f"{fmean(side_runs.scores):.2f}",
                ", ".join(f"{score:.2f}" for score in side_runs.scores),
                f"{side_runs.first_epoch:.1f}",
                "" if stored is None or side == "Flair" else f"{stored:.1f}",
                f"{side_runs.epoch:.1f}",
                f"{side_runs.peak:,.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| task | side | score less Flair's | first epoch | later epochs |",
        "| --- | --- | --- | --- | --- |",
    ]
    for task, runs in found.items():
        for side in ("ours, fp32", "ours, bf16"):
            if side in runs and "Flair" in runs:
                ours, flair = runs[side], runs["Flair"]
                lines.append(
                    f"| {TASKS[task].name} | {side} | {fmean(ours.scores) - fmean(flair.scores):+.2f} | "
                    f"{flair.first_epoch / ours.first_epoch:.1f}x | {flair.epoch / ours.epoch:.1f}x |"
                )
    gains = [gain_line(TASKS[task], runs) for task, runs in found.items() if WITH in runs and WITHOUT in runs]
    return "\n".join([*lines, "", *gains]).rstrip() + "\n"


def gain_line(task: Task, runs: dict[str, Runs]) -> str:
    """What the language models bring, with its interval over test sentences and all seeds."""
    with_models, without = (counts(task, runs[side]) for side in (WITH, WITHOUT))
    values = []
    for side in (with_models, without):  # the same generator state, so the same sentences are drawn for both
        generator = np.random.default_rng(1)
        values.append(resampled_ratios(2 * side[:, 0], side[:, 1] + side[:, 2], rounds=2_000, generator=generator))
    low, high = interval_of(100 * (values[0] - values[1]), 0.95)
    gain = fmean(runs[WITH].scores) - fmean(runs[WITHOUT].scores)
    return (
        f"* {task.name}: language models bring {gain:+.2f} points of {task.score} "
        f"(95 % interval {low:+.2f} to {high:+.2f})"
    )


def counts(task: Task, runs: Runs) -> np.ndarray:
    """Correct, predicted and true labels of every test sentence, summed over the seeds, (sentences, 3)."""
    seeds = []
    for folder in runs.folders:
        blocks = (folder / "test.tsv").read_text().rstrip("\n").split("\n\n")
        rows = []
        for block in blocks:
            _, true, predicted, _ = zip(*(line.split("\t") for line in block.split("\n")), strict=True)
            score = score_spans([true], [predicted]) if "span" in task.score else score_labels(true, predicted)
            rows.append((score.total.correct, score.total.predicted, score.total.true))
        seeds.append(rows)
    return np.array(seeds).sum(axis=0)


if __name__ == "__main__":
    main()
