"""Characters per second of training, beside Flair's own trainer, on one core.

Same shape on all sides: one layer, T=100, B=100, the same corpus and dictionary. The sides take turns (fp32, use_amp,
ours, ours with torch's LSTM, and again), so a change of the machine's speed meets all of them; the table shows medians
and ratios. use_amp is left out where the processor computes no bf16: Flair's trainer fails there. Beside them stands
what share our steps reach of the multiplications a second that a large product of torch reaches in the same run.

`--limit AVX2` keeps all sides to the instructions of an older processor.

Usage: python benchmarks/training.py --flair-python .venv-flair/bin/python [--corpus FOLDER] [--seconds 20]
Writes docs/benchmarks/training.md, or without AVX-512 training-avx2.md
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
TABLES = HERE.parent / "docs" / "benchmarks"
LIMITS = {
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}


@dataclass
class Row:
    """What was measured at one hidden size, one number a round."""

    hidden: int
    flair_fp32: list[float] = field(default_factory=list)
    flair_amp: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    without_kernel: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    peak_share: list[float] = field(default_factory=list)
    kernel: str = ""


@dataclass
class ThreadsRow:
    """The speed of one direction with one thread and with two, one number a round."""

    hidden: int
    batch: int
    one: list[float] = field(default_factory=list)
    two: list[float] = field(default_factory=list)


def amp_note() -> str | None:
    """Why there is no use_amp on this machine; none where there is."""
    import torch

    from charlm.nn.precision import can_compute_bf16, instruction_set

    cpu = torch.device("cpu")
    if can_compute_bf16(cpu):
        return None
    return f"Without use_amp: this processor ({instruction_set(cpu)}) computes no bf16."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flair-python", required=True)
    parser.add_argument("--corpus", type=Path, help="a prepared corpus; the interpreter's documentation by default")
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--limit", choices=LIMITS, help="compute as such a processor does")
    options = parser.parse_args()
    os.environ.update(LIMITS.get(options.limit, {}))
    with tempfile.TemporaryDirectory() as folder:
        corpus = options.corpus or prepare_documentation(Path(folder))
        rows = [measure(hidden, corpus, Path(folder), options) for hidden in options.hidden]
        sizes = [(256, 16), (512, 32), (1024, 100)] if (os.cpu_count() or 1) > 1 else []
        threads = [measure_threads(hidden, batch, corpus, Path(folder), options) for hidden, batch in sizes]
    table = page("training", ".md")
    table.write_text(render(rows, threads, options))
    print(table.read_text())


def page(stem: str, suffix: str) -> Path:
    """The file for what is measured here: processors without AVX-512 have one of their own."""
    import torch

    from charlm.nn.kernel import kernel_name

    is_wide = kernel_name(torch.device("cpu"), "fp32").startswith("avx512")
    return TABLES / (stem + ("" if is_wide else "-avx2") + suffix)


def measure(hidden: int, corpus: Path, folder: Path, options: argparse.Namespace) -> Row:
    row = Row(hidden)
    for number in range(options.rounds):
        sides = [(False, row.flair_fp32), (True, row.flair_amp)]
        for amp, into in sides if amp_note() is None else sides[:1]:
            output = folder / f"flair-{hidden}-{amp}-{number}"
            run_flair(options.flair_python, corpus, output, hidden=hidden, seconds=options.seconds, amp=amp)
            into.append(json.loads((output / "result.json").read_text())["characters_per_second"])
        events = run_ours(corpus, folder / f"ours-{hidden}-{number}", hidden, options.seconds)
        row.ours.append(in_steps(events, "characters_per_second"))
        row.waiting.append(in_steps(events, "waiting_share"))
        start = events[0]
        row.kernel = start["kernel"]
        products = 3 * hidden * (4 * hidden + start["dictionary_size"])  # forward, and twice as many backward
        row.peak_share.append(row.ours[-1] * products / products_per_second(start["precision"]))
        events = run_ours(corpus, folder / f"torch-{hidden}-{number}", hidden, options.seconds, CHARLM_NATIVE="off")
        row.without_kernel.append(in_steps(events, "characters_per_second"))
        amp_speed = f"  amp {row.flair_amp[-1]:,.0f}" if row.flair_amp else ""
        print(f"hidden {hidden}, round {number + 1}: fp32 {row.flair_fp32[-1]:,.0f}{amp_speed}  "
              f"ours {row.ours[-1]:,.0f} characters/s, {row.peak_share[-1]:.0%} of the peak, with torch's LSTM "
              f"{row.without_kernel[-1]:,.0f}", file=sys.stderr)  # fmt: skip
    return row


def measure_threads(hidden: int, batch: int, corpus: Path, folder: Path, options: argparse.Namespace) -> ThreadsRow:
    row = ThreadsRow(hidden, batch)
    for number in range(options.rounds):
        for threads, into in ((1, row.one), (2, row.two)):
            output = folder / f"threads-{hidden}-{threads}-{number}"
            events = run_ours(corpus, output, hidden, options.seconds, batch=batch, threads=threads)
            into.append(in_steps(events, "characters_per_second"))
    print(f"hidden {hidden}, {batch} streams: 1 thread {row.one[-1]:,.0f}, 2 threads {row.two[-1]:,.0f} characters/s",
          file=sys.stderr)  # fmt: skip
    return row


def products_per_second(precision: str) -> float:
    """The multiplications a second of a large product of torch on one core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x, y = torch.randn(4096, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    seconds = []
    for _ in range(9):
        start = time.process_time()
        x @ y
        seconds.append(time.process_time() - start)
    torch.set_num_threads(threads)
    return x.numel() * y.shape[1] / min(seconds)


def run_flair(
    python: str, corpus: Path, output: Path, *, hidden: int, seconds: float, amp: bool, **extra: float
) -> None:
    """Run Flair's trainer for some seconds of training time."""
    command = [python, str(HERE / "flair_training.py"), str(corpus), str(output), "--hidden", str(hidden)]
    command += ["--seconds", str(seconds)] + (["--amp"] if amp else [])
    command += [text for name, value in extra.items() for text in (f"--{name}", str(value))]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def run_ours(
    corpus: Path,
    run_dir: Path,
    hidden: int,
    seconds: float,
    *,
    batch: int = 100,
    threads: int = 1,
    **variables: str,
) -> list[dict]:
    """The events of a training of ours, the start first."""
    training = {
        "hidden_size": hidden, "dropout": 0.0, "sequence_length": 100, "mini_batch_size": batch, "validations": 1,
        "max_minutes": seconds / 60, "learning_rate": 1e-3,
    }  # fmt: skip
    return train(corpus, run_dir, training, threads=threads, **variables)


def in_steps(events: list[dict], name: str) -> float:
    """The median of what the training reports every few seconds."""
    windows = [event for event in events if event["event"] == "train"]
    # The first one warms up; in few seconds a wide model has no other.
    return statistics.median(event[name] for event in windows[1:] or windows)


def train(corpus: Path, run_dir: Path, training: dict, *, threads: int = 1, **variables: str) -> list[dict]:
    """Train in a process of its own; the events of its journal."""
    config = {
        "run_dir": str(run_dir), "corpus_dir": str(corpus.resolve()), "direction": "forward", "num_threads": threads,
        "device": "cpu", "training": training,
    }  # fmt: skip
    path = run_dir.parent / f"{run_dir.name}.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "charlm.trainers.run", str(path)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **variables})
    return [json.loads(line) for line in (run_dir / "journal.jsonl").read_text().splitlines()]


def prepare_documentation(folder: Path) -> Path:
    """The text of `make demo`, prepared in `folder`."""
    from charlm.config import ReadConfig
    from charlm_pipeline import use_floors

    use_floors()
    from tasks.corpus.demo_text import gather_documentation
    from tasks.corpus.prepare import corpus_settings, prepare_corpus
    from tasks.services.session import use_workspace

    space = use_workspace(folder)
    gather_documentation(space.demo_text)
    split, dictionary = corpus_settings(space, "python-docs")
    prepare_corpus(space, [str(space.demo_text)], "python-docs", split, dictionary, reading=ReadConfig())
    return space.corpus("python-docs").root


def render(rows: list[Row], threads: list[ThreadsRow], options: argparse.Namespace) -> str:
    import torch

    from charlm.nn.precision import instruction_set

    limit = f", kept to {options.limit} on all sides" if options.limit else ""
    lines = [
        f"# Training speed{'' if rows[0].kernel.startswith('avx512') else ' with AVX2'}",
        "",
        f"`benchmarks/training.py{f' --limit {options.limit}' if options.limit else ''}`: one layer, T=100, B=100, one "
        f"core ({instruction_set(torch.device('cpu'))}{limit}), medians of {options.rounds} interleaved rounds of "
        f"{options.seconds:g} s. Flair 0.15.1's own trainer; ours in the precision it chooses here, with the kernel "
        f"`{rows[0].kernel}` and with torch's LSTM. The peak is that of a large product of torch.",
        "",
        "| hidden | Flair fp32 | Flair use_amp | charlm | against fp32 | against use_amp | with torch's LSTM "
        "| of the peak | not in a step |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        fp32, ours = statistics.median(row.flair_fp32), statistics.median(row.ours)
        amp = statistics.median(row.flair_amp) if row.flair_amp else None
        amp_cells = ("–", "–") if amp is None else (f"{amp:,.0f}/s", f"{ours / amp:.2f}x")
        without, share = statistics.median(row.without_kernel), statistics.median(row.peak_share)
        lines.append(
            f"| {row.hidden} | {fp32:,.0f}/s | {amp_cells[0]} | {ours:,.0f}/s | {ours / fp32:.2f}x | {amp_cells[1]} "
            f"| {without / fp32:.2f}x | {share:.0%} | {statistics.median(row.waiting):.1%} |"
        )
    if note := amp_note():
        lines += ["", note]
    if threads:
        lines += [
            "",
            "| hidden | streams | 1 thread | 2 threads | |",
            "| ---: | ---: | ---: | ---: | ---: |",
        ]
    for row in threads:
        one, two = statistics.median(row.one), statistics.median(row.two)
        lines.append(f"| {row.hidden} | {row.batch} | {one:,.0f}/s | {two:,.0f}/s | {two / one:.2f}x |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
