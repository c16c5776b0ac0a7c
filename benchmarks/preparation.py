"""What preparation costs for each shard besides the work on its text, from a few shards to very many.

The same text is prepared in one shard and in many, each time by a process of its own into a workspace of its own, and
the difference is divided by the number of shards. `plain` calls the steps in one process (`charlm prepare`), the others
run the flow on a temporary Prefect server, whose CPU seconds are counted too (`charlm prepare --task-runner`).

    python benchmarks/preparation.py [--shards 500 2000 20000] [--runners plain threads processes] \
        [--markdown docs/benchmarks/preparation.md]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the floors of the checkout

from charlm.config import ReadConfig, SplitConfig

SHARD_BYTES = 1_000
RUNNERS = ("plain", "threads", "processes", "dask")


@dataclass(frozen=True)
class Run:
    """One preparation."""

    seconds: float
    cpu_seconds: float
    megabytes: float
    """Peak memory of the process that prepares."""

    shards: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[500, 2_000, 20_000])
    parser.add_argument("--runners", nargs="+", choices=RUNNERS, default=["plain", "threads", "processes"])
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    parser.add_argument("--measure", nargs=4, metavar=("RUNNER", "RAW", "WORKSPACE", "BYTES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        runner, raw, workspace, shard_size = options.measure
        prepare(runner, raw, Path(workspace), int(shard_size))
        return
    rows = []
    for num_shards in options.shards:
        for runner in options.runners:
            one, many = (run(runner, num_shards, shard_size) for shard_size in (num_shards * 10_000, SHARD_BYTES))
            rows.append(row(runner, one, many))
            print(rows[-1], file=sys.stderr, flush=True)
    table = render(rows)
    if options.markdown:
        options.markdown.write_text(table)
    print(table)


def run(runner: str, num_shards: int, shard_size: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="charlm-preparation-") as folder:
        raw, workspace = Path(folder) / "raw.txt", Path(folder) / "workspace"
        write_raw(raw, num_shards)
        command = [sys.executable, __file__, "--measure", runner, str(raw), str(workspace), str(shard_size)]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            errors = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(errors)
        seconds = time.perf_counter() - started
        if "CHARLM_BENCHMARK_LOG" in os.environ:
            print(errors, file=sys.stderr)
        made = len(list((workspace / "corpora" / "many" / "train").iterdir()))
        return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, made)


def write_raw(path: Path, num_shards: int) -> None:
    """Lines for about so many shards of SHARD_BYTES; each shard ends with the line that fills it."""
    line = "the quick brown fox jumps over the lazy dog again and again and again"
    num_lines = int(num_shards * SHARD_BYTES / len(line) * 1.085)
    path.write_text("".join(f"{number:08d} {line}\n" for number in range(num_lines)))


def prepare(runner: str, raw: str, workspace: Path, shard_size: int) -> None:
    split = SplitConfig(shard_size=shard_size, document="line")
    if runner == "plain":
        from tasks.corpus.prepare import prepare_corpus
        from tasks.services.session import use_workspace

        prepare_corpus(use_workspace(workspace), [raw], "many", split, None, reading=ReadConfig())
        return
    from tasks.services.session import start_prefect, use_workspace

    use_workspace(workspace)
    start_prefect()
    from flows.prepare import prepare_corpus as prepare_flow

    prepare_flow([raw], "many", workspace, split, task_runner=runner)  # type: ignore[arg-type]  # one of RUNNERS


def row(runner: str, one: Run, many: Run) -> str:
    wall, cpu = (1000 * (getattr(many, name) - getattr(one, name)) / many.shards for name in ("seconds", "cpu_seconds"))
    return (
        f"| {many.shards:,} | {runner} | {one.seconds:,.1f} s | {many.seconds:,.1f} s | {many.cpu_seconds:,.1f} s "
        f"| {wall:,.1f} ms | {cpu:,.1f} ms | {many.megabytes:,.0f} MB |"
    )


def render(rows: list[str]) -> str:
    return "\n".join(
        [
            "# Preparation in many shards",
            "",
            "`benchmarks/preparation.py`: shards of a kilobyte on this machine "
            f"({os.cpu_count()} cores), in processes that start from nothing. What a shard costs is the difference to "
            "the same text in one shard, divided by the number of shards.",
            "",
            "| shards | run by | one shard | many | CPU of many | a shard, wall | a shard, CPU | memory |",
            "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
