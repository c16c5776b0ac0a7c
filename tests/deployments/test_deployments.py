"""The parts of `make up`: its settings, its programs, and the file of deployments."""

import importlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from prefect.utilities.callables import parameter_schema

from charlm.artifacts import ServiceFiles, Workspace
from charlm.errors import ConfigError
from deployments.machines import LONG_RUNS, SHORT_QUEUE, SHORT_RUNS
from deployments.prefect_setup import DEPLOYMENTS_FILE, machine_deployments
from deployments.programs import Program, start, stop, wait_until
from deployments.servers import check_databases, mlflow_server, prefect_server, watcher, workers
from deployments.settings import CPU_POOL, GPU_POOL, ROOT, ServiceSettings, _has_gpu_driver, num_gpus, visible_gpus
from flows.embed import embed_corpus
from flows.parameters import EXPERT
from tasks.services.mlflow_database import SERVER_ARTIFACT_ROOT, move_artifact_root
from tasks.services.own_service import running
from tasks.services.session import use_workspace
from tests.conftest import TrainedWorkspace, own_workspace

NAMES = {
    "run-pipeline",
    "promote",
    "roll-back",
    "back-up",
    "prepare-corpus",
    "train-language-model",
    "finetune-language-model",
    "retrain",
    "train-downstream",
    "scan-inbox",
    "embed-corpus",
    "evaluate-champion",
    "filter-texts",
}


def settings(**changes: object) -> ServiceSettings:
    return ServiceSettings(**{"workspace": Workspace(Path("/data/workspace")), **changes})  # type: ignore[arg-type]


