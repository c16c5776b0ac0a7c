"""What is computed on a GPU is what is computed on the CPU, and the benchmark that needs one says so."""

import dataclasses
import importlib
import pydoc_data.topics
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.embeddings import FlairEmbeddings
from charlm.evaluation.language_model import score_file
from charlm.language_models.language_model import LanguageModel
from charlm.nn.precision import can_compute_bf16
from charlm.trainers.lm.checkpoint import Checkpoint
from charlm.trainers.lm.manifest import RunManifest, create_run
from tests.conftest import ROOT, environment

needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
on_gpu = pytest.mark.parametrize("device", [pytest.param("cuda", marks=needs_gpu)])

TINY = TrainingConfig(
    hidden_size=32, embedding_size=16, sequence_length=20, mini_batch_size=8, max_characters=40_000, precision="fp32"
)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    """Real English text in two train shards of 20,000 characters, with its dictionary."""
    root = tmp_path_factory.mktemp("corpora") / "topics"
    text = "".join(pydoc_data.topics.topics[topic] for topic in sorted(pydoc_data.topics.topics))
    (root / "train").mkdir(parents=True)
    for number in range(2):
        (root / "train" / f"train_split_{number + 1:04d}").write_text(text[number * 20_000 : (number + 1) * 20_000])
    (root / "valid.txt").write_text(text[40_000:44_000])
    (root / "test.txt").write_text(text[44_000:48_000])
    Dictionary.from_items(character for character, _ in Counter(text).most_common()).save(CorpusFiles(root).dictionary)
    return root


def start_run(corpus_dir: Path, run_dir: Path, device: str, training: TrainingConfig = TINY, **changes) -> RunFiles:
    config = RunConfig(
        run_dir=str(run_dir),
        corpus_dir=str(corpus_dir),
        direction="forward",
        training=training,
        device=device,
        **changes,
    )
    return create_run(config, Dictionary.load_from_file(CorpusFiles(corpus_dir).dictionary))


