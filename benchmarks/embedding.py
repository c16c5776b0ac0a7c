"""Speed, exactness and memory of FlairEmbeddings beside Flair's, with the same models and sentences.

    python benchmarks/embedding.py --flair-python PATH [--text FILE] [--markdown docs/benchmarks/embedding.md]

Flair runs in its own environment as a child process. Rounds are interleaved and CPU seconds are counted, on one thread,
so other work on the machine affects both sides equally; each value is the best of its rounds. The models have random
weights. The speed does not depend on them, but the error of bf16 does, so a trained pair can be measured too. The text
is split into lines, and into words at white space; by default it is Python's own documentation. Flair embeds 32
sentences at a time, its usual mini-batch; charlm does the same (`same batches`), and then embeds all sentences as one
stream (`stream`), which sorts them by length.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BATCH = 32
SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flair-python", required=True, help="interpreter of an environment with flair 0.15.1")
    parser.add_argument("--text", type=Path, help="UTF-8 text, a sentence a line")
    parser.add_argument("--hidden-sizes", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--models", nargs=2, help="a trained pair to measure too: two best-lm.pt")
    parser.add_argument("--tokens", type=int, default=12_000, help="tokens embedded a round at hidden size 256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-sentences", type=int, default=20_000, help="longest stream of the memory test")
    parser.add_argument("--markdown", type=Path, help="file to write the tables to")
    arguments = parser.parse_args()
    sentences = read_sentences(arguments.text)
    report = ["# Embedding: speed beside Flair 0.15.1", ""]
    rows = []
    for hidden_size in arguments.hidden_sizes:
        tokens = max(arguments.tokens * 256 // hidden_size, 1000)
        with tempfile.TemporaryDirectory() as folder:
            paths = write_models(Path(folder), hidden_size, sentences)
            rows += compare(arguments.flair_python, until(sentences, tokens), paths, str(hidden_size), arguments.rounds)
    if arguments.models:
        chosen = until(sentences, arguments.tokens)
        rows += compare(arguments.flair_python, chosen, arguments.models, "trained", arguments.rounds)
    header = ["hidden", "setting", "Flair tokens/s", "ours tokens/s", "ratio", "greatest difference", "lowest cosine"]
    report += [__doc__.split("\n\n", 2)[2].strip(), "", conditions(arguments.text), "", *table(header, rows)]
    report += ["", "Memory while a stream of sentences (hidden 64, forward) is embedded and dropped:", ""]
    report += table(["sentences", "tokens/s", "peak MB"], memory_rows(sentences, arguments.memory_sentences))
    text = "\n".join(report) + "\n"
    print(text)
    if arguments.markdown:
        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        arguments.markdown.write_text(text, encoding="utf-8")


def read_sentences(path: Path | None) -> list[list[str]]:
    """The words of every line, in an order that the seed decides."""
    import random

    if path is None:
        from pydoc_data.topics import topics

        text = "\n".join(topics[name] for name in sorted(topics))
    else:
        text = path.read_text(encoding="utf-8")
    sentences = [words for line in text.splitlines() if (words := line.split())]
    random.Random(SEED).shuffle(sentences)
    return sentences


def conditions(text: Path | None) -> str:
    import torch

    from charlm.nn.kernel import kernel_name, kernel_of
    from charlm.nn.precision import can_compute_bf16, instruction_set

    cpu = torch.device("cpu")
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = "Python's documentation" if text is None else text.name
    machine = f"{processor[1] if processor else 'an unknown processor'} ({instruction_set(cpu)})"
    precisions = ("fp32", "bf16") if can_compute_bf16(cpu) else ("fp32",)
    in_int8 = kernel_of(torch.uint8, cpu)
    names = [*(kernel_name(cpu, precision) for precision in precisions), *([in_int8.name] if in_int8 else [])]
    kernels = " and ".join(dict.fromkeys(names))
    without = "" if can_compute_bf16(cpu) else " It computes no bf16, which is left out."
    return f"Text: {name}. Torch {torch.__version__} on {machine}; LSTMs by the kernel {kernels}.{without}"


def compare(flair_python: str, chosen: list[list[str]], paths: list[str], label: str, rounds: int) -> list[list[str]]:
    import numpy as np
    import torch

    from charlm.data import Sentence
    from charlm.embeddings import FlairEmbeddings
    from charlm.nn.kernel import kernel_of
    from charlm.nn.precision import ReadingPrecision, can_compute_bf16

    torch.set_num_threads(1)
    num_tokens = sum(map(len, chosen))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sentences.json").write_text(json.dumps(chosen))
        ours: dict[str, tuple[Any, bool]] = {
            "fp32, same batches": ([FlairEmbeddings(path) for path in paths], False),
            "fp32, stream": ([FlairEmbeddings(path) for path in paths], True),
        }
        lower: list[ReadingPrecision] = ["bf16"] if can_compute_bf16(torch.device("cpu")) else []
        if kernel_of(torch.uint8, torch.device("cpu")) is not None:
            lower.append("int8")
        for precision in lower:
            for setting, stream in (("same batches", False), ("stream", True)):
                ours[f"{precision}, {setting}"] = (
                    [FlairEmbeddings(path, precision=precision) for path in paths],
                    stream,
                )
        best = dict.fromkeys(["flair", *ours], float("inf"))
        vectors: dict[str, np.ndarray] = {}
        with FlairWorker(flair_python, folder, paths) as flair:
            for _ in range(rounds):
                best["flair"] = min(best["flair"], flair.embed())
                for setting, (embeddings, stream) in ours.items():
                    batch = [Sentence(words) for words in chosen]
                    start = time.process_time()
                    for part in [batch] if stream else batches(batch):
                        for embedding in embeddings:
                            embedding.embed(part)
                    best[setting] = min(best[setting], time.process_time() - start)
                    vectors[setting] = torch.cat([s.get_token_embeddings() for s in batch]).numpy()
        theirs = np.load(Path(folder) / "vectors.npy")
    rows = []
    for setting, matrix in vectors.items():
        difference = float(np.abs(matrix - theirs).max())
        cosine = (matrix * theirs).sum(1) / np.linalg.norm(matrix, axis=1) / np.linalg.norm(theirs, axis=1)
        speeds = [num_tokens / best["flair"], num_tokens / best[setting]]
        rows.append(
            [label, setting, *(f"{speed:,.0f}" for speed in speeds), f"{speeds[1] / speeds[0]:.2f}x",
             f"{difference:.1e}", f"{cosine.min():.6f}"]
        )  # fmt: skip
        print(*rows[-1], sep=" | ", file=sys.stderr)
    return rows


def write_models(folder: Path, hidden_size: int, sentences: list[list[str]]) -> list[str]:
    """A forward and a backward model with random weights, whose dictionary has the sentences' characters."""
    import torch

    from charlm.data import Dictionary
    from charlm.models import LanguageModel

    torch.manual_seed(SEED)
    characters = sorted({character for words in sentences for word in words for character in word})
    dictionary = Dictionary.from_items(["\n", " ", *characters])
    paths = []
    for is_forward_lm in (True, False):
        path = folder / f"{'forward' if is_forward_lm else 'backward'}.pt"
        LanguageModel(dictionary, is_forward_lm, hidden_size, 1).save(path)
        paths.append(str(path))
    return paths


