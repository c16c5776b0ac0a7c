"""Throughput and memory of the text engine, beside Flair's and beside reading the same bytes.

Every measurement runs in a process of its own, with its own peak memory; `memory` is the memory above the interpreter
with the libraries loaded. Flair (on a shard of the smallest size) and charlm (on the next size) alternate, and a ratio
is the median over the rounds, because the speed of the machine changes from minute to minute. Seconds and speeds are
the best of the rounds. Ratios use CPU seconds, which depend less on other programs than wall-clock seconds; only the
comparison of two processes with one uses the wall clock. `prepare` is everything from raw text to encoded shards, and
its speed is the slope between these two sizes, which excludes fixed costs; Flair's is the count of its tutorial and one
encoding. Flair stores no ids: both encodings of charlm, into memory as in Flair and into a file on the disk, are
compared with the same encoding of Flair. The texts are the interpreter's documentation as it is (latin), with the
letters of every second paragraph replaced by letters of other scripts (mixed), and with all of them replaced
(non-latin).

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
from statistics import median
from typing import Any

import numpy as np

from charlm.arrays.masks import column
from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, SplitConfig, parse_size
from charlm.malloc import keep_freed_memory
from charlm.text.corpus.augmentation import training_ids
from charlm.text.corpus.counting import build_dictionary, count_shard, load_dictionary
from charlm.text.corpus.encoding import encode_chunks, encode_file, ensure_encoded, known_digests, record_unk_rate
from charlm.text.corpus.splitting import split_corpus

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "benchmarks"
STEPS = ("read", "count", "ids", "encode", "shuffle", "prepare")
COMPARED = {
    "count": "count",
    "ids": "encode, ids in memory",
    "encode": "encode, into a file",
    "prepare": "prepare (slope)",
    "shuffle": "visit of a shard: shuffle and flips",
}
TOGETHER = {"ids": "count, ids in memory", "encode": "count, encode into a file"}
SCRIPTS = (0x0430, 0x3042, 0x0905, 0x0621)  # Cyrillic, Hiragana, Devanagari, Arabic
MB = 1_000_000

Row = dict[str, float]
Rounds = dict[str, list[Row]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flair-python", required=True, help="interpreter of an environment with flair 0.15.1")
    parser.add_argument("--text", action="append", default=[], metavar="NAME=FILE", help="in place of the three texts")
    parser.add_argument("--sizes", nargs="+", default=["10MB", "100MB", "1GB"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=DOCS)
    parser.add_argument("--measure", nargs=3, metavar=("STEP", "CORPUS", "RAW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        step, corpus, raw = options.measure
        print(json.dumps(measure(step, CorpusFiles(Path(corpus)), Path(raw))))
        return
    texts = {name: Path(file).read_text() for name, _, file in (text.partition("=") for text in options.text)}
    sizes = [parse_size(size) for size in options.sizes]
    found: dict[str, dict[int, Rounds]] = {}
    for name, text in (texts or documentation()).items():
        found[name] = {}
        with tempfile.TemporaryDirectory() as folder:
            small = CorpusFiles(Path(folder) / "small")
            for size in sizes:
                beside_flair = small if size == sizes[min(1, len(sizes) - 1)] else None
                found[name][size] = compare(Path(folder), text, size, sizes[0], beside_flair, options)
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


def compare(
    folder: Path, text: str, size: int, smallest: int, beside_flair: CorpusFiles | None, options: argparse.Namespace
) -> Rounds:
    """Seconds and memory of each step at one size, round by round; with Flair's for the shard of a small corpus."""
    raw, small_raw, corpus = folder / "raw.txt", folder / "small.txt", CorpusFiles(folder / "corpus")
    write_raw(raw, text, size)
    write_raw(small_raw, text, smallest)
    steps = ["prepare", "read", "count", "ids", "encode", "shuffle"]
    if size > smallest:
        steps += [f"{number} {name}" for name in TOGETHER for number in ("one", "two")]
    rounds: Rounds = {}

    def add(step: str, measured: str, corpus: CorpusFiles, raw: Path) -> None:
        command = [sys.executable, __file__, "--flair-python=", "--measure", measured, str(corpus.root), str(raw)]
        rounds.setdefault(step, []).append(run(command))

    for _ in range(options.rounds):
        if beside_flair is not None:
            add("small prepare", "prepare", beside_flair, small_raw)
            flair = run([options.flair_python, str(HERE / "flair_text.py"), str(beside_flair.root)])
            num_mb = beside_flair.shard(1).stat().st_size / MB
            for step, (seconds, cpu) in ((step, flair[step]) for step in ("count", "encode", "visit")):
                rounds.setdefault(f"flair {step}", []).append({"seconds": seconds, "cpu": cpu, "mb": num_mb})
        for step in steps:
            add(step, step, corpus, raw)
    shutil.rmtree(corpus.root)
    return rounds


