"""The types of work pools, and what the jobs of a Kubernetes pool look like.

The manifest was checked by the schema of Kubernetes 1.37 (kubernetes-validate, 108 MB, too much for every checkout) and
by the worker of prefect-kubernetes 0.8; here are the rules by which either refuses one.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from prefect.utilities.templating import apply_values
from prefect.workers.base import BaseJobConfiguration

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from deployments.container import main
from deployments.servers import mlflow_server, prefect_server, recorded_name, workers
from deployments.settings import ServiceSettings
from deployments.work_pools import HANDED_ON, base_job_template, check_worker_package
from tasks.services.prefect_compat import hand_on_variables

BY_WORKER = {"name", "command", "env", "labels"}
"""What a worker fills in itself, of the variables without a default."""
IN_STORE = {
    "CHARLM_WORKSPACE": "s3://bucket/ws",
    "CHARLM_HOST": "0.0.0.0",
    "CHARLM_PUBLIC_HOST": "head.example",
    "CHARLM_PASSWORD": "a long enough password",
    "CHARLM_IMAGE": "registry.example/charlm:0.2.0",
    "CHARLM_MACHINE": "head",
}


def template(num_gpus: int = 0) -> dict[str, Any]:
    found = base_job_template("kubernetes", num_gpus=num_gpus)
    assert found is not None
    return found


def placeholders(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from re.findall(r"\{\{ *(\w+) *\}\}", value)
    elif isinstance(value, dict):
        yield from (name for part in value.values() for name in placeholders(part))
    elif isinstance(value, list):
        yield from (name for part in value for name in placeholders(part))


def job(num_gpus: int, **values: object) -> dict[str, Any]:
    """The manifest of a job, filled in as a worker does."""
    found = template(num_gpus)
    defaults = {name: one["default"] for name, one in found["variables"]["properties"].items() if "default" in one}
    given = {"image": "charlm:1", "name": "run", "command": "prefect flow-run execute", "env": {"A": "b"}, "labels": {}}
    filled: dict[str, Any] = apply_values(found["job_configuration"], {**defaults, **given, **values})
    return filled["job_manifest"]


# ---- Kubernetes ----------------------------------------------------------------------------------------------------


def test_every_placeholder_has_a_variable_and_every_variable_a_place() -> None:
    found = template()
    assert set(placeholders(found["job_configuration"])) == set(found["variables"]["properties"])


def test_the_variables_are_a_schema_that_refuses_what_cannot_work() -> None:
    variables = template()["variables"]
    Draft202012Validator.check_schema(variables)
    check = Draft202012Validator(variables)
    check.validate({"image": "charlm:1", "gpus": 2, "memory": "16Gi", "node_selector": {"gpu": "h200"}})
    for wrong in ({}, {"image": "charlm:1", "gpus": -1}, {"image": "charlm:1", "image_pull_policy": "Sometimes"}):
        with pytest.raises(ValidationError):
            check.validate(wrong)
    for name, one in variables["properties"].items():
        assert one["title"], name
        if "default" in one:
            Draft202012Validator(one).validate(one["default"])


@pytest.mark.parametrize("num_gpus", [0, 1])
def test_the_manifest_is_a_job_of_one_container_that_is_tried_once(num_gpus: int) -> None:
    manifest = job(num_gpus)
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    spec = manifest["spec"]
    assert set(spec) == {"backoffLimit", "completions", "parallelism", "ttlSecondsAfterFinished", "template"}
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert spec["ttlSecondsAfterFinished"] == 86400
    pod = spec["template"]["spec"]
    assert set(pod) == {"restartPolicy", "terminationGracePeriodSeconds", "containers", "volumes"}
    assert pod["restartPolicy"] == "Never"  # the only one beside OnFailure that a job may have
    (container,) = pod["containers"]
    assert container["name"] == "prefect-job"  # prefect-kubernetes refuses any other
    assert container["resources"]["limits"]["nvidia.com/gpu"] == num_gpus
    assert container["volumeMounts"] == [{"name": pod["volumes"][0]["name"], "mountPath": "/dev/shm"}]
    assert pod["volumes"][0]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert not list(placeholders(manifest))


def test_an_image_that_is_pulled_for_long_is_waited_for() -> None:
    variables = template()["variables"]["properties"]
    assert variables["pod_watch_timeout_seconds"]["default"] == 3600
    assert "default" not in variables["job_watch_timeout_seconds"]  # a training may take weeks
    server = prefect_server(settings_of("kubernetes"))
    assert server.variables["PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION"] == "3600"


# ---- all types -----------------------------------------------------------------------------------------------------


def settings_of(pool_type: str, **variables: str) -> ServiceSettings:
    return ServiceSettings.from_environment({**IN_STORE, "CHARLM_WORK_POOL_TYPE": pool_type, **variables})


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CHARLM_WORK_POOL_TYPE": "swarm"}, "is one of process, docker, kubernetes, ecs; got 'swarm'"),
        ({"CHARLM_WORKSPACE": "/data/ws"}, "containers of a docker pool do not see the folder /data/ws"),
        ({"CHARLM_IMAGE": ""}, "CHARLM_WORK_POOL_TYPE=docker needs CHARLM_IMAGE"),
        ({"CHARLM_HOST": ""}, "CHARLM_PUBLIC_HOST=head.example is for servers that listen for other machines"),
        ({"CHARLM_PUBLIC_HOST": "http://head"}, "CHARLM_PUBLIC_HOST is a name or an address like head.example.org"),
        ({"CHARLM_MACHINE": "node 7"}, "the name of a machine has letters"),
    ],
)
def test_a_setting_of_more_machines_that_cannot_work_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        settings_of("docker", **variables)


def test_a_worker_whose_package_is_missing_is_one_line() -> None:
    check_worker_package("process")
    with pytest.raises(ConfigError, match="a kubernetes worker needs the package prefect-kubernetes; pip install"):
        check_worker_package("kubernetes")


def test_workers_that_start_containers_have_addresses_that_containers_reach() -> None:
    settings = settings_of("kubernetes")
    (worker,) = workers(settings)
    assert worker.variables["PREFECT_API_URL"] == "http://head.example:4200/api"
    assert worker.variables["MLFLOW_TRACKING_URI"] == "http://head.example:5000"
    assert worker.command[worker.command.index("--type") + 1] == "kubernetes"
    assert "head.example:*" in mlflow_server(settings).variables["MLFLOW_SERVER_ALLOWED_HOSTS"]
    (beside,) = workers(ServiceSettings(workspace=Workspace(Path("/data/ws")), host="0.0.0.0", password="p" * 12))
    assert beside.variables["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"


def test_one_worker_starts_the_containers_of_all_gpus() -> None:
    settings = ServiceSettings(
        workspace=Workspace(Path("/data/service")),
        address="s3://bucket/ws",
        pool_type="docker",
        image="charlm:1",
        public_host="head",
        gpus=("0", "1", "2"),
        machine="head",
    )
    _, worker = workers(settings)
    assert recorded_name(worker) == "charlm-gpu-0+1+2@head"
    assert worker.command[worker.command.index("--limit") + 1] == "3"


def test_a_container_gets_addresses_password_workspace_and_credentials_and_no_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BaseJobConfiguration, "_base_environment", BaseJobConfiguration.__dict__["_base_environment"])
    monkeypatch.setenv("PREFECT_API_URL", "http://head:4200/api")
    monkeypatch.setenv("PREFECT_HOME", "/of/this/worker")
    given = {
        "MLFLOW_TRACKING_URI": "http://head:5000",
        "CHARLM_WORKSPACE": "s3://bucket/ws",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    for name, value in {**given, "CHARLM_WORKSPACE_CACHE": "/cache", "AWS_CA_BUNDLE": "/certificates"}.items():
        monkeypatch.setenv(name, value)
    hand_on_variables(HANDED_ON)
    found = BaseJobConfiguration._base_environment()
    assert given.items() <= found.items()
    assert not {"PREFECT_HOME", "CHARLM_WORKSPACE_CACHE", "AWS_CA_BUNDLE", "PATH"} & found.keys()


def test_the_image_executes_what_a_worker_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execvp", lambda program, words: called.append((program, words)))
    assert main(["prefect", "flow-run", "execute"]) == 0
    assert called == [("prefect", ["prefect", "flow-run", "execute"])]
