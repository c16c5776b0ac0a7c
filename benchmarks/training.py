"""Characters per second of training, beside Flair's own trainer, on one core.

Same shape on both sides: one layer, T=100, B=100, the same corpus and dictionary. The sides take turns (fp32, use_amp,
ours, and again), so a change of the machine's speed meets all of them; the table shows medians and ratios. use_amp is
left out where the processor computes no bf16: Flair's trainer fails there.

Usage: python benchmarks/training.py --flair-python .venv-flair/bin/python [--corpus FOLDER] [--seconds 20]
Writes docs/benchmarks/training.md
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parent / "docs" / "benchmarks" / "training.md"


@dataclass
class Row:
    """What was measured at one hidden size, one number a round."""

    hidden: int
    flair_fp32: list[float] = field(default_factory=list)
    flair_amp: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = options.corpus or prepare_documentation(Path(folder))
        rows = [measure(hidden, corpus, Path(folder), options) for hidden in options.hidden]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(render(rows, options))
    print(TABLE.read_text())


def measure(hidden: int, corpus: Path, folder: Path, options: argparse.Namespace) -> Row:
    row = Row(hidden)
    for number in range(options.rounds):
        sides = [(False, row.flair_fp32), (True, row.flair_amp)]
        for amp, into in sides if amp_note() is None else sides[:1]:
            output = folder / f"flair-{hidden}-{amp}-{number}"
            run_flair(options.flair_python, corpus, output, hidden=hidden, seconds=options.seconds, amp=amp)
            into.append(json.loads((output / "result.json").read_text())["characters_per_second"])
        speed, outside = run_ours(corpus, folder / f"ours-{hidden}-{number}", hidden, options.seconds)
        row.ours.append(speed)
        row.waiting.append(outside)
        amp_speed = f"  amp {row.flair_amp[-1]:,.0f}" if row.flair_amp else ""
        print(f"hidden {hidden}, round {number + 1}: fp32 {row.flair_fp32[-1]:,.0f}{amp_speed}  "
              f"ours {speed:,.0f} characters/s", file=sys.stderr)  # fmt: skip
    return row


def run_flair(
    python: str, corpus: Path, output: Path, *, hidden: int, seconds: float, amp: bool, **extra: float
) -> None:
    """Run Flair's trainer for some seconds of training time."""
    command = [python, str(HERE / "flair_training.py"), str(corpus), str(output), "--hidden", str(hidden)]
    command += ["--seconds", str(seconds)] + (["--amp"] if amp else [])
    command += [text for name, value in extra.items() for text in (f"--{name}", str(value))]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def run_ours(corpus: Path, run_dir: Path, hidden: int, seconds: float) -> tuple[float, float]:
    """Characters per second in the steps of our engine, and the share of training time outside of them."""
    training = {
        "hidden_size": hidden, "dropout": 0.0, "sequence_length": 100, "mini_batch_size": 100, "validations": 1,
        "max_minutes": seconds / 60, "learning_rate": 1e-3,
    }  # fmt: skip
    events = train(corpus, run_dir, training)
    windows = [event for event in events if event["event"] == "train"][1:]  # the first one warms up
    return (
        statistics.median(event["characters_per_second"] for event in windows),
        statistics.median(event["waiting_share"] for event in windows),
    )


def train(corpus: Path, run_dir: Path, training: dict) -> list[dict]:
    """Train with one thread in a process of its own; the events of its journal."""
    config = {
        "run_dir": str(run_dir), "corpus_dir": str(corpus.resolve()), "direction": "forward", "num_threads": 1,
        "device": "cpu", "training": training,
    }  # fmt: skip
    path = run_dir.parent / f"{run_dir.name}.json"
    path.write_text(json.dumps(config))
    subprocess.run([sys.executable, "-m", "charlm.trainers.run", str(path)], check=True, capture_output=True)
    return [json.loads(line) for line in (run_dir / "journal.jsonl").read_text().splitlines()]


def prepare_documentation(folder: Path) -> Path:
    """The text of `make demo`, prepared in `folder`."""
    from charlm.config import ReadConfig
    from tasks.corpus.demo_text import gather_documentation
    from tasks.corpus.prepare import corpus_settings, prepare_corpus
    from tasks.services.session import use_workspace

    space = use_workspace(folder)
    gather_documentation(space.demo_text)
    split, dictionary = corpus_settings(space, "python-docs")
    prepare_corpus(space, [str(space.demo_text)], "python-docs", split, dictionary, reading=ReadConfig())
    return space.corpus("python-docs").root


def render(rows: list[Row], options: argparse.Namespace) -> str:
    lines = [
        "# Training speed",
        "",
        f"`benchmarks/training.py`: one layer, T=100, B=100, one core, medians of {options.rounds} interleaved "
        f"rounds of {options.seconds:g} s. Flair 0.15.1's own trainer; ours in the precision it chooses here.",
        "",
        "| hidden | Flair fp32 | Flair use_amp | charlm | against fp32 | against use_amp | not in a step |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        fp32, ours = statistics.median(row.flair_fp32), statistics.median(row.ours)
        amp = statistics.median(row.flair_amp) if row.flair_amp else None
        amp_cells = ("–", "–") if amp is None else (f"{amp:,.0f}/s", f"{ours / amp:.2f}x")
        lines.append(
            f"| {row.hidden} | {fp32:,.0f}/s | {amp_cells[0]} | {ours:,.0f}/s | {ours / fp32:.2f}x | {amp_cells[1]} "
            f"| {statistics.median(row.waiting):.1%} |"
        )
    if note := amp_note():
        lines += ["", note]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