def run(command: list[str]) -> Any:
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit(process.returncode)  # it has said why
    return json.loads(process.stdout.splitlines()[-1])


def best(rows: list[Row], value: str) -> float:
    return min(row[value] for row in rows)


def measure(step: str, corpus: CorpusFiles, raw: Path) -> Row:
    """Do one step in this process: its seconds by the clock and of the processor, megabytes of text, and megabytes of
    memory above the start."""
    num_bytes = raw.stat().st_size
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: read(raw),
        "prepare": lambda: prepare(corpus, raw),
        "count": lambda: count_all(corpus),
        "ids": lambda: make_ids(corpus),
        "encode": lambda: encode_all(corpus),
        "shuffle": lambda: shuffle_all(corpus),
        "one ids": lambda: count_and(make_ids_of, corpus, 1),
        "two ids": lambda: count_and(make_ids_of, corpus, 2),
        "one encode": lambda: count_and(encode_one, corpus, 1),
        "two encode": lambda: count_and(encode_one, corpus, 2),
    }
    if step == "prepare":
        shutil.rmtree(corpus.root, ignore_errors=True)
    else:
        num_bytes = sum(shard.stat().st_size for shard in corpus.shards())
    column(np.zeros(1))  # loads what the first use of Polars loads; the other libraries stand at the top
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


@keep_freed_memory()
def make_ids_of(corpus: CorpusFiles, shard: Path) -> None:
    """What Flair's dataset does: the ids of a file, in memory."""
    for _ in encode_chunks(shard, load_dictionary(corpus)):
        pass


@keep_freed_memory()
def make_ids(corpus: CorpusFiles) -> None:
    for shard in corpus.shards():
        make_ids_of(corpus, shard)


def encode_all(corpus: CorpusFiles) -> None:
    for shard in corpus.shards():
        encode_one(corpus, shard)
    remove_again(corpus)


def count_and(encode: Callable[[CorpusFiles, Path], None], corpus: CorpusFiles, num_processes: int) -> None:
    with ProcessPoolExecutor(num_processes) as pool:
        list(pool.map(partial(count_one, corpus), corpus.shards()))
        list(pool.map(partial(encode, corpus), corpus.shards()))
    remove_again(corpus)


def remove_again(corpus: CorpusFiles) -> None:
    shutil.rmtree(corpus.encoded_root / "again", ignore_errors=True)
    for path in corpus.counts_dir.glob("*.again"):
        path.unlink()


@keep_freed_memory()  # as trainings do
def shuffle_all(corpus: CorpusFiles) -> None:
    dictionary = load_dictionary(corpus)
    for shard in corpus.shards():
        encoded = corpus.encoded(dictionary.fingerprint, shard.name)
        training_ids(encoded, dictionary, seed=1, shuffle=True, random_case_flip=True, is_forward_lm=True)


# ---- showing -------------------------------------------------------------------------------------------------------


def speeds(rounds: Rounds, step: str, clock: str) -> list[tuple[float, float]]:
    """Megabytes a second of Flair and of ours in each round."""

    def of(name: str) -> list[float]:
        return [row["mb"] / row[clock] for row in rounds[name]]

    if step != "prepare":
        beside = {"ids": "encode", "shuffle": "visit"}.get(step, step)
        return list(zip(of(f"flair {beside}"), of(step), strict=True))
    flair = [1 / (1 / count + 1 / encode) for count, encode in zip(of("flair count"), of("flair encode"), strict=True)]
    slopes = [
        (large["mb"] - small["mb"]) / (large[clock] - small[clock]) if large["mb"] > small["mb"] else speed
        for small, large, speed in zip(rounds["small prepare"], rounds["prepare"], of("prepare"), strict=True)
    ]
    return list(zip(flair, slopes, strict=True))


