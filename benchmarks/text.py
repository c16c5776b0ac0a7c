"""Throughput and memory of the text engine, beside Flair's and beside reading the same bytes.

Every measurement is a process of its own, so that its peak memory is its own; `memory` is what it took above the
interpreter with the libraries loaded. Flair's side and ours take turns on the same shard, so a change of the machine's
speed meets both; each number is the best of the rounds. Ratios are by seconds of the processor (CPU), which other
programs on the machine change less than those on the clock (wall); only two processes are compared with one by the
clock. `prepare` is everything from raw text to encoded shards, and its speed is the slope between the smallest and the
next size, which leaves the fixed costs out; Flair's is its tutorial's count and one encoding. The texts are the
interpreter's documentation as it stands (latin), with the letters of every second paragraph replaced by letters of
other scripts (mixed), and with all of them replaced (non-latin).

Usage: python benchmarks/text.py --flair-python .venv-flair/bin/python [--text NAME=FILE]
Writes docs/benchmarks/text.md and docs/benchmarks/text.png
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, SplitConfig, parse_size
from charlm.text.counting import build_dictionary, count_shard, load_dictionary
from charlm.text.encoding import encode_file, ensure_encoded, known_digests, record_unk_rate
from charlm.text.splitting import split_corpus
from charlm.text.visiting import training_ids

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "benchmarks"
STEPS = ("read", "count", "encode", "shuffle", "prepare")
SCRIPTS = (0x0430, 0x3042, 0x0905, 0x0621)  # Cyrillic, Hiragana, Devanagari, Arabic
MB = 1_000_000

Row = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flair-python", required=True, help="interpreter of an environment with flair 0.15.1")
    parser.add_argument("--text", action="append", default=[], metavar="NAME=FILE", help="in place of the three texts")
    parser.add_argument("--sizes", nargs="+", default=["10MB", "100MB", "1GB"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=DOCS)
    parser.add_argument("--measure", nargs=3, metavar=("STEP", "CORPUS", "RAW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        step, corpus, raw = options.measure
        print(json.dumps(measure(step, CorpusFiles(Path(corpus)), Path(raw))))
        return
    texts = {name: Path(file).read_text() for name, _, file in (text.partition("=") for text in options.text)}
    sizes = [parse_size(size) for size in options.sizes]
    found: dict[str, dict[int, dict[str, Row]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (texts or documentation()).items():
            found[name] = {}
            for size in sizes:
                found[name][size] = compare(Path(folder), text, size, sizes[0], options)
                print(name, size, json.dumps(found[name][size]), file=sys.stderr, flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "text.md").write_text(render(found, sizes))
    plot(options.output / "text.png", found)
    print((options.output / "text.md").read_text())


# ---- the texts -----------------------------------------------------------------------------------------------------


def documentation() -> dict[str, str]:
    from pydoc_data.topics import topics

    paragraphs = "\n\n".join(topics[name].strip() for name in sorted(topics)).split("\n\n")
    foreign = [translate(paragraph, number) for number, paragraph in enumerate(paragraphs)]
    mixed = [foreign[number] if number % 2 else paragraph for number, paragraph in enumerate(paragraphs)]
    return {name: "\n\n".join(text) for name, text in (("latin", paragraphs), ("mixed", mixed), ("non-latin", foreign))}


def translate(paragraph: str, number: int) -> str:
    first = SCRIPTS[number % len(SCRIPTS)]
    return paragraph.lower().translate({ord("a") + letter: chr(first + letter) for letter in range(26)})


def write_raw(path: Path, text: str, size: int) -> None:
    """`size` bytes of `text`, again and again; every time its paragraphs begin with another number."""
    num_written = repetition = 0
    with path.open("wb") as file:
        while num_written < size:
            data = text.replace("\n\n", f"\n\n{repetition} ").encode()[: size - num_written]
            file.write(data.decode(errors="ignore").encode())
            num_written += len(data)
            repetition += 1


# ---- measuring -----------------------------------------------------------------------------------------------------


def compare(folder: Path, text: str, size: int, smallest: int, options: argparse.Namespace) -> dict[str, Row]:
    """Seconds and memory of each step at one size; Flair's too at the smallest, where it is done in seconds."""
    raw, corpus = folder / "raw.txt", CorpusFiles(folder / "corpus")
    write_raw(raw, text, size)
    rows: dict[str, Row] = {}
    for _ in range(options.rounds):
        steps = ("prepare", "read", "count", "encode", "shuffle")
        for step in (*steps, "one process", "two processes") if size > smallest else steps:
            command = [sys.executable, __file__, "--flair-python=", "--measure", step, str(corpus.root), str(raw)]
            keep_best(rows, step, run(command))
        if size == smallest:
            flair = run([options.flair_python, str(HERE / "flair_text.py"), str(corpus.root)])
            num_mb = corpus.shard(1).stat().st_size / MB
            for step in ("count", "encode", "visit"):
                seconds, cpu = flair[step]
                row = {"seconds": seconds, "cpu": cpu, "user": cpu, "mb": num_mb, "memory": flair["memory"] / MB}
                keep_best(rows, f"flair {step}", row)
    shutil.rmtree(corpus.root)
    return rows


