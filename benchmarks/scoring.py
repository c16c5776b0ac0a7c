"""Speed and memory of scoring texts beside embedding them, with the same pair of models.

    python benchmarks/scoring.py [--text FILE] [--markdown docs/benchmarks/scoring.md]
    python benchmarks/scoring.py --held-out 100MB 1GB      only the memory of scoring held-out text of these sizes

Rounds take turns and CPU seconds are counted, on one thread, so other work on the machine affects both sides equally;
each value is the best of its rounds. The models have random weights, on which speed does not depend. Lines are embedded
as one stream, and scored as short rows of a line and as long rows of about 3,000 characters. By default the text is
Python's own documentation.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # the floors of the checkout

from embedding import conditions, read_sentences, table, write_models

from charlm.config import HELD_OUT_VARIABLE, parse_size

LONG_ROW = 3_000  # characters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="UTF-8 text, a sentence a line")
    parser.add_argument("--hidden-sizes", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--characters", type=int, default=200_000, help="characters of a round at hidden size 256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="of the memory test")
    parser.add_argument("--held-out", nargs="*", metavar="SIZE", help="score texts of these sizes, and nothing else")
    parser.add_argument("--markdown", type=Path, help="file to write the tables to")
    arguments = parser.parse_args()
    lines = [" ".join(words) for words in read_sentences(arguments.text)]
    if arguments.held_out:
        header = ["text", "characters", "scored", "CPU", "characters/s", "peak MB"]
        print("\n".join(table(header, held_out_rows(lines, arguments.held_out))))
        return
    report = ["# Scores of texts: speed beside embedding", "", __doc__.split("\n\n", 2)[2].strip(), ""]
    report += [conditions(arguments.text), ""]
    rows = [
        row
        for size in arguments.hidden_sizes
        for row in compare(lines, size, arguments.characters * 256 // size, arguments.rounds)
    ]
    report += table(["hidden", "rows", "embedded characters/s", "scored characters/s", "ratio"], rows)
    report += ["", "Memory while short lines are scored into a file (hidden 64, both directions):", ""]
    report += table(["rows", "rows/s", "peak MB"], memory_rows(lines, arguments.rows))
    text = "\n".join(report) + "\n"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")


def compare(lines: list[str], hidden_size: int, characters: int, rounds: int) -> list[list[str]]:
    """Characters a second of both directions together, embedded and scored."""
    import torch

    from charlm.data import Sentence
    from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
    from charlm.evaluation.rows import AloneScorer
    from charlm.models import LanguageModel

    torch.set_num_threads(1)
    short: list[str] = []
    while sum(map(len, short)) < characters:
        short.append(lines[len(short) % len(lines)])
    per_row = LONG_ROW * len(short) // characters + 1
    groups = [short[start : start + per_row] for start in range(0, len(short), per_row)]
    texts = {
        "lines": [f"{line}\n".encode() for line in short],
        "documents": ["".join(f"{line}\n" for line in group).encode() for group in groups],
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = write_models(Path(folder), hidden_size, [line.split() for line in lines])
        models = [LanguageModel.load_language_model(path) for path in paths]
    embeddings = StackedEmbeddings([FlairEmbeddings(model, name=model.direction) for model in models])
    scorers = [AloneScorer(model) for model in models]
    embed_best, best = float("inf"), dict.fromkeys(texts, float("inf"))
    for _ in range(rounds):
        sentences = [Sentence(line.split()) for line in short]
        embed_best = min(embed_best, cpu_seconds(lambda given: list(embeddings.embed_stream(given)), sentences))
        for name, rows in texts.items():
            seconds = cpu_seconds(lambda given: [scorer.score(given) for scorer in scorers], rows)
            best[name] = min(best[name], seconds / sum(map(len, rows)))
    embedded = sum(map(len, short)) / embed_best
    return [
        [str(hidden_size), name, f"{embedded:,.0f}", f"{1 / seconds:,.0f}", f"{1 / seconds / embedded:.2f}x"]
        for name, seconds in best.items()
    ]


def cpu_seconds(work: Callable[[Any], object], given: object) -> float:
    start = time.process_time()
    work(given)
    return time.process_time() - start


def memory_rows(lines: list[str], counts: list[int]) -> list[list[str]]:
    """Speed and peak memory for ever more rows, each in a process of its own."""
    rows = []
    short = [line[:40] for line in lines[:1000]]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_models(Path(folder), 64, [line.split() for line in short])
        for count in counts:
            text = Path(folder) / "lines.txt"
            with text.open("w", encoding="utf-8") as file:
                file.writelines(f"{short[number % len(short)]}\n" for number in range(count))
            command = [sys.executable, __file__, "--stream", str(text), *paths]
            seconds, num_rows, peak = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            rows.append([f"{num_rows:,}", f"{num_rows / seconds:,.0f}", f"{peak:,.0f}"])
    return rows


def held_out_rows(lines: list[str], sizes: list[str]) -> list[list[str]]:
    """Peak memory while whole texts of ever larger sizes are scored, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = write_models(Path(folder), 16, [line.split() for line in lines])[0]
        for size in sizes:
            text, written, number = Path(folder) / "text.txt", 0, 0
            with text.open("w", encoding="utf-8") as file:
                while written < parse_size(size):
                    line = f"{number} {lines[number % len(lines)]}\n"
                    written += len(line.encode())
                    number += 1
                    file.write(line)
            for limit in ("20000000", "none"):
                command = [sys.executable, __file__, "--score", str(text), path]
                variables = {**os.environ, HELD_OUT_VARIABLE: limit}
                found = json.loads(subprocess.run(command, check=True, capture_output=True, env=variables).stdout)
                scored, seconds, peak = found
                rows.append(
                    [
                        size,
                        f"{scored:,}",
                        "20 million" if limit != "none" else "all",
                        f"{seconds:,.0f} s",
                        f"{scored / seconds:,.0f}",
                        f"{peak:,.0f}",
                    ]
                )
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def score(text: str, path: str) -> None:
    """Score a text; prints characters, CPU seconds, and peak memory in MB."""
    import torch

    from charlm.evaluation.language_model import score_file
    from charlm.models import LanguageModel

    torch.set_num_threads(1)
    model = LanguageModel.load_language_model(path)
    start = time.process_time()
    found = score_file(model, text)
    print(json.dumps([found.characters, time.process_time() - start, peak_megabytes()]))


