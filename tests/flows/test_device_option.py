"""The option `--device`: it holds for the process and its children, and a device that is not there is one line."""

import os

import pytest
import torch
from typer.testing import CliRunner

from charlm.errors import ConfigError
from flows.cli.app import app
from flows.cli.options import with_device
from tests.conftest import ROOT, Charlm

MODEL = ROOT / "tests" / "golden" / "flair" / "forward.pt"
COMMANDS = ("run", "train", "finetune", "plan", "evaluate", "generate", "embed", "promote", "tag-train", "predict")


@pytest.mark.parametrize("command", [*COMMANDS, "classify-train"])
def test_every_command_that_computes_takes_a_device(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert "--device" in shown
    assert "CHARLM_DEVICE" in shown


def test_the_device_is_that_of_children_too_and_ends_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLM_DEVICE", "cuda:1")
    seen = []
    command = with_device(lambda workspace, as_json: seen.append(os.environ["CHARLM_DEVICE"]))
    command(device="cpu", workspace=None, as_json=False)
    command(device=None, workspace=None, as_json=False)
    assert seen == ["cpu", "cuda:1"]
    assert os.environ["CHARLM_DEVICE"] == "cuda:1"
    with pytest.raises(ConfigError, match="--device is auto, cpu, cuda or cuda:0, got 'tpu'"):
        command(device="tpu", workspace=None, as_json=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_line(charlm: Charlm, tmp_path) -> None:
    outcome = charlm("evaluate", MODEL, ROOT / "README.md", "--device", "cuda", "--workspace", tmp_path)
    assert (outcome.code, len(outcome.stderr.splitlines())) == (2, 1)
    assert "torch finds no GPU here" in outcome.stderr
