"""What a training will need: minutes, memory and disk, from a short calibration on this machine.

The calibration is a real training of some seconds with the same settings, in a process and a folder of its own; speed,
memory and file sizes are what it was seen to take, scaled to the budget. Nothing of it is kept.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError, RunError
from charlm.storage.atomic import JsonObject, write_json
from charlm.trainers.lm.optimization import Budget, shortened_sequence_length
from charlm.trainers.lm.text_corpus import TextCorpus

CALIBRATION_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What one direction will need."""

    characters: int
    """Characters it will read."""

    characters_per_second: float
    """Throughput seen in the calibration."""

    training_minutes: float
    """Minutes in optimizer steps."""

    scoring_minutes: float
    """Minutes in validations and the final scores."""

    memory_bytes: int
    """Greatest resident memory of the training processes."""

    gpu_memory_bytes: int | None = None
    """The most memory that each process has held on its GPU; None on a CPU."""

    disk_bytes: int
    """What the run folder holds at most: a checkpoint is written beside the one it replaces."""

    precision: str
    """The one that was used: `bf16` that is not possible here is `fp32`."""

    device: str
    instruction_set: str
    kernel: str
    """What computes an LSTM: a compiled kernel of charlm/native, or `torch`."""

    num_threads: int
    notice: str | None = None
    """What else the calibration found that a user should know, such as a precision that is not possible here."""

    @property
    def minutes(self) -> float:
        return self.training_minutes + self.scoring_minutes

    def to_json(self) -> JsonObject:
        values = {"minutes": self.minutes, **dataclasses.asdict(self)}
        return {name: value for name, value in values.items() if name != "gpu_memory_bytes" or value is not None}


def plan_training(
    corpus: CorpusFiles,
    config: TrainingConfig,
    *,
    num_threads: int = 0,
    num_processes: int = 1,
    device: str = "auto",
    calibration_seconds: float = CALIBRATION_SECONDS,
) -> TrainingPlan:
    """Train for `calibration_seconds`, and work out what a training of `config` on `corpus` will need.

    A training that is shorter is its own calibration.
    Raises CorpusError when the corpus is not prepared, RunError when the calibration fails (out of memory, say).
    """
    if not corpus.dictionary.is_file():
        raise CorpusError(f"{corpus.root} has no dictionary; prepare it first")
    text = TextCorpus(corpus.root, Dictionary.load_from_file(corpus.dictionary), True)
    budget = Budget.of(
        config,
        units_per_epoch=text.trained_units(config.mini_batch_size),
        characters_per_unit=text.characters_per_unit,
    )
    characters = budget.units * text.characters_per_unit
    with tempfile.TemporaryDirectory(prefix="charlm-plan-") as folder:
        run = RunFiles(Path(folder) / "run")
        short = dataclasses.replace(
            config,
            max_minutes=min(calibration_seconds, budget.seconds) / 60,
            schedule="linear",
            validations=1,
        )
        if budget.seconds > calibration_seconds:  # the length of the whole training, not of so short a one
            steps = budget.units / (config.mini_batch_size * config.sequence_length * config.gradient_accumulation)
            short = dataclasses.replace(short, min_steps=None, sequence_length=shortened_sequence_length(config, steps))
        settings = RunConfig(
            run_dir=str(run.root),
            corpus_dir=str(corpus.root.resolve()),
            direction="forward",
            training=short,
            num_threads=num_threads,
            num_processes=num_processes,
            device=device,
        )
        events = _calibrate(run, settings)
        checkpoint_bytes, model_bytes = run.checkpoint.stat().st_size, run.best_lm.stat().st_size
    speed = events["end"]["characters_per_second"]
    sample = events["validation"]["held_out_characters"]
    held_out = events["test"]["valid"]["characters"] + events["test"]["test"]["characters"]
    # After the last step come one validation, and the best model's scores on both held-out texts.
    scoring_speed = (sample + held_out) / max(events["test"]["time"] - events["train"]["time"], 1e-3)
    validations = config.validations or max(1, round(budget.units / text.num_units * len(text.shards)))
    training_seconds = min(characters / speed, budget.seconds)
    return TrainingPlan(
        characters=min(round(characters), round(training_seconds * speed)),
        characters_per_second=speed,
        training_minutes=training_seconds / 60,
        scoring_minutes=(validations * sample + held_out) / scoring_speed / 60,
        memory_bytes=events["end"]["peak_memory_bytes"],
        gpu_memory_bytes=events["end"].get("peak_gpu_memory_bytes"),
        disk_bytes=2 * checkpoint_bytes + 2 * model_bytes,
        precision=events["start"]["precision"],
        device=events["start"]["device"],
        instruction_set=events["start"]["instruction_set"],
        kernel=events["start"]["kernel"],
        num_threads=events["start"]["num_threads"],
        notice=events.get("guard", {}).get("reason"),
    )


def _calibrate(run: RunFiles, settings: RunConfig) -> dict[str, JsonObject]:
    """Train for some seconds in a process of its own; the last event of each kind."""
    path = run.root.parent / "calibration.json"
    write_json(path, settings.to_json())
    command = [sys.executable, "-m", "charlm.trainers.run", str(path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise RunError(f"the calibration failed: {reason[0].removeprefix('error: ')}")
    events = [json.loads(line) for line in run.journal.read_bytes().splitlines()]
    return {event["event"]: event for event in events}