def render(found: dict[str, dict[int, Rounds]], sizes: list[int]) -> str:
    compared = sizes[min(1, len(sizes) - 1)]
    lines = ["# Text: speed and memory beside Flair 0.15.1", "", " ".join((__doc__ or "").split("\n\n")[1].split()), ""]
    lines += ["One process, megabytes of UTF-8 a second:", ""]
    lines += ["| text | step | Flair, CPU | ours, CPU | ratio | lowest to highest | Flair, wall | ours, wall |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for text, by_size in found.items():
        rounds = by_size[compared]
        for step, title in COMPARED.items():
            by_cpu, by_wall = (speeds(rounds, step, clock) for clock in ("cpu", "seconds"))
            (flair, ours), (flair_wall, ours_wall) = (map(max, zip(*pairs, strict=True)) for pairs in (by_cpu, by_wall))
            ratios = sorted(ours / flair for flair, ours in by_cpu)
            lines.append(
                f"| {text} | {title} | {flair:.1f} | {ours:.0f} | {median(ratios):.0f}x "
                f"| {ratios[0]:.0f}x to {ratios[-1]:.0f}x | {flair_wall:.1f} | {ours_wall:.0f} |"
            )
        read = rounds["read"]
        limit = f"{read[0]['mb'] / best(read, 'cpu'):.0f} | | | | {read[0]['mb'] / best(read, 'seconds'):.0f}"
        lines.append(f"| {text} | reading the bytes, the limit | | {limit} |")
    lines += ["", "By size, CPU seconds (without the kernel's), wall seconds, and memory above the interpreter:", ""]
    head = " | ".join(f"{size // MB} MB" for size in sizes)
    lines += [f"| text | step | {head} |", f"| --- | --- | {' | '.join('---:' for _ in sizes)} |"]
    for text, by_size in found.items():
        for step in STEPS:
            cells = [
                "{cpu:.2f} s ({user:.2f} s), {seconds:.2f} s, {memory:.0f} MB".format(
                    **{value: best(rounds[step], value) for value in ("cpu", "user", "seconds")},
                    memory=max(row["memory"] for row in rounds[step]),
                )
                for rounds in by_size.values()
            ]
            lines.append(f"| {text} | {step} | {' | '.join(cells)} |")
    lines += ["", "Two processes against one, wall seconds; the ratio is the median of the rounds:", ""]
    lines += ["| text | step | size | one | two | ratio |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for text, by_size in found.items():
        for name, title in TOGETHER.items():
            for size in sizes[1:]:
                one, two = ([row["seconds"] for row in by_size[size][f"{number} {name}"]] for number in ("one", "two"))
                ratio = median(alone / together for alone, together in zip(one, two, strict=True))
                lines.append(
                    f"| {text} | {title} | {size // MB} MB | {min(one):.2f} s | {min(two):.2f} s | {ratio:.2f}x |"
                )
    return "\n".join(lines) + "\n"


def plot(path: Path, found: dict[str, dict[int, Rounds]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(found), 4), layout="constrained")
    for axes, (text, by_size) in zip(
        figure.subplots(1, len(found), squeeze=False, sharey=True)[0], found.items(), strict=True
    ):
        for step in STEPS:
            axes.plot(list(by_size), [best(rounds[step], "cpu") for rounds in by_size.values()], marker="o", label=step)
        for rounds in by_size.values():
            for step in ("count", "encode"):
                if rows := rounds.get(f"flair {step}"):
                    num_bytes = rows[0]["mb"] * MB
                    axes.plot(num_bytes, best(rows, "cpu"), marker="x", linestyle="", label=f"Flair {step}")
        axes.set(xscale="log", yscale="log", title=text, xlabel="bytes of text")
    figure.axes[0].set_ylabel("CPU seconds")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside right center")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
