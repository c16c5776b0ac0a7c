"""Characters per second of training on one GPU, beside Flair's loop.

Needs the core packages alone (torch, numpy, pyarrow, safetensors, xxhash). Flair's loop is restated here in plain
torch: the same shapes, SGD at 20, clipping at 0.25, every batch sent to the device by itself, in fp32 and with
autocast. Ours is the training process itself, with everything it does besides.

Usage: python benchmarks/gpu.py [--hidden 1024 2048] [--seconds 15]
Writes docs/benchmarks/gpu.md

Ends with exit code 2 where there is no GPU; `--device cpu` tries the benchmark itself.
"""

# T = sequence length, B = mini-batch size, E = embedding size, H = hidden size, V = dictionary size

import argparse
import json
import pydoc_data.topics
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.artifacts import CorpusFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.language_models.language_model import LanguageModel
from charlm.nn.precision import can_compute_bf16, resolve_precision
from charlm.recipes import gpu_base
from charlm.storage.atomic import write_json
from charlm.trainers.lm.optimization import build_optimizer

TABLE = Path(__file__).parent.parent / "docs" / "benchmarks" / "gpu.md"
WARM_UP_STEPS = 5
CHARACTERS_PER_WORD = 6.0
"""English, with the space behind a word: what a billion words are worked out with."""

Step = Callable[[Tensor, Tensor], None]
"""One optimizer step on inputs and targets, (T, B) each."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured at one hidden size; speeds are characters per second."""

    hidden: int
    flair_fp32: float
    flair_autocast: float | None
    """None where the device computes no bf16."""

    ours: float
    """Our training process at Flair's mini-batch size."""

    best_batch: int
    ours_at_best: float
    loop_at_best: float
    """The same steps alone, on text that lies on the device already."""

    share_of_peak: float

    @property
    def waiting_share(self) -> float:
        """Share of the time that the device waits for what our process does between the steps."""
        return max(0.0, 1 - self.ours_at_best / self.loop_at_best)

    @property
    def hours_for_a_billion_words(self) -> float:
        return 1e9 * CHARACTERS_PER_WORD / self.ours_at_best / 3600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--hidden", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--sequence-length", type=int, default=250)
    parser.add_argument("--batches", type=int, nargs="+", default=[100, 200, 400, 800, 1600])
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--characters", type=int, default=40_000_000, help="size of the text")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="charlm-gpu-") as folder:
        corpus = write_corpus(Path(folder) / "corpus", options.characters)
        peak = matmul_peak(device, resolve_precision("auto", device), seconds=options.seconds / 10)
        rows = [measure(hidden, corpus, Path(folder), peak, options) for hidden in options.hidden]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(render(rows, peak, device, options))
    print(options.output.read_text())
    return 0


def measure(hidden: int, corpus: CorpusFiles, folder: Path, peak: float, options: argparse.Namespace) -> Row:
    device, smallest = torch.device(options.device), options.batches[0]
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    config = replace(
        gpu_base(), hidden_size=hidden, sequence_length=options.sequence_length, mini_batch_size=smallest,
        learning_rate=1e-3, validations=1, max_characters=None, max_epochs=None, max_minutes=options.seconds / 60,
    )  # fmt: skip

    def loop(step: Step, batch: int, source: torch.device) -> float:
        text = corpus.shards()[0].read_text(encoding="utf-8")
        ids = torch.from_numpy(dictionary.encode(text).astype("int64"))
        streams = ids[: len(ids) // batch * batch].view(batch, -1).t().contiguous().to(source)  # (rows, B)
        return time_steps(step, streams, options.sequence_length, device, seconds=options.seconds / 3)

    def our_loop(batch: int) -> float:
        return loop(our_step(dictionary, replace(config, mini_batch_size=batch), device), batch, device)

    cpu = torch.device("cpu")
    flair = {
        autocast: loop(flair_step(dictionary, hidden, device, autocast=autocast), smallest, cpu)
        for autocast in ((False, True) if can_compute_bf16(device) else (False,))
    }
    speeds = {}
    for batch in options.batches:
        try:
            speeds[batch] = our_loop(batch)
        except torch.OutOfMemoryError:
            break
        finally:
            if device.type == "cuda":
                torch.cuda.empty_cache()
        say(f"hidden {hidden}, B={batch}: {speeds[batch]:,.0f} characters/s in steps")
    best = max(speeds, key=lambda batch: speeds[batch])
    ours = {
        batch: train(corpus, folder / f"run-{hidden}-{batch}", replace(config, mini_batch_size=batch), options.device)
        for batch in {smallest, best}
    }
    row = Row(
        hidden=hidden,
        flair_fp32=flair[False],
        flair_autocast=flair.get(True),
        ours=ours[smallest],
        best_batch=best,
        ours_at_best=ours[best],
        loop_at_best=speeds[best],
        share_of_peak=ours[best] * operations(config, len(dictionary)) / peak,
    )
    say(f"hidden {hidden}: Flair {row.flair_fp32:,.0f}, ours {row.ours:,.0f}, at best {row.ours_at_best:,.0f}")
    return row


def say(line: str) -> None:
    print(line, file=sys.stderr)


# ---- what is measured ----------------------------------------------------------------------------------------------


def flair_step(dictionary: Dictionary, hidden: int, device: torch.device, *, autocast: bool) -> Step:
    """A step of Flair's trainer; `autocast` is its `use_amp`: half precision with a scaler, bf16 on a CPU."""
    model = LanguageModel(dictionary, True, hidden, 1, dropout=0.1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=20.0)
    scaler = torch.amp.GradScaler(device.type, enabled=autocast and device.type != "cpu")
    state = model.init_hidden(1)
    total = torch.zeros(1, device=device)

    def step(inputs: Tensor, targets: Tensor) -> None:
        nonlocal state
        inputs, targets = inputs.to(device), targets.to(device)
        if state[0].shape[1] != inputs.shape[1]:
            state = model.init_hidden(inputs.shape[1])
        optimizer.zero_grad()
        with torch.autocast(device.type, enabled=autocast):
            logits, _, state = model(inputs, state)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        scaler.step(optimizer)
        scaler.update()
        total.add_(loss.detach())
        state = (state[0].detach(), state[1].detach())

    return step


def our_step(dictionary: Dictionary, config: TrainingConfig, device: torch.device) -> Step:
    """A step of our engine, without what the engine does between the steps."""
    model = LanguageModel.from_config(config, dictionary, is_forward_lm=True).to(device)
    optimizer = build_optimizer(config, model)
    is_bf16 = resolve_precision(config.precision, device) == "bf16"
    state = None
    total = torch.zeros((), dtype=torch.float64, device=device)

    def step(inputs: Tensor, targets: Tensor) -> None:
        nonlocal state
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, is_bf16):
            logits, _, (hidden, cell) = model(inputs, state)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        total.add_(loss.detach())
        state = (hidden.detach(), cell.detach())

    return step


