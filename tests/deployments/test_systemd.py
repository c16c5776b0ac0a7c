"""The units for systemd: the programs of `charlm up`, as systemd itself reads them."""

import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from deployments.servers import mlflow_server, prefect_server, watcher, workers
from deployments.settings import ServiceSettings
from deployments.systemd import SET_UP, SETTINGS, TARGET, write_units

PASSWORD = 'a "long" $enough pass`word\\'


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(workspace=Workspace(tmp_path / "50% of it"), gpus=("0", "1"))


@pytest.fixture
def units(settings: ServiceSettings, tmp_path: Path) -> Path:
    write_units(settings, tmp_path / "units", user="root", variables={"CHARLM_PASSWORD": PASSWORD, "HOME": "/root"})
    return tmp_path / "units"


def test_every_program_has_its_unit_and_the_target_wants_them_all(settings: ServiceSettings, units: Path) -> None:
    programs = [prefect_server(settings), mlflow_server(settings), *workers(settings), watcher(settings)]
    expected = {f"charlm-{program.name.removeprefix('charlm-')}.service" for program in programs} | {SET_UP}
    assert {path.name for path in units.iterdir()} == expected | {TARGET, SETTINGS}
    (wanted,) = [line for line in (units / TARGET).read_text().splitlines() if line.startswith("Wants=")]
    assert set(wanted.removeprefix("Wants=").split()) == expected
    assert "gpu-worker 1" in (units / "charlm-gpu-1.service").read_text()


def test_the_password_is_in_one_file_that_only_its_owner_reads(units: Path) -> None:
    assert stat.S_IMODE((units / SETTINGS).stat().st_mode) == 0o600
    shell = subprocess.run(
        ["bash", "-c", f'. "{units / SETTINGS}"; printf %s "$CHARLM_PASSWORD"'], capture_output=True, text=True
    )
    assert shell.stdout == PASSWORD  # a shell reads these quotes as systemd does
    assert not any("long" in path.read_text() for path in units.iterdir() if path.name != SETTINGS)
    assert "HOME" not in (units / SETTINGS).read_text()


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd")
    files = [str(path) for path in sorted(units.iterdir()) if path.name != SETTINGS]
    outcome = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", *files], capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "charlm" not in outcome.stderr


def test_a_setting_that_a_file_of_lines_cannot_hold_is_refused(settings: ServiceSettings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CHARLM_PASSWORD holds a character"):
        write_units(replace(settings, gpus=()), tmp_path / "u", user="root", variables={"CHARLM_PASSWORD": "a\nb"})
