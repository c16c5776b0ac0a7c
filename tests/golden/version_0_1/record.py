"""What a checkout makes of one corpus and one seed, as JSON: what a refactor must not change.

Run from the root:  python -m tests.golden.version_0_1.record CHECKOUT > record.json
record.json is what version 0.1 (commit 036e1ef) gave.

Only the command line is used. The record has three parts, because processors round sums in different orders:
`exact` holds everywhere; `scores` are floats, which hold to the bit on the machine that the record names, and nearly
elsewhere; `bits` are hashes of floats and what follows from them, which say nothing about another machine.
"""

import hashlib
import json
import pickletools
import re
import sqlite3
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tests.golden.version_0_1.command_line import CommandLine, as_lines, settings
from tests.golden.version_0_1.texts import write_later_text, write_sentences, write_texts

RECORD = Path(__file__).with_name("record.json")
TRAINING = settings(
    hidden_size=12,
    embedding_size=8,
    dropout=0.1,
    sequence_length=20,
    mini_batch_size=8,
    gradient_accumulation=2,
    max_characters=6_000,
    validations=2,
    seed=7,
    precision="fp32",
)
PREPARATION = ("--shard-size", "10KB", "--valid-share", "0.1", "--test-share", "0.1")

_SCORES = {"loss", "perplexity", "bits_per_character", "bits_per_byte", "train_loss", "embedding"}
_HASHED = {"sample", "fingerprint_of_weights", "sha256_of_weights", "sha256_of_vectors"}
_LEFT_OUT = {
    "time", "seconds", "characters_per_second", "units_per_second", "seconds_left", "waiting_share",
    "peak_memory_bytes", "libraries", "library_versions", "run_dir", "best_lm", "output",
}  # fmt: skip
"""Times, speeds, versions and paths."""


def record(checkout: Path) -> dict[str, Any]:
    """The record of the code in `checkout`."""
    with tempfile.TemporaryDirectory(prefix="charlm-record-") as name:
        folder = Path(name)
        return {"machine": machine(), **_parts(_everything(checkout, folder))}


