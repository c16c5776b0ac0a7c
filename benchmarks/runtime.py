"""Speed, size and cold start of exported models (charlm/runtime) beside FlairEmbeddings, on one core.

    python benchmarks/runtime.py [--text FILE] [--markdown docs/benchmarks/runtime.md]

Programs take turns on the same sentences and CPU seconds are counted, so that other work on the machine affects all of
them equally; each value is the best of its rounds. Models are pairs with random weights, whose speed is that of trained
ones; the cosine of 8 bits is measured when a trained model is exported (docs/embeddings.md). `batch 1` embeds sentence
after sentence, `batch 32` 32 at a time in the order of the text, `stream` all at once.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from embedding import batches, conditions, read_sentences, table, until, write_models

Embed = Callable[[list[list[str]]], object]
_COLD = """
import sys, time
from charlm_runtime import load
load(".", threads=1).embed([["I", "love", "Berlin"]])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="UTF-8 text, a sentence a line")
    parser.add_argument("--hidden-sizes", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--tokens", type=int, default=6_000, help="tokens embedded a round at hidden size 256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", type=Path, help="file to write the tables to")
    arguments = parser.parse_args()
    sentences = read_sentences(arguments.text)
    rows, starts = [], []
    for hidden_size in arguments.hidden_sizes:
        chosen = until(sentences, max(arguments.tokens * 256 // hidden_size, 500))
        with tempfile.TemporaryDirectory() as folder:
            programs = make_programs(Path(folder), hidden_size, sentences)
            rows += compare(programs, chosen, hidden_size, arguments.rounds)
            for precision in ("fp32", "int8"):
                exported = Path(folder) / precision
                starts.append([str(hidden_size), precision, f"{size_of(exported):.1f}", *cold_start(exported)])
    report = ["# Embedding without torch: speed, size and cold start", "", __doc__.split("\n\n", 2)[2].strip(), ""]
    report += [conditions(arguments.text), ""]
    report += table(["hidden", "reading", "torch tokens/s", "compiled kernel", "ONNX fp32", "ONNX int8"], rows)
    report += ["", "A process that starts, loads a pair and embeds three words, median of seven:", ""]
    report += table(["hidden", "precision", "folder MB", "seconds", "CPU seconds", "peak MB"], starts)
    sizes = installed_sizes(["numpy", "onnxruntime", "protobuf", "flatbuffers", "packaging"])
    report += ["", f"Installed: {', '.join(f'{name} {size:.0f} MB' for name, size in sizes.items())}; "
               f"together {sum(sizes.values()):.0f} MB."]  # fmt: skip
    text = "\n".join(report) + "\n"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")


def make_programs(folder: Path, hidden_size: int, sentences: list[list[str]]) -> dict[str, Embed]:
    """What embeds sentences by torch, by a compiled kernel where there is one, and by an export in each precision."""
    import torch

    from charlm.data import Sentence
    from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
    from charlm.models import LanguageModel
    from charlm.runtime import load
    from charlm.serialization.onnx_folder import write_onnx_folder

    torch.set_num_threads(1)
    models = [LanguageModel.load_language_model(path) for path in write_models(folder, hidden_size, sentences)]
    embeddings = StackedEmbeddings([FlairEmbeddings(model) for model in models])

    def by_kernel(part: list[list[str]]) -> object:
        made = embeddings.embed([Sentence(words) for words in part])
        return [sentence.get_token_embeddings().numpy() for sentence in made]

    def by_torch(part: list[list[str]]) -> object:
        with mock.patch.dict(os.environ, CHARLM_NATIVE="off"):
            return by_kernel(part)

    programs: dict[str, Embed] = {"torch": by_torch, "kernel": by_kernel}
    for precision in ("fp32", "int8"):
        (folder / precision).mkdir()
        states = {model.direction: model.language_model_state() for model in models}
        write_onnx_folder(folder / precision, states, precision, {})
        programs[precision] = load(folder / precision, threads=1).embed
    return programs


def compare(programs: dict[str, Embed], chosen: list[list[str]], hidden_size: int, rounds: int) -> list[list[str]]:
    rows = []
    few = until(chosen, sum(map(len, chosen)) // 4)
    for reading, parts in (
        ("batch 1", [[words] for words in few]),
        ("batch 32", list(batches(chosen))),
        ("stream", [chosen]),
    ):
        num_tokens = sum(len(words) for part in parts for words in part)
        best = dict.fromkeys(programs, float("inf"))
        for _ in range(rounds):
            for name, embed in programs.items():
                start = time.process_time()
                for part in parts:
                    embed(part)
                best[name] = min(best[name], time.process_time() - start)
        gains = [f"{best['torch'] / best[name]:.2f}x" for name in ("kernel", "fp32", "int8")]
        rows.append([str(hidden_size), reading, f"{num_tokens / best['torch']:,.0f}", *gains])
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return rows


def cold_start(folder: Path) -> list[str]:
    """Seconds, CPU seconds and peak memory in MB of a process that embeds one sentence."""
    found = []
    for _ in range(7):
        # Not the peak of getrusage, which counts the parent's memory: see downstream_run.py.
        program = f"{_COLD}\nimport json, re, time\nstatus = open('/proc/self/status').read()\n"
        program += "print(json.dumps([time.process_time(), int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) / 1024]))"
        start = time.perf_counter()
        shown = subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True).stdout
        found.append([time.perf_counter() - start, *json.loads(shown)])
    seconds, cpu, peak = (statistics.median(values) for values in zip(*found, strict=True))
    return [f"{seconds:.2f}", f"{cpu:.2f}", f"{peak:.0f}"]


def size_of(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def installed_sizes(names: list[str]) -> dict[str, float]:
    """MB of the files of each distribution, without compiled Python."""
    sizes = {}
    for name in names:
        files = [file.locate() for file in importlib.metadata.files(name) or () if file.suffix != ".pyc"]
        sizes[name] = sum(Path(str(file)).stat().st_size for file in files if Path(str(file)).is_file()) / 1e6
    return sizes


if __name__ == "__main__":
    main()
