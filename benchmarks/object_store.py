"""What it costs a second machine to have a corpus of an object store: an empty cache folder against copying the bytes.

A stand-in for S3 on this machine serves both. `copy` gets the objects that a training needs with s3fs alone, `bring`
names the corpus with an empty cache folder, as a training on another machine does before its first step: what it costs
beyond `copy` is digests, manifests and syncs. Each is a process of its own, whose imports do not count, and they take
turns.

    python benchmarks/object_store.py [--megabytes 100] [--repeats 5] [--markdown docs/benchmarks/object-store.md]
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the floors of the checkout

from tests.mlflow_server import running_mlflow
from tests.object_store import BUCKET, ObjectStore, object_store

ROOT = Path(__file__).parent.parent
WORKSPACE = f"s3://{BUCKET}/ws"
COMMAND = [sys.executable, "-c", "from charlm_pipeline import main; main()"]
COPY = """
import sys, time, s3fs
keys, begin = open(sys.argv[1]).read().split(), time.monotonic()
files = s3fs.S3FileSystem()
files.get(keys, [f"{sys.argv[2]}/{number}" for number in range(len(keys))], batch_size=8)
print(time.monotonic() - begin)
"""
BRING = """
import sys, time, s3fs
from charlm.remote.workspace import open_remote
begin = time.monotonic()
open_remote(sys.argv[1], print).prepared_corpus("books", train_text=False)
print(time.monotonic() - begin)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100, help="size of the text")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        object_store() as store,
        running_mlflow(Path(name) / "mlflow") as mlflow,
    ):
        folder = Path(name)
        variables = {
            **os.environ,
            **store.variables,
            "MLFLOW_TRACKING_URI": mlflow,
            "CHARLM_WORKSPACE": WORKSPACE,
        }
        write_text(folder / "text.txt", options.megabytes * 1_000_000)
        command = [*COMMAND, "prepare", str(folder / "text.txt"), "--name", "books", "--shard-size", "20MB"]
        subprocess.run(command, env=cache(variables, folder / "first"), cwd=ROOT, check=True)
        sizes = needed_objects(store)
        (folder / "keys").write_text("\n".join(sizes))
        num_bytes = sum(sizes.values())
        seconds: dict[str, list[float]] = {"copy": [], "bring": []}
        for _ in range(options.repeats):
            seconds["copy"].append(
                timed(COPY, [str(folder / "keys"), str(folder / "copy")], folder / "copy", variables)
            )
            second = cache(variables, folder / "second")
            seconds["bring"].append(timed(BRING, [WORKSPACE], folder / "second", second))
            print({kind: round(values[-1], 2) for kind, values in seconds.items()}, file=sys.stderr, flush=True)
    table = render(options.megabytes, num_bytes, seconds)
    if options.markdown:
        options.markdown.write_text(table)
    print(table)


def needed_objects(store: ObjectStore) -> dict[str, int]:
    """The bytes of all objects of the corpus but the text of its train shards, by bucket and key."""
    (ref,) = [key for key in store.object_keys() if "/refs/corpora/" in key]
    manifest = json.loads(store.client().get_object(Bucket=BUCKET, Key=ref)["Body"].read())
    files = [file for file in manifest["files"] if not file["path"].startswith("train/")]
    return {f"{BUCKET}/ws/{file['key']}": file["size"] for file in files}


def cache(variables: dict[str, str], folder: Path) -> dict[str, str]:
    return {**variables, "CHARLM_WORKSPACE_CACHE": str(folder)}


def write_text(path: Path, num_bytes: int) -> None:
    """Text whose shards differ, so that each is an object of its own."""
    choose = random.Random(1)
    words = ["".join(choose.choices("etaoinshrdlu", k=choose.randint(2, 9))) for _ in range(5_000)]
    with path.open("w") as file:
        while file.tell() < num_bytes:
            file.write("\n".join(" ".join(choose.choices(words, k=12)) + "." for _ in range(10_000)) + "\n")


def timed(program: str, arguments: list[str], folder: Path, variables: dict[str, str]) -> float:
    """The seconds that a program prints, with `folder` empty before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = [sys.executable, "-c", program, *arguments]
    return float(subprocess.run(command, env=variables, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


def render(megabytes: int, num_bytes: int, seconds: dict[str, list[float]]) -> str:
    ratios = [bring / copy for copy, bring in zip(seconds["copy"], seconds["bring"], strict=True)]
    copied, brought = (statistics.median(seconds[kind]) for kind in ("copy", "bring"))
    return f"""# A workspace in an object store

`python benchmarks/object_store.py` on this machine, which is the object store too: a stand-in for S3 in Python, whose
CPU time the other side lacks. A corpus of {megabytes} MB of text, of which a training needs {num_bytes / 1e6:,.0f} MB
of objects: its ids, and the held-out text.

| what | seconds |
| --- | --- |
| s3fs alone copies the objects | {copied:.2f} |
| charlm brings them into an empty cache folder, as a training does before its first step | {brought:.2f} |
| median of the ratios of neighbours | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |
"""


if __name__ == "__main__":
    main()
