"""The compose file says what the specification allows, and its commands work natively, with real servers."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.container import main
from tasks.services.environment import USER_NAME
from tests.browser import browser_page
from tests.conftest import ROOT, environment, write_sentences
from tests.live_service import LiveService, end, wait_until
from tests.object_store import object_store
from tests.postgresql import postgresql_server

COMPOSE = ROOT / "deployments" / "compose.yaml"
SECRETS = {"CHARLM_PASSWORD": "a long enough password", "POSTGRES_PASSWORD": "any", "S3_SECRET": "stand-in"}

CHOSEN = {"CHARLM_ALLOWED_HOSTS": "models.example.org"}
"""What else a person gives."""


def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def ours() -> dict[str, Any]:
    return {name: service for name, service in services().items() if service["image"].startswith("charlm:")}


def substituted(text: str) -> str:
    """`text` with its variables, as docker compose puts them in."""

    def value(match: re.Match[str]) -> str:
        name, kind, otherwise = match.groups()
        return SECRETS[name] if kind == ":?" else CHOSEN.get(name, otherwise)

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text)


# ---- the file ------------------------------------------------------------------------------------------------------


def test_the_compose_file_follows_the_specification():
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout


def test_what_the_compose_file_names_is_there():
    config = yaml.safe_load(COMPOSE.read_text())
    for service in services().values():
        assert set(service.get("depends_on", ())) <= set(services())
        named = [volume.partition(":")[0] for volume in service.get("volumes", ())]
        assert set(named) <= set(config["volumes"])
    assert config["configs"]["databases"]["content"].split() == [
        word for server in ("prefect", "mlflow") for word in ("CREATE", "DATABASE", f"charlm_{server};")
    ]


def test_every_container_that_others_wait_for_says_when_it_is_ready():
    for service in services().values():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services()[other]


def test_no_port_is_open_to_other_machines():
    ports = [port for service in services().values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_takes_the_folders_that_the_programs_are_in():
    dockerfile = (ROOT / "deployments" / "Dockerfile").read_text()
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    copied = {word for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE) for word in line.split()[:-1]}
    assert copied - {"charlm/__init__.py"} == kept
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ([], {}, "name one of prefect, mlflow"),
        (["postgresql"], {}, "name one of prefect, mlflow"),
        (["prefect"], {"CHARLM_HOST": "0.0.0.0"}, "set CHARLM_PASSWORD"),
        (["set-up"], {"CHARLM_GPUS": "two"}, "CHARLM_GPUS is a number of devices, got 'two'"),
        (["mlflow"], {"ARTIFACTS": "gs://bucket"}, "ARTIFACTS is an address like s3://BUCKET/PREFIX"),
    ],
)
def test_a_wrong_setting_is_one_line(arguments, variables, said, monkeypatch, capsys, tmp_path):
    for name, value in {"CHARLM_WORKSPACE": str(tmp_path), **variables}.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


# ---- its commands, natively ----------------------------------------------------------------------------------------


class Containers:
    """The containers of ours as processes: the same commands and variables, other addresses."""

    def __init__(self, service: LiveService, addresses: dict[str, str]) -> None:
        self.service = service
        self._addresses = addresses
        (line,) = re.findall(r"^ENTRYPOINT (.+)$", (ROOT / "deployments" / "Dockerfile").read_text(), re.MULTILINE)
        self._entrypoint = [sys.executable, *json.loads(line)[1:]]

    def variables(self, name: str) -> dict[str, str]:
        given = {key: self._here(substituted(str(value))) for key, value in ours()[name]["environment"].items()}
        return environment() | given | self.service.environment

    @contextmanager
    def running(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        log = (self.service.workspace.root / f"{name}.log").open("wb")
        command = [*self._entrypoint, *ours()[name]["command"]]
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.variables(name), stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                end(process)

    def is_healthy(self, name: str) -> bool:
        _, _, *arguments = ours()[name]["healthcheck"]["test"]
        command = [sys.executable, *map(self._here, arguments)]
        return subprocess.run(command, env=self.variables(name), capture_output=True).returncode == 0

    def _here(self, text: str) -> str:
        for there, here in self._addresses.items():
            text = text.replace(there, here)
        return text


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.timeout(1800)
def test_the_commands_of_the_containers_make_a_service_that_works(tmp_path):
    with ExitStack() as stack:
        database = stack.enter_context(postgresql_server("charlm_prefect", "charlm_mlflow"))
        store = stack.enter_context(object_store())
        (tmp_path / "workspace").mkdir()
        password = SECRETS["CHARLM_PASSWORD"]
        service = LiveService.on_free_ports(tmp_path / "workspace", CHARLM_PASSWORD=password)
        containers = Containers(
            service,
            {
                "postgresql:5432": database.address.partition("@")[2],
                "http://object-store:9000": store.address,
                "prefect:4200": f"127.0.0.1:{service.prefect_port}",
                "127.0.0.1:4200": f"127.0.0.1:{service.prefect_port}",
                "http://mlflow:5000": f"http://127.0.0.1:{service.mlflow_port}",
                "127.0.0.1:5000": f"127.0.0.1:{service.mlflow_port}",
                "0.0.0.0": "127.0.0.1",  # no port is opened to others for a test
            },
        )
        for name in ("prefect", "mlflow"):
            stack.enter_context(containers.running(name))
        for name in ("prefect", "mlflow"):
            wait_until(lambda name=name: containers.is_healthy(name), seconds=300, what=f"healthy {name}")
        with containers.running("set-up") as set_up:
            assert set_up.wait(300) == 0, (service.workspace.root / "set-up.log").read_text()
        stack.enter_context(containers.running("worker"))
        text = write_sentences(tmp_path / "text.txt", num_lines=500)
        assert_pages_open("models.example.org", service, password)
        run = service.start_run("charlm-prepare/prepare-corpus", raw=[str(text)], name="tiny")
        assert service.wait_for_end(run).type.value == "COMPLETED"
        assert service.workspace.corpus("tiny").manifest.is_file()


def assert_pages_open(host: str, service: LiveService, password: str) -> None:
    """In a browser that knows both servers by this name, their pages show what the servers hold."""
    access = base64.b64encode(f"{USER_NAME}:{password}".encode()).decode()
    with browser_page(hosts={host: "127.0.0.1"}) as page:
        page.call("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {access}"})
        page.open(f"http://{host}:{service.mlflow_port}/#/experiments")
        page.wait_for_text("Default")
        assert page.failures == []
    with browser_page(hosts={host: "127.0.0.1"}) as page:
        page.open(f"http://{host}:{service.prefect_port}/login")
        page.wait_for_text("Login")
        page.run(f"localStorage.setItem('prefect-password', '{access}')")
        page.failures.clear()  # what was asked before the login
        page.open(f"http://{host}:{service.prefect_port}/deployments")
        page.wait_for_text("embed-corpus")  # one of the first ten, which the page shows
        assert [failure for failure in page.failures if not failure.endswith("/favicon.ico")] == []