def trainer(run: RunFiles, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "charlm.trainers.run", str(run.manifest), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def train(run: RunFiles, *arguments: str) -> dict:
    process = trainer(run, *arguments)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return RunManifest.load(run).result


# ---- training ------------------------------------------------------------------------------------------------------


@on_gpu
def test_training_follows_the_cpu_in_fp32(corpus_dir, tmp_path, device):
    ours = train(start_run(corpus_dir, tmp_path / "gpu", device))
    theirs = train(start_run(corpus_dir, tmp_path / "cpu", "cpu", num_threads=1))
    assert ours["test"]["loss"] == pytest.approx(theirs["test"]["loss"], abs=0.02)


@on_gpu
def test_training_in_bf16_learns_as_fp32_does(corpus_dir, tmp_path, device):
    losses = {
        precision: train(
            start_run(corpus_dir, tmp_path / precision, device, dataclasses.replace(TINY, precision=precision))
        )
        for precision in ("fp32", "bf16")
    }
    assert losses["bf16"]["test"]["loss"] == pytest.approx(losses["fp32"]["test"]["loss"], abs=0.05)


@on_gpu
def test_an_interrupted_training_goes_on_with_the_generators_of_the_gpu(corpus_dir, tmp_path, device):
    training = dataclasses.replace(TINY, dropout=0.2, max_characters=2_000_000)
    run = start_run(corpus_dir, tmp_path / "run", device, training)
    process = trainer(run)
    deadline = time.monotonic() + 120
    while not run.journal.exists() or '"event": "train"' not in run.journal.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert "cuda" in Checkpoint.load(run.checkpoint).random_state
    assert train(run, "--resume")["characters"] >= 2_000_000


@on_gpu
def test_one_process_per_gpu_follows_one_gpu(corpus_dir, tmp_path, device):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    alone = train(start_run(corpus_dir, tmp_path / "one", device))
    together = train(start_run(corpus_dir, tmp_path / "two", "auto", num_processes=2))
    assert together["test"]["loss"] == pytest.approx(alone["test"]["loss"], abs=0.02)


# ---- embedding, scores, files --------------------------------------------------------------------------------------


@pytest.fixture
def model(corpus_dir) -> LanguageModel:
    torch.manual_seed(1)
    dictionary = Dictionary.load_from_file(CorpusFiles(corpus_dir).dictionary)
    return LanguageModel(dictionary, True, hidden_size=64, nlayers=1, dropout=0.0).eval()


@on_gpu
def test_embeddings_are_those_of_the_cpu(model, device):
    texts = ["The grass is green .", "I love Berlin", "a"]
    vectors = {}
    for place in ("cpu", device):
        sentences = [Sentence(text) for text in texts]
        FlairEmbeddings(model.to(place)).embed(sentences)
        vectors[place] = torch.stack([token.embedding.cpu() for sentence in sentences for token in sentence])
    assert torch.allclose(vectors["cpu"], vectors[device], atol=2e-3)  # cuDNN multiplies with TF32


@on_gpu
def test_scores_are_those_of_the_cpu(model, corpus_dir, device):
    expected = score_file(model, corpus_dir / "test.txt").loss
    assert score_file(model.to(device), corpus_dir / "test.txt").loss == pytest.approx(expected, abs=1e-3)


@on_gpu
def test_a_model_is_saved_the_same_from_wherever_it_lies(model, tmp_path, device):
    model.save(tmp_path / "cpu.pt")
    model.to(device).save(tmp_path / "gpu.pt")
    weights = {name: LanguageModel.load_language_model(tmp_path / f"{name}.pt").state_dict() for name in ("cpu", "gpu")}
    assert all(torch.equal(weights["cpu"][name], weights["gpu"][name]) for name in weights["cpu"])
    assert all(not tensor.is_cuda for tensor in weights["gpu"].values())


# ---- the benchmark -------------------------------------------------------------------------------------------------


def benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_benchmark_ends_with_one_line_where_there_is_no_gpu():
    outcome = benchmark()
    assert outcome.returncode == 2
    assert outcome.stderr.strip() == "no CUDA device: nothing was measured"


@pytest.mark.slow
def test_the_benchmark_writes_a_row_for_each_measurement(tmp_path):
    outcome = benchmark("--device", "cpu", "--quick", "--minutes", 10, "--output", tmp_path / "gpu.md")
    assert outcome.returncode == 0, outcome.stderr
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "gpu.md").read_text().splitlines()[4:]]
    assert len(rows) >= 12
    assert all(len(row) == 4 and "failed" not in row[3] for row in rows), rows
    left_out = [remark for *_, remark in rows if remark.startswith("left out")]
    assert left_out == ([] if can_compute_bf16(torch.device("cpu")) else ["left out: no bf16 here"])
    assert all(float(value.replace(",", "")) > 0 for _, value, _, remark in rows if remark not in left_out)


def test_a_measurement_that_fails_or_comes_too_late_is_a_row(tmp_path):
    with benchmark_module() as gpu:
        table = gpu.Table(tmp_path / "gpu.md", torch.device("cpu"), deadline=time.monotonic() + 60)
        assert table.measure("good", lambda: (2.0, "m", "")) == 2
        assert table.measure("bad", lambda: 1 / 0) is None
        table = gpu.Table(tmp_path / "late.md", torch.device("cpu"), deadline=time.monotonic() - 1)
        assert table.measure("late", lambda: (2.0, "m", "")) is None
    assert (tmp_path / "gpu.md").read_text().splitlines()[-2:] == [
        "| good | 2 | m |  |",
        "| bad |  |  | failed: ZeroDivisionError division by zero |",
    ]
    assert "left out: no time" in (tmp_path / "late.md").read_text()


@contextmanager
def benchmark_module():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("gpu")
    finally:
        sys.path.pop(0)


def test_operations_of_a_character_are_counted_by_hand():
    with benchmark_module() as gpu:
        # H=2, E=3, V=5: gates 4 * 2 * (3 + 2) = 40 and decoder 2 * 5 = 10 weights; 2 operations each, 3 passes.
        assert gpu.operations(dataclasses.replace(TINY, hidden_size=2, embedding_size=3), 5) == 6 * 50
