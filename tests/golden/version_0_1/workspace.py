"""A small workspace with a registry, as a version leaves it: what later versions must be able to open.

Run from the root:  python -m tests.golden.version_0_1.workspace CHECKOUT
Writes workspace.tar.xz and expected.json beside this file; both come from version 0.1 (commit 036e1ef).

The workspace holds the corpus `old` and the registered pair `old` with two versions, of which the second is champion in
the place of the first; an interrupted forward run of `old`; the corpus `bytes` with a finished run; and the registered
tagger `scripts`. Only the command line is used.
"""

import json
import lzma
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.golden.version_0_1.command_line import CommandLine, as_lines, clean_environment, run_python, settings
from tests.golden.version_0_1.texts import write_labels, write_sentences, write_texts

FOLDER = Path(__file__).parent
ARCHIVE, EXPECTED = FOLDER / "workspace.tar.xz", FOLDER / "expected.json"
SIZES = {"hidden_size": 8, "embedding_size": 8, "sequence_length": 20, "mini_batch_size": 8}
INTERRUPTED = settings(**SIZES, max_characters=80_000, validations=1, seed=3, precision="fp32")
"""The settings of the run that `--resume` continues."""

_WITHOUT = ("*.png", "weights.txt", "conda.yaml", "python_env.yaml", "serving_input_example.json")
"""Files that nothing reads again."""

# As `mlflow models serve` does, without charlm's help; prints a list of predictions for each address.
PREDICT = """
import json, sys
import mlflow
texts, *addresses = json.loads(sys.argv[1])
print(json.dumps([mlflow.pyfunc.load_model(address).predict(texts) for address in addresses]))
"""


def main(checkout: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="charlm-") as name:
        folder = Path(name)
        workspace = folder / "workspace"
        _make(checkout, workspace)
        with CommandLine(checkout, workspace) as charlm:
            EXPECTED.write_text(as_lines(look(charlm, checkout, workspace)) + "\n")
        for path in [*(path for pattern in _WITHOUT for path in workspace.rglob(pattern)), *_checkpoints(workspace)]:
            path.unlink()
        for path in workspace.glob("mlartifacts/models/*/artifacts/MLmodel"):
            path.write_text(path.read_text().replace(str(checkout), "/checkout"))  # which other machines do not have
        _pack(workspace)


def _make(checkout: Path, workspace: Path) -> None:
    folder = workspace.parent
    texts, labels = write_texts(folder / "raw"), write_labels(folder / "labels")
    shares = ("--valid-share", "0.1", "--test-share", "0.2")
    with CommandLine(checkout, workspace) as charlm:
        charlm("prepare", *texts[:2], "--name", "old", *shares)
        charlm("prepare", *texts[2:], "--name", "bytes", "--unit", "byte", *shares)
        for characters in (2_000, 20_000):
            training = settings(**SIZES, max_characters=characters, validations=1, precision="fp32")
            charlm("train", "old", *training)
            assert charlm("promote", "old")["promoted"]
        forward = ("--direction", "forward", "--no-register")
        charlm("train", "bytes", *forward, *training)
        tagger = ("--name", "scripts", "--model", "models:/old@champion", *settings(hidden_size=8, max_epochs=3))
        charlm("tag-train", labels, *tagger)
    _interrupt_training(checkout, workspace)


def _interrupt_training(checkout: Path, workspace: Path) -> None:
    """Begin a run, and send Ctrl-C when it has trained a little."""
    known = set(workspace.glob("runs/*"))
    command = ["train", "old", "--direction", "forward", "--no-register", *INTERRUPTED, "--workspace", str(workspace)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import main; main()", *command],
        cwd=workspace.parent,
        env=clean_environment(checkout),
    )
    while not any(b'"train"' in path.read_bytes() for path in _journals(workspace, known)):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130


def _journals(workspace: Path, known: set[Path]) -> list[Path]:
    return [path for run in set(workspace.glob("runs/*")) - known for path in run.glob("journal.jsonl")]


def _checkpoints(workspace: Path) -> list[Path]:
    """Those of finished runs."""
    manifests = [
        path for path in workspace.glob("runs/*/run.json") if json.loads(path.read_text())["state"] == "finished"
    ]
    return [path.with_name("checkpoint.pt") for path in manifests]


def _pack(workspace: Path) -> None:
    with tarfile.open(ARCHIVE, "w:xz", preset=9 | lzma.PRESET_EXTREME) as archive:
        archive.add(workspace, "workspace", filter=_without_owner)


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def unpack(folder: Path) -> Path:
    """The workspace, unpacked into `folder`."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "workspace"


# ---- what later versions have to see -------------------------------------------------------------------------------


def look(charlm: CommandLine, checkout: Path, workspace: Path) -> dict[str, Any]:
    """Scores, vectors and labels that the models of the workspace give; nothing in it is changed."""
    folder = workspace.parent
    texts, sentences = write_texts(folder / "raw"), write_sentences(folder)
    (bytes_run,) = workspace.glob("runs/bytes-*")
    return {
        "champion": charlm("evaluate", "models:/old@champion", texts[0]),
        "first version": charlm("evaluate", "models:/old/1", texts[0]),
        "byte model": charlm("evaluate", bytes_run, texts[2]),
        "vectors": _embed(charlm, "models:/old@champion", sentences),
        "labels": charlm("predict", "models:/scripts@newest", sentences),
        "served": serve(checkout, workspace),
    }


def _embed(charlm: CommandLine, model: str, sentences: Path) -> dict[str, Any]:
    output = sentences.with_name("vectors.parquet")
    charlm("embed", model, sentences, "--output", output)
    rows = pq.read_table(output).to_pylist()
    return {"tokens": [row["token"] for row in rows], "vectors": [row["embedding"] for row in rows]}


def serve(checkout: Path, workspace: Path) -> list[Any]:
    """What MLflow answers with the first version of the pair, and with the tagger."""
    question = json.dumps([["the quick слово", "größer"], "models:/old/1", "models:/scripts/1"])
    database = f"sqlite:///{workspace}/mlflow.db"
    answer: list[Any] = run_python(checkout, PREDICT, question, MLFLOW_TRACKING_URI=database)
    return answer


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