def run(command: list[str]) -> Any:
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def keep_best(rows: dict[str, Row], step: str, row: Row) -> None:
    best = rows.setdefault(step, row)
    for clock in ("seconds", "cpu", "user"):
        best[clock] = min(best[clock], row[clock])


def measure(step: str, corpus: CorpusFiles, raw: Path) -> Row:
    """Do one step in this process: its seconds by the clock and of the processor, megabytes of text, and megabytes of
    memory above the start."""
    num_bytes = raw.stat().st_size
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: read(raw),
        "prepare": lambda: prepare(corpus, raw),
        "count": lambda: count_all(corpus),
        "encode": lambda: encode_all(corpus),
        "shuffle": lambda: shuffle_all(corpus),
        "one process": lambda: count_and_encode(corpus, 1),
        "two processes": lambda: count_and_encode(corpus, 2),
    }
    if step == "prepare":
        shutil.rmtree(corpus.root, ignore_errors=True)
    else:
        num_bytes = sum(shard.stat().st_size for shard in corpus.shards())
    before = peak_memory()
    start, cpu_start, user_start = time.perf_counter(), time.process_time(), user_seconds()
    steps[step]()
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu_start,
        "user": user_seconds() - user_start,
        "mb": num_bytes / MB,
        "memory": (peak_memory() - before) / MB,
    }


def user_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def prepare(corpus: CorpusFiles, raw: Path) -> None:
    split_corpus([str(raw)], corpus, SplitConfig(document="paragraph"))
    digests = known_digests(corpus)
    for shard in corpus.shards():
        count_shard(shard, corpus.counts(shard.name), "char", sha256=digests[shard.name])
    dictionary = build_dictionary(corpus, DictionaryConfig(), "char")
    ensure_encoded(corpus, dictionary)
    record_unk_rate(corpus, dictionary)


def count_one(corpus: CorpusFiles, shard: Path) -> None:
    counts = corpus.counts_dir / f"{shard.name}.again"
    count_shard(shard, counts, "char", sha256=known_digests(corpus)[shard.name])


def encode_one(corpus: CorpusFiles, shard: Path) -> None:
    encoded = corpus.encoded_root / "again" / shard.name
    encode_file(shard, encoded, load_dictionary(corpus), sha256=known_digests(corpus)[shard.name])


def count_all(corpus: CorpusFiles) -> None:
    for shard in corpus.shards():
        count_one(corpus, shard)
    remove_again(corpus)


def encode_all(corpus: CorpusFiles) -> None:
    for shard in corpus.shards():
        encode_one(corpus, shard)
    remove_again(corpus)


def count_and_encode(corpus: CorpusFiles, num_processes: int) -> None:
    with ProcessPoolExecutor(num_processes) as pool:
        list(pool.map(partial(count_one, corpus), corpus.shards()))
        list(pool.map(partial(encode_one, corpus), corpus.shards()))
    remove_again(corpus)


def remove_again(corpus: CorpusFiles) -> None:
    shutil.rmtree(corpus.encoded_root / "again", ignore_errors=True)
    for path in corpus.counts_dir.glob("*.again"):
        path.unlink()


def shuffle_all(corpus: CorpusFiles) -> None:
    dictionary = load_dictionary(corpus)
    for shard in corpus.shards():
        encoded = corpus.encoded(dictionary.fingerprint, shard.name)
        training_ids(encoded, dictionary, seed=1, shuffle=True, random_case_flip=True, is_forward_lm=True)


# ---- showing -------------------------------------------------------------------------------------------------------


def speed(row: Row, clock: str) -> float:
    return row["mb"] / row[clock]