def peak_megabytes() -> float:
    """Peak memory of this process."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024


def stream(text: str, paths: list[str]) -> None:
    """Score every line of a file into another; prints CPU seconds, rows and peak memory in MB."""
    import torch

    from charlm.artifacts import OutputFiles
    from charlm.config import ReadConfig
    from charlm.evaluation.rows import AloneScorer
    from charlm.evaluation.score_table import RowTable, write_score_table
    from charlm.models import LanguageModel
    from charlm.text.sources.finding import find_sources
    from charlm.text.sources.rows import read_windows

    torch.set_num_threads(1)
    models = [LanguageModel.load_language_model(path) for path in paths]
    scorers = {model.direction: AloneScorer(model) for model in models}
    windows = read_windows(find_sources([text]), "line", ReadConfig(), whole_sources=False, skipped={})
    output = OutputFiles(Path(text).with_suffix(".parquet"))
    table = RowTable(scorers=scorers, held_out=None)
    start = time.process_time()
    num_rows, _ = write_score_table(table, windows, output, work="benchmark", on_window=lambda window: None)
    seconds = time.process_time() - start
    print(json.dumps([seconds, num_rows, peak_megabytes()]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stream"]:
        stream(sys.argv[2], sys.argv[3:])
    elif sys.argv[1:2] == ["--score"]:
        score(*sys.argv[2:])
    else:
        main()
