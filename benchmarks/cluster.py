"""Counting and encoding of shards on a Dask cluster: what a second worker brings.

The tasks are those of the prepare flow, sent through Prefect to a LocalCluster of processes by its address, as to a
remote one. Workers are warm: a small corpus goes before the one that is measured. Splitting is one process whatever the
cluster has, and is measured beside it.

Usage: python benchmarks/cluster.py [--size 1GB] [--shard-size 50MB] [--workers 1 2]
Writes docs/benchmarks/cluster.md
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the floors of the checkout

from distributed import LocalCluster
from text import documentation, write_raw

from charlm.artifacts import CorpusFiles, Workspace
from charlm.config import ReadConfig, SplitConfig, parse_size
from charlm.text.corpus.counting import load_dictionary
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.text_files import text_files
from flows.task_runners import DASK_ADDRESS_VARIABLE, open_task_runner
from tasks.corpus import prepare as corpora
from tasks.services.session import start_prefect, use_workspace

TABLE = Path(__file__).parent.parent / "docs" / "benchmarks" / "cluster.md"
MB = 1_000_000


@dataclass(frozen=True)
class Work:
    """Seconds that the mapped tasks took on all shards together."""

    count: float
    encode: float

    @property
    def seconds(self) -> float:
        return self.count + self.encode


def work_on_shards(corpus: CorpusFiles) -> Work:
    """Count and encode every shard on the cluster; run as a flow."""
    from tasks.steps import PrefectSteps

    manifest = load_manifest(corpus)
    files = text_files(corpus, manifest)
    with PrefectSteps(partial(open_task_runner, "dask")).workers(corpus) as for_each:
        started = time.perf_counter()
        for_each("count", corpora.count_shards, files[:-2], manifest.split)
        counted = time.perf_counter()
        corpora.build_dictionary(corpus, None, with_new_units=False)
        dictionary_built = time.perf_counter()
        for_each("encode", corpora.encode_texts, files, load_dictionary(corpus).fingerprint)
        return Work(counted - started, time.perf_counter() - dictionary_built)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1GB", help="of the text")
    parser.add_argument("--shard-size", default="50MB")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    size, shard_size = parse_size(options.size), parse_size(options.shard_size)
    with tempfile.TemporaryDirectory(prefix="charlm-cluster-") as folder:
        space = use_workspace(Path(folder) / "workspace")
        start_prefect()
        small, _ = split(space, "small", 2 * max(options.workers) * MB, MB)
        corpus, split_seconds = split(space, "measured", size, shard_size)
        found: dict[int, list[Work]] = {num_workers: [] for num_workers in options.workers}
        for _ in range(options.rounds):  # the sizes take turns, so a change of the machine's speed meets all
            for num_workers in options.workers:
                found[num_workers].append(measure(num_workers, small, corpus))
                print(f"{num_workers} workers: {found[num_workers][-1]}", file=sys.stderr, flush=True)
        num_shards = len(corpus.shards())
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(render(found, size, num_shards, split_seconds))
    print(options.output.read_text())


def split(space: Workspace, name: str, size: int, shard_size: int) -> tuple[CorpusFiles, float]:
    """A corpus of `size` bytes with its shards alone, and the seconds that splitting took."""
    raw = space.root.parent / f"{name}.txt"
    write_raw(raw, documentation()["latin"], size)
    started = time.perf_counter()
    config = SplitConfig(shard_size=shard_size)
    corpus = corpora.split_text(space, [str(raw)], name, config, ReadConfig(), domain=None)
    raw.unlink()
    return corpus, time.perf_counter() - started


def measure(num_workers: int, small: CorpusFiles, corpus: CorpusFiles) -> Work:
    from prefect import flow  # which reads the workspace's settings when it is imported

    as_flow = flow(name="charlm-benchmark-cluster")(work_on_shards)
    with LocalCluster(n_workers=num_workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        os.environ[DASK_ADDRESS_VARIABLE] = cluster.scheduler_address
        for part in (small, corpus):
            forget(part)
            work = as_flow(part)
    return work


def forget(corpus: CorpusFiles) -> None:
    """Remove what was made of the shards, so that it is made again; the dictionary stays."""
    for made in (*corpus.counts_dir.glob("*"), *corpus.encoded_root.rglob("*.arrow")):
        made.unlink()


def render(found: dict[int, list[Work]], size: int, num_shards: int, split_seconds: float) -> str:
    fewest = min(found)
    seconds = {num_workers: statistics.median(work.seconds for work in works) for num_workers, works in found.items()}
    lines = [
        "# Text preparation on a Dask cluster",
        "",
        f"`benchmarks/cluster.py`: {size / MB:,.0f} MB in {num_shards} shards, warm workers of one thread each on this "
        f"machine ({os.cpu_count()} cores), medians of {len(found[fewest])} interleaved rounds. Splitting before it is "
        f"one process: {split_seconds:,.1f} s, {size / MB / split_seconds:,.0f} MB/s.",
        "",
        "| workers | count | encode | both | text a second | against one | efficiency |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for num_workers, works in found.items():
        count, encode = (statistics.median(getattr(work, step) for work in works) for step in ("count", "encode"))
        gain = seconds[fewest] / seconds[num_workers]
        lines.append(
            f"| {num_workers} | {count:,.1f} s | {encode:,.1f} s | {seconds[num_workers]:,.1f} s "
            f"| {size / MB / seconds[num_workers]:,.0f} MB | {gain:.2f}x | {gain * fewest / num_workers:.0%} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