def slope(by_size: dict[int, dict[str, Row]], sizes: list[int], clock: str) -> float:
    """Megabytes a second of `prepare` between the two smallest sizes."""
    if len(sizes) == 1:
        return speed(by_size[sizes[0]]["prepare"], clock)
    small, large = (by_size[size]["prepare"] for size in sizes[:2])
    return (large["mb"] - small["mb"]) / (large[clock] - small[clock])


def speeds(by_size: dict[int, dict[str, Row]], sizes: list[int], clock: str) -> dict[str, tuple[float, float]]:
    """Megabytes a second of Flair and of ours for each step."""
    small, large = by_size[sizes[0]], by_size[sizes[min(1, len(sizes) - 1)]]
    flair = {step: speed(small[f"flair {step}"], clock) for step in ("count", "encode", "visit")}
    return {
        "count": (flair["count"], speed(large["count"], clock)),
        "encode": (flair["encode"], speed(large["encode"], clock)),
        "prepare (slope)": (1 / (1 / flair["count"] + 1 / flair["encode"]), slope(by_size, sizes, clock)),
        "visit of a shard: shuffle and flips": (flair["visit"], speed(large["shuffle"], clock)),
    }


def render(found: dict[str, dict[int, dict[str, Row]]], sizes: list[int]) -> str:
    lines = ["# Text: speed and memory beside Flair 0.15.1", "", " ".join((__doc__ or "").split("\n\n")[1].split()), ""]
    lines += ["One process, megabytes of UTF-8 a second:", ""]
    lines += ["| text | step | Flair, CPU | ours, CPU | ratio | Flair, wall | ours, wall |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for text, by_size in found.items():
        by_clock = speeds(by_size, sizes, "seconds")
        for step, (flair, ours) in speeds(by_size, sizes, "cpu").items():
            flair_wall, ours_wall = by_clock[step]
            lines.append(
                f"| {text} | {step} | {flair:.1f} | {ours:.0f} | {ours / flair:.0f}x "
                f"| {flair_wall:.1f} | {ours_wall:.0f} |"
            )
        read = by_size[sizes[min(1, len(sizes) - 1)]]["read"]
        limit = f"{speed(read, 'cpu'):.0f} | | | {speed(read, 'seconds'):.0f}"
        lines.append(f"| {text} | reading the bytes, the limit | | {limit} |")
    lines += ["", "By size, CPU seconds (without the kernel's), wall seconds, and memory above the interpreter:", ""]
    head = " | ".join(f"{size // MB} MB" for size in sizes)
    lines += [f"| text | step | {head} |", f"| --- | --- | {' | '.join('---:' for _ in sizes)} |"]
    for text, by_size in found.items():
        for step in STEPS:
            cells = [
                "{cpu:.2f} s ({user:.2f} s), {seconds:.2f} s, {memory:.0f} MB".format_map(rows[step])
                for rows in by_size.values()
            ]
            lines.append(f"| {text} | {step} | {' | '.join(cells)} |")
    lines += ["", "Count and encode in two processes against one:", ""]
    lines += ["| text | size | one | two | ratio |", "| --- | ---: | ---: | ---: | ---: |"]
    for text, by_size in found.items():
        for size in sizes[1:]:
            one, two = (by_size[size][f"{number} process{'es' * (number == 'two')}"] for number in ("one", "two"))
            lines.append(
                f"| {text} | {size // MB} MB | {one['seconds']:.2f} s | {two['seconds']:.2f} s "
                f"| {one['seconds'] / two['seconds']:.2f}x |"
            )
    return "\n".join(lines) + "\n"


def plot(path: Path, found: dict[str, dict[int, dict[str, Row]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(found), 4), layout="constrained")
    for axes, (text, by_size) in zip(
        figure.subplots(1, len(found), squeeze=False, sharey=True)[0], found.items(), strict=True
    ):
        for step in STEPS:
            axes.plot(list(by_size), [rows[step]["cpu"] for rows in by_size.values()], marker="o", label=step)
        flair = next(iter(by_size.values()))
        for step in ("count", "encode"):
            row = flair[f"flair {step}"]
            axes.plot(row["mb"] * MB, row["cpu"], marker="x", linestyle="", label=f"Flair {step}")
        axes.set(xscale="log", yscale="log", title=text, xlabel="bytes of text")
    figure.axes[0].set_ylabel("CPU seconds")
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