def machine() -> dict[str, Any]:
    """What the bits of a float depend on."""
    return {
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def _processor() -> list[str]:
    """Vendor, family, model and name; empty where Linux does not say."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().partition("\n\n")[0].splitlines() if path.is_file() else []
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping")
    return [line for line in lines if line.partition(":")[0].strip() in wanted]


# ---- what is run ---------------------------------------------------------------------------------------------------


def _everything(checkout: Path, folder: Path) -> dict[str, Any]:
    workspace, vectors = folder / "workspace", folder / "vectors.parquet"
    texts, later, sentences = write_texts(folder / "raw"), write_later_text(folder), write_sentences(folder)
    outputs: dict[str, Any] = {}
    with CommandLine(checkout, workspace) as charlm:
        first = ("--name", "golden", "--coverage", "0.995", "--normalization", "NFC", *PREPARATION)
        second = ("--name", "golden", "--domain", "later", "--deduplicate", "--extend-dictionary")
        outputs["prepare"] = charlm("prepare", *texts, *first)
        outputs["prepare again"] = charlm("prepare", later, *second)
        outputs["prepare bytes"] = charlm("prepare", *texts, "--name", "bytes", "--unit", "byte", *PREPARATION)
        outputs["train"] = charlm("train", "golden", *TRAINING)
        forward = ("--direction", "forward", "--no-register")
        outputs["train bytes"] = charlm("train", "bytes", *forward, *TRAINING)
        outputs["evaluate"] = charlm("evaluate", "models:/golden@challenger", *texts[:3])
        outputs["evaluate bytes"] = charlm("evaluate", _run(outputs["train bytes"], "forward"), *texts[:3])
        outputs["embed"] = charlm("embed", "models:/golden/1", sentences, "--output", vectors)
    for name, output in outputs.items():
        if name.startswith("prepare"):
            del output["corpus"]  # its path
    (bundle,) = workspace.glob("mlartifacts/models/*/artifacts/artifacts/bundle")
    runs = {"golden forward": _run(outputs["train"], "forward"), "golden backward": _run(outputs["train"], "backward")}
    runs["bytes forward"] = _run(outputs["train bytes"], "forward")
    return {
        "outputs": outputs,
        "corpora": {name: _corpus(workspace / "corpora" / name) for name in ("golden", "bytes")},
        "runs": {name: _training(run) for name, run in runs.items()},
        "bundle": _bundle(bundle),
        "embeddings": _embeddings(vectors),
        "tracking": _tracking(workspace / "mlflow.db"),
        "files": sorted(_files(workspace)),
    }


def _run(output: dict[str, Any], direction: str) -> Path:
    return Path(output["runs"][direction]["run_dir"])


# ---- what is looked at ---------------------------------------------------------------------------------------------


def _corpus(corpus: Path) -> dict[str, Any]:
    """Manifest, dictionary, counts, and the ids of every encoded file."""
    return {
        "manifest": _json(corpus / "corpus.json"),
        "dictionary": _json(corpus / "dictionary/dictionary.json"),
        "for eyes and for Flair": {
            path.name: _digest(path)
            for path in sorted(corpus.glob("dictionary/*"))
            if path.suffix not in (".json", ".svg")
        },
        "documents": {path.name: _digest(path) for path in sorted(corpus.glob("documents/*"))},
        "counts": {path.name: _table(pq.read_table(path)) for path in sorted(corpus.glob("counts/*"))},
        "encoded": {
            f"{path.parent.name}/{path.name}": _encoded(path) for path in sorted(corpus.glob("encoded/*/*.arrow"))
        },
    }


def _encoded(path: Path) -> dict[str, Any]:
    """Type and digest of the ids, and the facts in the schema."""
    with pa.ipc.open_stream(path) as stream:
        table = stream.read_all()
    facts = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return {**_table(table), "metadata": facts}


def _table(table: pa.Table) -> dict[str, Any]:
    return {"schema": [str(field) for field in table.schema], "rows": _digest_of(table.to_pylist())}


def _training(run: Path) -> dict[str, Any]:
    """Manifest, journal and weights of a run."""
    manifest = _json(run / "run.json")
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "manifest": manifest,
        "keys": {event["event"]: list(event) for event in journal},
        "journal": journal,
        "loss.tsv": (run / "loss.tsv").read_text().splitlines()[0],
        "best-lm.pt": _torch_file(run / "best-lm.pt"),
        "checkpoint.pt": {"classes": _torch_file(run / "checkpoint.pt")["classes"]},
    }


def _torch_file(path: Path) -> dict[str, Any]:
    """The classes that the pickle names, and the digest of the raw values of all tensors."""
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        pickled = archive.read(names["data.pkl"])
        data = sorted((name for name in names if re.fullmatch(r"data/\d+", name)), key=lambda name: int(name[5:]))
        values = hashlib.sha256(b"".join(archive.read(names[name]) for name in data)).hexdigest()
    classes = {argument for opcode, argument, _ in pickletools.genops(pickled) if opcode.name == "GLOBAL"}
    return {"classes": sorted(classes), "sha256_of_weights": values}


def _bundle(bundle: Path) -> dict[str, Any]:
    """Manifest, configurations, and the header and values of the weights."""
    manifest = _json(bundle / "bundle.json")
    manifest["fingerprint_of_weights"] = manifest.pop("fingerprint")
    manifest["runs"] = sorted(manifest["runs"])
    for model in manifest["models"].values():
        model["sha256"] = {name: {"sha256_of_weights": digest} for name, digest in model["sha256"].items()}
    directions = {}
    for path in sorted(bundle.glob("*/model.safetensors")):
        content = path.read_bytes()
        length = 8 + int.from_bytes(content[:8], "little")
        directions[path.parent.name] = {
            "config": _json(path.with_name("config.json")),
            "tensors": json.loads(content[8:length]),
            "sha256_of_weights": hashlib.sha256(content[length:]).hexdigest(),
        }
    return {"manifest": manifest, "directions": directions}


def _embeddings(path: Path) -> dict[str, Any]:
    """Every token, the first vector of each sentence, and the digest of all."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    firsts = {row["sentence_id"]: row["embedding"] for row in reversed(rows)}
    return {
        "schema": [str(field) for field in table.schema],
        "tokens": [[row[name] for name in table.column_names if name != "embedding"] for row in rows],
        "first": [{"embedding": vector} for _, vector in sorted(firsts.items())],
        "sha256_of_vectors": _digest_of([row["embedding"] for row in rows]),
    }


def _tracking(database: Path) -> dict[str, Any]:
    """The names of what is in MLflow."""
    questions = {
        "runs": "SELECT e.name, r.name, r.status FROM runs r JOIN experiments e USING (experiment_id)",
        "tags": "SELECT r.name, t.key FROM tags t JOIN runs r USING (run_uuid)",
        "params": "SELECT r.name, p.key FROM params p JOIN runs r USING (run_uuid)",
        "metrics": "SELECT r.name, m.key, m.step FROM metrics m JOIN runs r USING (run_uuid)",
        "version tags": "SELECT name, version, key FROM model_version_tags",
        "aliases": "SELECT name, version, alias FROM registered_model_aliases",
    }
    with sqlite3.connect(database) as connection:
        found = {name: sorted(set(connection.execute(question))) for name, question in questions.items()}
    return {
        name: [" ".join(map(str, row)) for row in rows if not any(str(part).startswith("system/") for part in row)]
        for name, rows in found.items()
    }


def _files(workspace: Path) -> Iterator[str]:
    """The names of all files, without what is MLflow's own; ids and moments give way to their kind."""
    for path in workspace.rglob("*"):
        name = path.relative_to(workspace).as_posix()
        if path.is_dir() or re.match(r"mlartifacts/models/[^/]+/artifacts/[^/]+$", name):
            continue
        name = re.sub(r"-\d{8}-\d{6}-[0-9a-f]{4}(?=/)", "-MOMENT", name)
        yield re.sub(r"(?<=/)(m-)?[0-9a-f]{32}(?=/)", "ID", name)


# ---- the three parts -----------------------------------------------------------------------------------------------


def _parts(everything: dict[str, Any]) -> dict[str, dict[str, Any]]:
    parts: dict[str, dict[str, Any]] = {"exact": {}, "scores": {}, "bits": {}}
    _divide(everything, "", parts)
    return parts


def _divide(values: dict[str, Any], path: str, parts: dict[str, dict[str, Any]]) -> None:
    """Put every value below `path` into its part; the plain exact values of a dict stay together."""
    plain = {}
    for key, value in values.items():
        below = f"{path}/{key}".removeprefix("/")
        if key in _LEFT_OUT:
            continue
        if key in _SCORES:
            parts["scores"][below] = value
        elif key in _HASHED:
            parts["bits"][below] = _digest_of(value)[:16] if key == "sample" else value
        elif isinstance(value, dict):
            _divide(value, below, parts)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            _divide({f"{number:03}": one for number, one in enumerate(value)}, below, parts)
        else:
            plain[key] = value
    if plain or not values:
        parts["exact"][path] = plain


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


if __name__ == "__main__":
    print(as_lines(record(Path(sys.argv[1]).absolute())))
