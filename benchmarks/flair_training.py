"""Flair's side of the training benchmarks; run by Flair's own interpreter.

Drives Flair's real LanguageModelTrainer on one shard and looks on from its loss function. Every `--snapshot` seconds of
training time (the time this script takes is not counted) the weights are saved; they are scored later, with the same
scorer as ours.

Writes OUTPUT/result.json   {"characters_per_second": x, "snapshots": [{"seconds": s, "characters": n, "file": f}, ...]}
"""

import argparse
import contextlib
import json
import statistics
import time
from pathlib import Path

import torch
from flair.data import Dictionary
from flair.models import LanguageModel
from flair.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus


class BudgetSpentError(Exception):
    """Ends Flair's trainer from inside."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--snapshot", type=float, default=float("inf"))
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--sequence-length", type=int, default=100)
    parser.add_argument("--mini-batch-size", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    dictionary = Dictionary.load_from_file(options.corpus / "dictionary" / "char_mappings")
    corpus = TextCorpus(options.corpus, dictionary, True, character_level=True)
    model = LanguageModel(dictionary, True, options.hidden, 1, dropout=0.1)
    trainer = LanguageModelTrainer(model, corpus)
    cross_entropy = trainer.loss_function
    options.output.mkdir(parents=True, exist_ok=True)

    state = {"last": None, "seconds": 0.0, "characters": 0, "next": options.snapshot}
    steps: list[float] = []
    snapshots: list[dict] = []

    def watched(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():  # Flair's own validation: its time is not counted
            state["last"] = None
            return cross_entropy(prediction, target)
        now = time.perf_counter()
        if state["last"] is not None:
            steps.append(now - state["last"])
            state["seconds"] += now - state["last"]
        state["characters"] += target.numel()
        if state["seconds"] >= state["next"] or state["seconds"] >= options.seconds:
            path = options.output / f"snapshot-{len(snapshots):03d}.pt"
            model.save(path)
            model.train()
            snapshots.append({"seconds": state["seconds"], "characters": state["characters"], "file": path.name})
            state["next"] += options.snapshot
            if state["seconds"] >= options.seconds:
                raise BudgetSpentError
        state["last"] = time.perf_counter()
        return cross_entropy(prediction, target)

    trainer.loss_function = watched
    with contextlib.suppress(BudgetSpentError):
        trainer.train(
            options.output / "run",
            sequence_length=options.sequence_length,
            mini_batch_size=options.mini_batch_size,
            learning_rate=20,
            patience=10,
            max_epochs=1000,
            num_workers=0,
            use_amp=options.amp,
        )
    units = options.sequence_length * options.mini_batch_size
    result = {"characters_per_second": units / statistics.median(steps), "snapshots": snapshots}
    (options.output / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