def autocast(device: torch.device, is_enabled: bool) -> AbstractContextManager[None]:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_enabled)


def time_steps(step: Step, streams: Tensor, length: int, device: torch.device, *, seconds: float) -> float:
    """Characters per second of `step` on (rows, B) streams, after a few steps to warm up."""
    rows = len(streams) - 1
    position = characters = 0
    started = time.perf_counter()
    for number in range(10**9):
        if number == WARM_UP_STEPS:
            wait_for(device)
            started, characters = time.perf_counter(), 0
        if number > WARM_UP_STEPS and time.perf_counter() - started > seconds:
            break
        if position + length > rows:
            position = 0
        step(streams[position : position + length], streams[position + 1 : position + length + 1])
        position += length
        characters += length * streams.shape[1]
    wait_for(device)
    return characters / (time.perf_counter() - started)


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def train(corpus: CorpusFiles, run_dir: Path, config: TrainingConfig, device: str) -> float:
    """Characters per second of our training process, the median of its reports."""
    settings = RunConfig(
        run_dir=str(run_dir), corpus_dir=str(corpus.root), direction="forward", training=config, device=device
    )
    path = run_dir.with_suffix(".json")
    write_json(path, settings.to_json())
    subprocess.run([sys.executable, "-m", "charlm.trainers.run", str(path)], check=True, stdout=subprocess.DEVNULL)
    events = [json.loads(line) for line in (run_dir / "journal.jsonl").read_text().splitlines()]
    reports = [event["characters_per_second"] for event in events if event["event"] == "train"]
    return statistics.median(reports[1:] or reports)


def matmul_peak(device: torch.device, precision: str, *, seconds: float, size: int = 8192) -> float:
    """Operations per second of large matrix products, which nothing on this device goes beyond."""
    size = size if device.type == "cuda" else 512
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    product = matrix @ matrix
    wait_for(device)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            torch.matmul(matrix, matrix, out=product)
        wait_for(device)
        count += 10
    return count * 2 * size**3 / (time.perf_counter() - started)


def operations(config: TrainingConfig, dictionary_size: int) -> float:
    """Multiplications and additions that training spends on a character; backward costs twice what forward does."""
    hidden, inputs = config.hidden_size, config.embedding_size
    weights = 4 * hidden * (inputs + hidden) + hidden * dictionary_size
    return 3 * 2 * weights


# ---- text and table ------------------------------------------------------------------------------------------------


def write_corpus(root: Path, characters: int) -> CorpusFiles:
    """A corpus of about so many characters: the interpreter's documentation again and again, in two shards."""
    text = "".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    corpus = CorpusFiles(root)
    corpus.train_dir.mkdir(parents=True)
    for number in (1, 2):
        repeated = text * (characters // 2 // len(text) + 1)
        (corpus.train_dir / f"train_split_{number:04d}").write_text(repeated[: characters // 2], encoding="utf-8")
    for path in (corpus.valid, corpus.test):
        path.write_text(text[:100_000], encoding="utf-8")
    Dictionary.from_items(character for character, _ in Counter(text).most_common()).save(corpus.dictionary)
    return corpus


def render(rows: list[Row], peak: float, device: torch.device, options: argparse.Namespace) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU, which says nothing"
    smallest = options.batches[0]
    lines = [
        "# Training speed on a GPU",
        "",
        f"`benchmarks/gpu.py` on {name}, torch {torch.__version__}: one layer, T={options.sequence_length}, "
        f"characters a second. Flair's loop is restated in plain torch, at B={smallest}; ours is the whole "
        f"training process, at B={smallest} and at the best B. Large matrix products reach {peak / 1e12:,.1f} TFLOP/s.",
        "",
        "| hidden | Flair fp32 | Flair autocast | charlm | against fp32 | best B | charlm | against fp32 | of peak "
        "| device waits | hours for 1e9 words |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.hidden} | {row.flair_fp32:,.0f} | {_speed(row.flair_autocast)} "
        f"| {row.ours:,.0f} | {row.ours / row.flair_fp32:.1f}x "
        f"| {row.best_batch} | {row.ours_at_best:,.0f} | {row.ours_at_best / row.flair_fp32:.1f}x "
        f"| {row.share_of_peak:.1%} | {row.waiting_share:.1%} | {row.hours_for_a_billion_words:,.1f} |"
        for row in rows
    ]
    lines += [
        "",
        f"A word counts as {CHARACTERS_PER_WORD:g} characters; hours are those of one epoch in one direction.",
    ]
    return "\n".join(lines) + "\n"


def _speed(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