def sleeper(seconds: int = 60, **changes: object) -> Program:
    """A program that does nothing, with a child that does nothing either."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep({seconds})'])"
    return Program(**{"name": "sleeper", "command": (sys.executable, "-c", code), "variables": {}, **changes})  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path) -> ServiceFiles:
    return ServiceFiles(tmp_path / "service")


# ---- settings ------------------------------------------------------------------------------------------------------


def test_the_environment_says_where_the_service_listens() -> None:
    found = ServiceSettings.from_environment({"CHARLM_WORKSPACE": "/data/ws", "CHARLM_PREFECT_PORT": "4300"})
    assert found.addresses() == {
        "PREFECT_API_URL": "http://127.0.0.1:4300/api",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
    }
    assert found.workspace.root == Path("/data/ws")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CHARLM_MLFLOW_PORT": "http"}, "CHARLM_MLFLOW_PORT is a port between 1 and 65535, got 'http'"),
        ({"DATABASE": "mysql://host/charlm"}, "DATABASE is an address like postgresql://"),
        ({"CHARLM_ALLOWED_HOSTS": "http://models"}, "CHARLM_ALLOWED_HOSTS are names or addresses like"),
        ({"CHARLM_PASSWORD": "short"}, "CHARLM_PASSWORD has 5 characters; MLflow needs 12"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServiceSettings.from_environment(variables)


def test_one_postgresql_address_makes_a_database_for_each_server() -> None:
    given = settings(database="postgresql://charlm:secret@db.example:5433/charlm?sslmode=require")
    assert given.database_urls() == (
        "postgresql+asyncpg://charlm:secret@db.example:5433/charlm_prefect?sslmode=require",
        "postgresql+psycopg://charlm:secret@db.example:5433/charlm_mlflow?sslmode=require",
    )


def test_a_database_that_is_away_is_one_line_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"charlm_prefect cannot be used: .*refused") as refused:
        check_databases(settings(database="postgresql://me:secret@127.0.0.1:1/charlm"))
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_server_listens_on_this_machine_alone() -> None:
    for program in (prefect_server(settings()), mlflow_server(settings())):
        assert program.command[program.command.index("--host") + 1] == "127.0.0.1"


def test_pages_open_under_the_names_that_are_allowed_and_under_localhost() -> None:
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" not in mlflow_server(settings()).variables  # MLflow's own default
    given = ServiceSettings.from_environment({"CHARLM_ALLOWED_HOSTS": "models.example.org, 192.168.0.7"})
    variables = mlflow_server(given).variables
    hosts = variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"localhost", "127.0.0.1:*", "models.example.org:*", "192.168.0.7"} <= set(hosts)
    origins = variables["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert {"http://models.example.org:*", "https://models.example.org"} <= set(origins)
    everywhere = mlflow_server(settings(allowed_hosts=("*",))).variables
    assert everywhere["MLFLOW_SERVER_ALLOWED_HOSTS"] == "*"
    assert prefect_server(settings()).variables["PREFECT_SERVER_UI_API_URL"] == "/api"


def test_a_password_is_in_no_command_line() -> None:
    secret = "a long enough secret"
    protected = settings(password=secret)
    programs = [prefect_server(protected), mlflow_server(protected), *workers(protected), watcher(protected)]
    assert not any(secret in word for program in programs for word in program.command)
    assert all(secret not in repr(program) for program in programs)


def test_every_gpu_has_a_worker_that_sees_it_alone() -> None:
    programs = workers(settings(gpus=("0", "1")))
    assert {program.name: program.variables["CUDA_VISIBLE_DEVICES"] for program in programs} == {
        "charlm-cpu": "",
        "charlm-gpu-0": "0",
        "charlm-gpu-1": "1",
    }


def test_a_worker_has_as_many_gpus_as_its_trainings_have_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.settings._has_gpu_driver", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert visible_gpus({}) == ("0", "1", "2", "3")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "1,3,2,0", "CHARLM_GPUS_PER_WORKER": "2"}) == ("1,3", "2,0")
    grouped = settings(gpus=visible_gpus({"CHARLM_GPUS_PER_WORKER": "3"}))
    assert grouped.num_gpus == 4
    assert {program.name: program.variables["CUDA_VISIBLE_DEVICES"] for program in workers(grouped)} == {
        "charlm-cpu": "",
        "charlm-gpu-0-1-2": "0,1,2",
        "charlm-gpu-3": "3",
    }
    for value in ("0", "5", "two"):
        with pytest.raises(ConfigError, match="CHARLM_GPUS_PER_WORKER is a number of GPUs, of which there are 4"):
            visible_gpus({"CHARLM_GPUS_PER_WORKER": value})


def test_torch_is_asked_for_gpus_only_where_there_is_a_driver() -> None:
    assert num_gpus() == torch.cuda.device_count()
    code = "import sys; from deployments.settings import num_gpus; num_gpus(); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert found.strip() == str(_has_gpu_driver())


# ---- deployments ---------------------------------------------------------------------------------------------------


def test_every_deployment_has_what_a_reader_of_the_ui_looks_for() -> None:
    deployments = yaml.safe_load(DEPLOYMENTS_FILE.read_text())["deployments"]
    assert {deployment["name"] for deployment in deployments} == NAMES
    for deployment in deployments:
        assert len(deployment["description"]) > 80
        assert deployment["tags"]
        assert deployment["work_pool"]["name"] == CPU_POOL


def test_what_people_wait_for_has_slots_that_trainings_cannot_take() -> None:
    deployments = yaml.safe_load(DEPLOYMENTS_FILE.read_text())["deployments"]
    short = {one["name"] for one in deployments if one["work_pool"].get("work_queue_name") == SHORT_QUEUE}
    assert short == {"scan-inbox", "promote", "roll-back", "back-up", "evaluate-champion"}
    (worker,) = workers(settings())
    assert worker.command[worker.command.index("--limit") + 1] == str(LONG_RUNS + SHORT_RUNS)


def test_the_forms_show_what_matters_first_and_every_description_in_whole_lines() -> None:
    for deployment in yaml.safe_load(DEPLOYMENTS_FILE.read_text())["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        schema = parameter_schema(getattr(importlib.import_module(module), name))
        fields = sorted(schema.properties, key=lambda field: schema.properties[field]["position"])
        assert fields[-1] == "workspace"
        num_expert = len(EXPERT.keys() & set(fields))
        assert set(fields[-num_expert:]) <= set(EXPERT)
        assert set(schema.required) <= set(fields[: len(schema.required)])
        texts = [schema.properties[field]["description"] for field in fields]
        for definition in schema.definitions.values():
            texts += [field.get("description", "") for field in definition["properties"].values()]
        assert not [text for text in texts if "\n" in text]
        assert all(paragraph and "\n" not in paragraph for paragraph in deployment["description"].split("\n\n"))


def test_a_field_with_few_values_offers_them() -> None:
    fields = parameter_schema(embed_corpus).properties
    offered = {name: field.get("enum") or field.get("anyOf", [{}])[0].get("enum") for name, field in fields.items()}
    assert offered["pooling"] == ["token", "mean", "first_last"]
    assert offered["text_format"] == ["text", "conll", "parquet"]
    assert {name for name, values in offered.items() if values is None} == {
        "model",
        "texts",
        "output",
        "encoding",
        "header",
        "workspace",
    }


def test_trainings_go_to_the_gpus_where_there_are_some_and_everything_to_this_workspace() -> None:
    config = machine_deployments(settings(gpus=("0",)))
    pools = {deployment["name"]: deployment["work_pool"]["name"] for deployment in config["deployments"]}
    on_gpu = {"run-pipeline", "train-language-model", "finetune-language-model", "retrain", "train-downstream"}
    assert pools == {name: GPU_POOL if name in on_gpu else CPU_POOL for name in NAMES}
    assert {deployment["parameters"]["workspace"] for deployment in config["deployments"]} == {"/data/workspace"}
    assert config["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "{{ $CHARLM_ROOT }}"}}]


# ---- programs ------------------------------------------------------------------------------------------------------


def test_a_program_is_started_once_and_stopped_with_its_children(files: ServiceFiles) -> None:
    assert start(sleeper(), files)
    process = running("sleeper", files)
    assert process is not None
    wait_until(lambda: bool(process.children()), "sleeper", files)
    (child,) = process.children()
    assert not start(sleeper(), files)
    assert running("sleeper", files) == process
    assert stop("sleeper", files)
    assert not child.is_running()
    assert running("sleeper", files) is None
    assert not stop("sleeper", files)


def test_a_program_that_runs_with_other_settings_is_not_started_beside_it(files: ServiceFiles) -> None:
    start(sleeper(), files)
    try:
        with pytest.raises(ConfigError, match="sleeper runs with other settings; `charlm down` stops it"):
            start(sleeper(variables={"NAME": "other"}), files)
    finally:
        stop("sleeper", files)


def test_a_process_that_has_got_the_number_of_a_dead_one_is_left_alone(files: ServiceFiles) -> None:
    start(sleeper(), files)
    process = running("sleeper", files)
    assert process is not None
    note = files.note("sleeper")
    text = note.read_text()
    stop("sleeper", files)
    note.write_text(text.replace(f'"pid": {process.pid}', f'"pid": {os.getpid()}'))
    assert running("sleeper", files) is None
    assert not stop("sleeper", files)


def test_a_port_that_is_taken_is_one_line_that_says_how_to_take_another(files: ServiceFiles) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is taken .* CHARLM_SLEEPER_PORT"):
            start(sleeper(port=port), files)
    assert files.names() == []


def test_a_program_that_dies_while_it_is_waited_for_is_said_with_its_last_words(files: ServiceFiles) -> None:
    start(sleeper(command=(sys.executable, "-c", "raise SystemExit('no room left')")), files)
    with pytest.raises(ConfigError, match="sleeper has ended: no room left"):
        wait_until(lambda: False, "sleeper", files)


def test_a_program_that_does_not_listen_to_a_polite_request_is_killed(
    files: ServiceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.programs._STOP_SECONDS", 1.0)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    start(sleeper(command=(sys.executable, "-c", code)), files)
    wait_until(lambda: "deaf" in files.log("sleeper").read_text(), "sleeper", files)
    begin = time.monotonic()
    assert stop("sleeper", files)
    assert time.monotonic() - begin < 30


# ---- MLflow --------------------------------------------------------------------------------------------------------


def test_what_was_trained_without_a_server_is_handed_out_by_one_and_found_without_it_again(
    trained_workspace: TrainedWorkspace, tmp_path: Path
) -> None:
    from tasks.registry.download import resolve_model

    with own_workspace(trained_workspace, tmp_path / "workspace") as space:
        move_artifact_root(space, SERVER_ARTIFACT_ROOT)
        with sqlite3.connect(space.mlflow_db) as database:
            experiments = database.execute("SELECT artifact_location FROM experiments WHERE name = 'tiny'").fetchall()
            runs = database.execute("SELECT artifact_uri FROM runs").fetchall()
        assert len(runs) > 1
        assert all(place.startswith("mlflow-artifacts:") for (place,) in experiments + runs)
        use_workspace(space.root)
        assert (resolve_model("models:/tiny/1", space) / "bundle.json").is_file()
