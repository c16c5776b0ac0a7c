"""A served pair with torch and without it: when it is ready, its memory, requests a second and how long one takes.

    python benchmarks/serving.py [--markdown docs/benchmarks/serving.md]

One pair is trained for a moment and registered for each runtime. `mlflow models serve` serves the versions one after
the other, with one worker and one thread of its own; a client on the same machine sends requests of sentences of ten
words, one at a time, after five to warm up. Rounds take turns, and each value is the best of its rounds. Memory is that
of all processes of the server.
"""

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from embedding import conditions, read_sentences, table

RUNTIMES = ("torch", "onnx", "onnx-int8")
_PROGRAMS = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--requests", type=int, default=200, help="requests of one text a round; a tenth of 32 texts")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    arguments = parser.parse_args()
    words = [word for sentence in read_sentences(None) for word in sentence]
    texts = [" ".join(random.Random(number).choices(words, k=10)) for number in range(320)]
    found: dict[str, list[list[float]]] = {runtime: [] for runtime in RUNTIMES}
    with tempfile.TemporaryDirectory() as folder:
        addresses = register(Path(folder), texts, arguments.hidden_size)
        for _ in range(arguments.rounds):
            for runtime, address in addresses.items():
                found[runtime].append(measure(Path(folder), address, texts, arguments.requests))
                print(runtime, *(f"{value:.4g}" for value in found[runtime][-1]), file=sys.stderr, flush=True)
    rows = []
    for runtime, rounds in found.items():
        ready, memory, one, many = (min(values) for values in zip(*rounds, strict=True))
        rows.append(
            [runtime, f"{ready:.1f}", f"{memory:,.0f}", f"{1 / one:.0f}", f"{1e3 * one:.1f}", f"{1e3 * many:.0f}"]
        )
    heads = ["runtime", "ready after s", "memory MB", "requests/s", "one text, median ms", "32 texts, median ms"]
    report = ["# A served pair, with torch and without", "", __doc__.split("\n\n", 2)[2].strip(), ""]
    report += [f"Hidden size {arguments.hidden_size}. {conditions(None)}", "", *table(heads, rows)]
    text = "\n".join(report) + "\n"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")


def register(folder: Path, texts: list[str], hidden_size: int) -> dict[str, str]:
    """The address of a version of one pair for each runtime, in a workspace in `folder`."""
    (folder / "text.txt").write_text("\n".join(texts * 20), encoding="utf-8")
    settings = [
        "--set",
        f"hidden_size={hidden_size}",
        "--set",
        "max_characters=20000",
        "--workspace",
        str(folder / "ws"),
    ]
    charlm("prepare", str(folder / "text.txt"), "--name", "pair", "--workspace", str(folder / "ws"))
    addresses = {}
    for runtime in RUNTIMES:
        result = charlm("train", "pair", "--resume", "--runtime", runtime, *settings, "--json")
        addresses[runtime] = json.loads(result)["model"]
    return addresses


def charlm(*arguments: str) -> str:
    command = [str(_PROGRAMS / "charlm"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def measure(folder: Path, model: str, texts: list[str], requests: int) -> list[float]:
    """Seconds until the server is ready, its memory in MB, and the median seconds of a request of 1 and of 32 texts."""
    started = time.perf_counter()
    with served(folder, model) as (process, url):
        ready = time.perf_counter() - started
        one = [ask(url, [texts[number % len(texts)]]) for number in range(requests)]
        many = [ask(url, texts[32 * (number % 10) :][:32]) for number in range(max(requests // 10, 6))]
        server = psutil.Process(process.pid)
        memory = sum(child.memory_info().rss for child in [server, *server.children(recursive=True)]) / 1e6
    return [ready, memory, statistics.median(one[5:]), statistics.median(many[1:])]


@contextmanager
def served(folder: Path, model: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The server of a version, once it answers, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [_PROGRAMS / "mlflow", *f"models serve -m {model} --env-manager local --workers 1 --port {port}".split()],
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/ws/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{_PROGRAMS}:{os.environ['PATH']}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/ping", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.05)
        yield process, url
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def ask(url: str, texts: list[str]) -> float:
    """Seconds that a request takes."""
    data = json.dumps({"inputs": texts}).encode()
    request = urllib.request.Request(f"{url}/invocations", data, {"Content-Type": "application/json"})
    started = time.perf_counter()
    with urllib.request.urlopen(request, timeout=120) as response:
        response.read()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
