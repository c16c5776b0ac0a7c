"""Splitting raw text by several processes, beside splitting by one, to equal bytes.

Both split the same files in turn, each time in a process of its own into a folder of its own. Seconds are the wall
clock, as what matters is how long it takes; CPU seconds of all processes together show what sharing the work costs, and
the speed that they allow where nothing else runs. As many splits by one process each, side by side, share nothing but
the machine: how much more text they take in a second than one alone is the most that its cores allow. Ratios are
medians over the rounds.

    python benchmarks/splitting.py [--size 1GB] [--files 20] [--processes 2] [--rounds 3] \
        [--markdown docs/benchmarks/splitting.md]
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the floors of the checkout

from text import documentation, write_raw

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig, parse_size
from charlm.text.corpus.splitting import split_corpus
from tasks.corpus.steps import reading_processes

MB = 1_000_000
READINGS = {"as it is": ReadConfig(), "deduplicated": ReadConfig(deduplicate=True)}


@dataclass(frozen=True)
class Run:
    """One split."""

    seconds: float
    cpu_seconds: float
    """Of all processes."""

    own_cpu_seconds: float
    """Of the process that takes the documents in order."""

    megabytes: float
    """Peak memory of that process."""

    digest: str
    """Of all files of the corpus."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1GB", help="of the text")
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    parser.add_argument("--measure", nargs=4, metavar=("READING", "RAW", "CORPUS", "NUMBER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        reading, raw, corpus, number = options.measure
        print(json.dumps(measure(READINGS[reading], raw, CorpusFiles(Path(corpus)), int(number))))
        return
    rows = []
    with tempfile.TemporaryDirectory(prefix="charlm-splitting-") as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        text, size = documentation()["latin"], parse_size(options.size) // options.files
        for number in range(options.files):
            beginning = f"\n\n{number} "
            write_raw(raw / f"{number:03d}.txt", text.replace("\n\n", beginning), size)
        for reading in READINGS:
            found: dict[int, list[Run]] = {1: [], options.processes: []}
            apart: list[float] = []
            for _ in range(options.rounds):
                for number, runs in found.items():
                    runs.append(run(reading, raw, number))
                    print(reading, number, runs[-1], file=sys.stderr, flush=True)
                apart.append(seconds_side_by_side(reading, raw, options.processes))
            rows += render_rows(reading, found, apart)
    table = render(rows, options)
    if options.markdown:
        options.markdown.write_text(table)
    print(table)


def run(reading: str, raw: Path, number: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="charlm-split-", dir=raw.parent) as folder:
        corpus = Path(folder) / "text"
        command = [sys.executable, __file__, "--measure", reading, str(raw), str(corpus), str(number)]
        values = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        digest = hashlib.sha256()
        for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            digest.update(path.relative_to(corpus).as_posix().encode() + content)
        return Run(**values, digest=digest.hexdigest())


def seconds_side_by_side(reading: str, raw: Path, number: int) -> float:
    """The longest of so many splits that run at once, each by one process."""
    with ThreadPoolExecutor(number) as pool:
        return max(split.seconds for split in pool.map(lambda _: run(reading, raw, 1), range(number)))


def measure(reading: ReadConfig, raw: str, corpus: CorpusFiles, number: int) -> dict[str, float]:
    started = time.perf_counter()
    before = cpu_seconds(resource.RUSAGE_SELF)
    with reading_processes(number) if number > 1 else nullcontext() as workers:
        split_corpus([raw], corpus, SplitConfig(), reading, workers=workers)
    seconds = time.perf_counter() - started
    own = cpu_seconds(resource.RUSAGE_SELF) - before
    return {
        "seconds": seconds,
        "cpu_seconds": own + cpu_seconds(resource.RUSAGE_CHILDREN),
        "own_cpu_seconds": own,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def render_rows(reading: str, found: dict[int, list[Run]], apart: list[float]) -> list[str]:
    digests = {run.digest for runs in found.values() for run in runs}
    assert len(digests) == 1, "the corpora differ"
    (one, several) = found.values()
    gain = statistics.median(alone.seconds / shared.seconds for alone, shared in zip(one, several, strict=True))
    number_apart = max(found)
    most = statistics.median(number_apart * alone.seconds / longest for alone, longest in zip(one, apart, strict=True))
    rows = []
    for number, runs in found.items():
        wall, cpu, own, memory = (
            statistics.median(getattr(run, name) for run in runs)
            for name in ("seconds", "cpu_seconds", "own_cpu_seconds", "megabytes")
        )
        ratio = gain if number > 1 else 1.0
        rows.append(
            f"| {reading} | {number} | {wall:,.1f} s | {ratio:.2f}x | {cpu:,.1f} s | {own:,.1f} s | {memory:,.0f} MB |"
        )
    longest = statistics.median(apart)
    rows.append(f"| {reading} | {number_apart}, sharing nothing | {longest:,.1f} s | {most:.2f}x | | | |")
    return rows


def render(rows: list[str], options: argparse.Namespace) -> str:
    return "\n".join(
        [
            "# Splitting by several processes",
            "",
            f"`benchmarks/splitting.py`: {options.size} in {options.files} files on this machine ({os.cpu_count()} "
            f"cores), medians of {options.rounds} interleaved rounds. All corpora were equal, byte for byte.",
            "",
            "| text | processes | wall | against one | CPU of all | CPU of the one that writes | its memory |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
