"""PostgreSQL and an object store under the service and under text: real ones, as far as this machine has them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_charlm, write_sentences
from tests.live_service import LiveService, end, wait_until
from tests.object_store import BUCKET, ObjectStore, object_store
from tests.postgresql import postgresql_server

NUM_RUNS = 10


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


# ---- raw text ------------------------------------------------------------------------------------------------------


def corpus_files(workspace: Path) -> dict[Path, bytes]:
    corpus = workspace / "corpora" / "tiny"
    paths = [corpus / "valid.txt", corpus / "test.txt", *sorted((corpus / "train").iterdir())]
    return {path.relative_to(corpus): path.read_bytes() for path in paths}


def test_text_in_an_object_store_makes_the_corpus_of_local_text(store, tmp_path):
    (tmp_path / "raw").mkdir()
    for number in range(3):
        path = write_sentences(tmp_path / "raw" / f"book-{number}.txt", seed=number, num_lines=1_000)
        store.put(f"raw/{path.name}", path.read_bytes())
    near, far = tmp_path / "near", tmp_path / "far"
    local = run_charlm("prepare", *sorted((tmp_path / "raw").iterdir()), "--name", "tiny", "--workspace", near)
    remote = run_charlm("prepare", f"s3://{BUCKET}/raw/*.txt", "--name", "tiny", "--workspace", far, **store.variables)
    assert (local.code, remote.code) == (0, 0), remote.stderr
    assert corpus_files(far) == corpus_files(near)


def test_text_that_the_object_store_lacks_is_one_clear_line(store, tmp_path):
    outcome = run_charlm(
        "prepare", f"s3://{BUCKET}/nowhere.txt", "--name", "tiny", "--workspace", tmp_path / "w", **store.variables
    )
    assert outcome.code == 2
    assert f"s3://{BUCKET}/nowhere.txt" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "w").exists()


# ---- the service ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service with its databases in PostgreSQL and its models in the object store."""
    with ExitStack() as stack:
        database = stack.enter_context(postgresql_server("service_prefect", "service_mlflow"))
        service = LiveService.on_free_ports(
            tmp_path_factory.mktemp("backends") / "workspace",
            DATABASE=f"{database.address}/service",
            ARTIFACTS=f"s3://{BUCKET}/mlflow",
            **store.variables,
        )
        stack.callback(service.down)
        service.up()
        yield service


@pytest.fixture
def more_workers(service: LiveService) -> Iterator[None]:
    """A second worker beside the service's own, which takes three runs at a time."""
    prefect = Path(sys.executable).with_name("prefect")
    command = [prefect, "worker", "start", "--pool", "charlm-cpu", "--type", "process", "--limit", str(NUM_RUNS)]
    variables = service.process("charlm-cpu").environ()  # the same but for its limit
    with service.prefect() as client:  # the limit of a queue is that of all workers
        queue = client.read_work_queue_by_name("default", work_pool_name="charlm-cpu")
        client.update_work_queue(queue.id, concurrency_limit=2 * NUM_RUNS)
    worker = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield
    end(worker)


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.timeout(3600)
def test_ten_runs_at_once_end_well_and_their_models_come_from_the_object_store(service, more_workers, store, tmp_path):
    text = write_sentences(tmp_path / "text.txt")
    prepared = run_charlm("prepare", text, "--name", "tiny", "--workspace", service.workspace.root)
    assert prepared.code == 0, prepared.stderr
    small = ["max_characters=20000", "hidden_size=16", "sequence_length=50"]
    runs = [
        service.start_run(
            "charlm-train/train-language-model", name="tiny", directions=["forward"], settings=[*small, f"seed={seed}"]
        )
        for seed in range(NUM_RUNS)
    ]
    wait_until(
        lambda: sum(service.state(run).type.value == "RUNNING" for run in runs) > 5, seconds=900, what="six at once"
    )
    assert [service.wait_for_end(run).type.value for run in runs] == ["COMPLETED"] * NUM_RUNS
    assert len(service.mlflow().search_model_versions("name='tiny'")) == NUM_RUNS
    for name in ("prefect", "mlflow"):
        log = service.workspace.service.log(name).read_text()
        assert not re.search(r"Traceback|dead letter|\bERROR\b", log), log[-3_000:]
    assert not service.workspace.prefect_home.joinpath("prefect.db").exists()
    assert (
        sum(key.startswith("mlflow/") and key.endswith("model.safetensors") for key in store.object_keys()) == NUM_RUNS
    )
    few = write_sentences(tmp_path / "few.txt", num_lines=5)
    embedded = run_charlm(
        "embed", "models:/tiny/3", few, "--output", tmp_path / "few.parquet", "--workspace", tmp_path / "elsewhere",
        **service.addresses,
    )  # fmt: skip
    assert embedded.code == 0, embedded.stderr
