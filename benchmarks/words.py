"""Language models of words: speed beside a plain loop, and validation perplexity by CPU minutes, on WikiText-2.

The peer is a loop as in pytorch/examples' word_language_model, written anew here: an LSTM of two layers of 200, tied
weights, SGD at 20, 20 streams, sequences of 35. Speeds are words per CPU second of this process on one thread; all
programs take turns, so that whatever else the machine does meets them alike.

    python -m benchmarks.words speed CORPUS                 a corpus prepared from WikiText-2 (docs/benchmarks/words.md)
    python -m benchmarks.words curve CORPUS RECIPE [field=value …] --run FOLDER
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.distributed.group import ProcessGroup
from charlm.language_models.language_model import LanguageModel
from charlm.malloc import keep_freed_memory
from charlm.nn.precision import instruction_set
from charlm.recipes import changed_recipe
from charlm.trainers.events import Event
from charlm.trainers.lm.bptt import TruncatedBPTT
from charlm.trainers.lm.build import build_engine, item_counts
from charlm.trainers.lm.engine import StopSignal
from charlm.trainers.lm.manifest import create_run
from charlm.trainers.lm.text_corpus import TextCorpus

PEER_STREAMS, PEER_LENGTH = 20, 35


class PeerModel(nn.Module):
    """Embedding, LSTM, and a linear layer with the weights of the embedding."""

    def __init__(self, size: int, width: int = 200) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.embedding = nn.Embedding(size, width)
        self.lstm = nn.LSTM(width, width, 2, dropout=0.2)
        self.linear = nn.Linear(width, size)
        self.linear.weight = self.embedding.weight
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.zeros_(self.linear.bias)

    def forward(self, ids: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, state = self.lstm(self.drop(self.embedding(ids)), state)
        return nn.functional.log_softmax(self.linear(self.drop(output)).flatten(0, 1), dim=1), state


def peer_steps(streams: np.ndarray, size: int) -> Iterator[int]:
    """Train the peer step by step; yields the words of each."""
    torch.manual_seed(1)
    model, state = PeerModel(size), None
    rows = torch.from_numpy(streams.astype(np.int64))
    for start in range(0, len(rows) - PEER_LENGTH - 1, PEER_LENGTH):
        if state is not None:
            state = (state[0].detach(), state[1].detach())
        model.zero_grad()
        output, state = model(rows[start : start + PEER_LENGTH], state)
        loss = nn.functional.nll_loss(output, rows[start + 1 : start + PEER_LENGTH + 1].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(parameter.grad, alpha=-20.0)
        loss.item()
        yield PEER_LENGTH * PEER_STREAMS


def our_steps(config: TrainingConfig, corpus: TextCorpus, corpus_dir: Path, precision: str) -> Iterator[int]:
    """Train ours step by step; yields the words of each."""
    torch.manual_seed(1)
    run = RunConfig(run_dir=".", corpus_dir=str(corpus_dir), direction="forward", training=config)
    counts = item_counts(run, corpus.dictionary)
    model = LanguageModel.from_config(config, corpus.dictionary, is_forward_lm=True, counts=counts)
    print(f"  {config.recipe}, {config.softmax}: cutoffs {model.cutoffs}", flush=True)
    bptt = TruncatedBPTT(model, config, ProcessGroup(), precision)
    model.train()
    streams = bptt.load(bptt.prepare(corpus.streams(0, config.mini_batch_size, seed=1, epoch=0)))
    row = 0
    while row < len(streams) - 1:
        rows = bptt.step(streams, row, sequence_length=config.sequence_length, learning_rate=config.learning_rate / 10)
        row += rows
        yield rows * config.mini_batch_size


@keep_freed_memory()
def speed(corpus_dir: Path, *, rounds: int, seconds: float, only: list[str]) -> None:
    """Print words per CPU second of each program, and its ratio to the peer, as medians of the rounds."""
    dictionary = Dictionary.load_from_file(CorpusFiles(corpus_dir).dictionary)
    corpus = TextCorpus(corpus_dir, dictionary, True, shuffle=False, random_case_flip=False)
    exact, word_cpu = changed_recipe("standard_lstm_lm_200", []), changed_recipe("word_cpu", [])
    variants = {
        "exact fp32": (exact, "fp32"),
        "exact bf16": (exact, "bf16"),
        "exact bf16, word_cpu": (replace(word_cpu, softmax="exact"), "bf16"),
        "clustered fp32": (word_cpu, "fp32"),
        "clustered bf16": (word_cpu, "bf16"),
    }
    programs: dict[str, Iterator[int]] = {
        "peer": peer_steps(corpus.streams(0, PEER_STREAMS, seed=1, epoch=0), len(dictionary)),
        **{name: our_steps(config, corpus, corpus_dir, kind) for name, (config, kind) in variants.items()},
    }
    programs = {name: program for name, program in programs.items() if name == "peer" or not only or name in only}
    speeds: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        next(program), next(program)
    for _ in range(rounds):
        for name, program in programs.items():
            started, words = time.process_time(), 0
            while (elapsed := time.process_time() - started) < seconds:
                words += next(program)
            speeds[name].append(words / elapsed)
    print(f"{instruction_set(torch.device('cpu'))}; dictionary {len(dictionary):,}")
    for name, values in speeds.items():
        ratio = statistics.median(own / peer for own, peer in zip(values, speeds["peer"], strict=True))
        print(f"{name:24} {statistics.median(values):8,.0f} words/s  {ratio:5.2f} x peer  {[round(v) for v in values]}")


class Curve:
    """Prints CPU minutes in steps, words and perplexity at each validation."""

    def __init__(self, path: Path) -> None:
        self.cpu_seconds = 0.0
        self.words = 0
        self._path = path

    def timed(self, step: Callable[..., int], streams: int) -> Callable[..., int]:
        def run(*arguments: object, **settings: object) -> int:
            started = time.process_time()
            rows = step(*arguments, **settings)
            self.cpu_seconds += time.process_time() - started
            self.words += rows * streams
            return rows

        return run

    def on_event(self, event: Event) -> None:
        if event["event"] not in ("validation", "test"):
            return
        if event["event"] == "validation":
            scores = {"valid": event["perplexity"], "learning_rate": event["learning_rate"]}
        else:
            scores = {name: event[name]["perplexity"] for name in ("valid", "test")}  # type: ignore[literal-required]
        row = {
            "event": event["event"],
            "cpu_minutes": round(self.cpu_seconds / 60, 2),
            "words": self.words,
            **scores,
            "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
        }
        print(json.dumps(row), flush=True)


def curve(corpus_dir: Path, recipe: str, settings: list[str], run_dir: Path) -> None:
    """Train, and print what each validation found."""
    config = changed_recipe(recipe, settings)
    files = RunFiles(run_dir)
    dictionary = Dictionary.load_from_file(CorpusFiles(corpus_dir).dictionary)
    if not files.manifest.exists():
        create_run(
            RunConfig(
                run_dir=str(run_dir.resolve()), corpus_dir=str(corpus_dir.resolve()), direction="forward",
                training=config, num_threads=1, device="cpu",
            ),
            dictionary,
        )  # fmt: skip
    observer = Curve(run_dir)
    engine = build_engine(files, ProcessGroup(), StopSignal(), (observer,))
    engine.bptt.step = observer.timed(engine.bptt.step, config.mini_batch_size)  # type: ignore[method-assign]
    print(f"{recipe} {settings}: {engine.precision}, cutoffs {engine.model.cutoffs}", flush=True)
    engine.train(resume=files.checkpoint.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_speed = commands.add_parser("speed")
    of_speed.add_argument("corpus", type=Path)
    of_speed.add_argument("--rounds", type=int, default=5)
    of_speed.add_argument("--seconds", type=float, default=4.0)
    of_speed.add_argument("--only", nargs="*", default=[], help="programs beside the peer; all by default")
    of_curve = commands.add_parser("curve")
    of_curve.add_argument("corpus", type=Path)
    of_curve.add_argument("recipe")
    of_curve.add_argument("settings", nargs="*")
    of_curve.add_argument("--run", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "speed":
        speed(arguments.corpus, rounds=arguments.rounds, seconds=arguments.seconds, only=arguments.only)
    else:
        run_dir = arguments.run or Path(tempfile.mkdtemp(prefix="words-")) / "run"
        curve(arguments.corpus, arguments.recipe, arguments.settings, run_dir)


if __name__ == "__main__":
    main()