def memory_rows(sentences: list[list[str]], longest: int) -> list[list[str]]:
    """Speed and peak memory of ever longer streams, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = write_models(Path(folder), 64, sentences)[0]
        (Path(folder) / "sentences.json").write_text(json.dumps(sentences[:1000]))
        for count in (longest // 100, longest // 10, longest):
            command = [sys.executable, __file__, "--stream", folder, path, str(count)]
            seconds, tokens, peak = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            rows.append([f"{count:,}", f"{tokens / seconds:,.0f}", f"{peak:,.0f}"])
    return rows


def stream(folder: str, path: str, count: int) -> None:
    """Embed and drop `count` sentences; prints seconds, tokens and peak memory in MB."""
    import itertools

    import torch

    from charlm.data import Sentence
    from charlm.embeddings import FlairEmbeddings

    torch.set_num_threads(1)
    sentences = json.loads((Path(folder) / "sentences.json").read_text())
    embeddings = FlairEmbeddings(path)
    endless = (Sentence(words) for words in itertools.islice(itertools.cycle(sentences), count))
    start = time.process_time()
    tokens = sum(len(sentence) for sentence in embeddings.embed_stream(endless))
    seconds = time.process_time() - start
    # Not getrusage: its peak counts the parent's memory, which a child has until it starts a program of its own.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(json.dumps([seconds, tokens, int(peak[1]) / 1024]))


class FlairWorker:
    """This file, run by Flair's interpreter: embeds the sentences whenever it is asked to."""

    def __init__(self, python: str, folder: str, paths: list[str]) -> None:
        self._process = subprocess.Popen(
            [python, __file__, "--worker", folder, *paths],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def __enter__(self) -> "FlairWorker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def embed(self) -> float:
        """Seconds that Flair took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("embed", file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("Flair's process ended; run its interpreter with `-c 'import flair'` to see why")
        return float(answer)


def work_for_flair(folder: str, paths: list[str]) -> None:
    import flair
    import numpy as np
    import torch
    from flair.data import Sentence
    from flair.embeddings import FlairEmbeddings

    torch.set_num_threads(1)
    flair.device = torch.device("cpu")
    chosen = json.loads((Path(folder) / "sentences.json").read_text())
    embeddings = [FlairEmbeddings(path) for path in paths]
    for _ in sys.stdin:
        sentences = [Sentence(words) for words in chosen]
        start = time.process_time()
        for batch in batches(sentences):
            for embedding in embeddings:
                embedding.embed(batch)
        print(time.process_time() - start, flush=True)
        np.save(Path(folder) / "vectors.npy", torch.stack([t.embedding for s in sentences for t in s]).numpy())


def batches(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def until(sentences: list[list[str]], tokens: int) -> list[list[str]]:
    """The first sentences that together have `tokens` words."""
    chosen: list[list[str]] = []
    for words in sentences:
        if tokens <= 0:
            break
        chosen.append(words)
        tokens -= len(words)
    return chosen


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]]


if __name__ == "__main__":
    roles: dict[str, Callable[[], None]] = {
        "--worker": lambda: work_for_flair(sys.argv[2], sys.argv[3:]),
        "--stream": lambda: stream(sys.argv[2], sys.argv[3], int(sys.argv[4])),
    }
    roles.get(sys.argv[1] if len(sys.argv) > 1 else "", main)()
