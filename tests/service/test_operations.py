"""The commands of docs/operations.md do, one after the other, what the page says they do."""

import subprocess
import sys
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.storage.atomic import read_json
from tasks.services.own_service import running
from tests.conftest import ROOT, environment, run_charlm, write_sentences
from tests.docs.test_docs import FENCE
from tests.live_service import LiveService

PAGE = ROOT / "docs" / "operations.md"
PROGRAMS = ("prefect", "mlflow", "charlm-cpu", "watcher")


def shown_commands() -> list[str]:
    blocks = [block for language, block in FENCE.findall(PAGE.read_text(encoding="utf-8")) if language == "sh"]
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.timeout(1800)
def test_the_shown_commands_install_save_move_and_stop_a_service(tmp_path: Path) -> None:
    service = LiveService.on_free_ports(tmp_path / "first")
    restored = Workspace(tmp_path / "restored")
    text = write_sentences(tmp_path / "text.txt")
    prepared = run_charlm("prepare", text, "--name", "tiny", "--workspace", service.workspace.root)
    assert prepared.code == 0, prepared.stderr
    variables = environment() | service.environment
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"  # as in an installation
    try:
        for line in shown_commands():
            command = line.replace("/backups", str(tmp_path)).replace("/srv", str(tmp_path))
            command = command.replace("systemd units", f"systemd {tmp_path}/units")
            # The environment stands already, and other tests use it at this moment.
            command = command.replace("make ", "make --old-file=pyproject.toml --old-file=constraints.txt ", 1)
            outcome = subprocess.run(command, shell=True, cwd=ROOT, env=variables, capture_output=True, text=True)
            assert outcome.returncode == 0, f"{line}: {outcome.stderr}"
        assert all(running(name, restored.service) for name in PROGRAMS)
        assert not any(running(name, service.workspace.service) for name in PROGRAMS)
        assert "workspace/corpora/tiny/corpus.json" in read_json(tmp_path / "monday" / "backup.json")["files"]
        assert restored.corpus("tiny").manifest.read_bytes() == service.workspace.corpus("tiny").manifest.read_bytes()
    finally:
        service.down()
        LiveService(
            workspace=restored, prefect_port=service.prefect_port, mlflow_port=service.mlflow_port, variables={}
        ).down()
