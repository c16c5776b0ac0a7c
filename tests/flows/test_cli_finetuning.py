"""Fine-tuning and planning from the command line."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from charlm.artifacts import BundleFiles, RunFiles
from charlm.language_models.language_model import LanguageModel
from charlm.trainers.lm.manifest import RunManifest
from tasks.registry.download import download_bundle
from tasks.services.session import use_workspace
from tests.conftest import ROOT, Charlm, Outcome, TrainedWorkspace, environment, run_charlm

pytestmark = pytest.mark.service  # each command starts MLflow

QUICK = ("--set", "max_characters=30000", "--set", "sequence_length=50")
GERMAN = ["Zeile {} über größere Häuser in Österreich.\n", "Der {}. Satz heißt nicht viel.\n"]


@pytest.fixture(scope="module")
def prepared(trained_workspace: TrainedWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained workspace with a German corpus beside the English one."""
    folder = tmp_path_factory.mktemp("finetuning")
    root = folder / "workspace"
    shutil.copytree(trained_workspace.root, root)
    text = folder / "german.txt"
    text.write_text("".join(GERMAN[number % 2].format(number) for number in range(4_000)), encoding="utf-8")
    outcome = run_charlm("prepare", text, "--name", "german", "--workspace", root)
    assert outcome.code == 0, outcome.stderr
    return root


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "workspace"))


def finetune(charlm: Charlm, workspace: Path, *arguments: object) -> Outcome:
    return charlm("finetune", "german", *arguments, *QUICK, "--workspace", workspace, "--json")


def test_finetuning_a_registered_model_reports_every_domain_before_and_after(charlm: Charlm, workspace: Path) -> None:
    outcome = finetune(charlm, workspace, "--from", "models:/tiny@challenger", "--extend-dictionary")
    assert outcome.code == 0, outcome.stderr
    result = outcome.json
    assert set(result["runs"]) == {"forward", "backward"}
    assert result["model"] == "models:/german/1"
    for domains in result["domains"].values():
        german, english = domains["german"], domains["tiny"]
        assert german["after"]["bits_per_byte"] < german["before"]["bits_per_byte"]
        assert german["before"]["unk_rate"] > 0.01 > german["after"]["unk_rate"]  # ö, ü, ß … have ids now
        assert english["before"]["unk_rate"] == english["after"]["unk_rate"]
    run = RunFiles(Path(result["runs"]["forward"]["run_dir"]))
    assert RunManifest.load(run).config.initial_model == run.initial_lm.name
    evaluated = charlm(
        "evaluate", "models:/german/1", workspace / "corpora/german/test.txt", "--workspace", workspace, "--json"
    )
    assert evaluated.json["forward"]["loss"] == pytest.approx(result["runs"]["forward"]["test"]["loss"])


def test_the_version_names_its_parent_and_resume_takes_it_up(charlm: Charlm, workspace: Path) -> None:
    forward = ("--from", "models:/tiny/1", "--direction", "forward")
    first = finetune(charlm, workspace, *forward).json
    bundle = download_bundle("models:/german/1", use_workspace(workspace))
    assert json.loads(BundleFiles(bundle).manifest.read_text())["parent_version"] == "tiny/1"
    again = finetune(charlm, workspace, *forward, "--resume")
    assert again.json["runs"] == first["runs"]
    assert again.json["model"] == first["model"] == "models:/german/1"


def test_without_extension_the_dictionary_is_the_models(charlm: Charlm, workspace: Path) -> None:
    outcome = finetune(charlm, workspace, "--from", "models:/tiny/1", "--direction", "forward", "--no-register")
    tuned = LanguageModel.load_language_model(outcome.json["runs"]["forward"]["best_lm"])
    original = LanguageModel.load_language_model(next(workspace.glob("runs/tiny-forward-*")))
    assert tuned.dictionary == original.dictionary
    assert outcome.json["model"] is None


def test_one_direction_of_a_run_is_continued_and_the_other_refused(charlm: Charlm, workspace: Path) -> None:
    run = next(workspace.glob("runs/tiny-forward-*"))
    refused = finetune(charlm, workspace, "--from", run, "--direction", "both")
    assert refused.code == 2
    assert "has no backward direction to continue, only forward" in refused.json["error"]
    outcome = finetune(charlm, workspace, "--from", run)
    assert set(outcome.json["runs"]) == {"forward"}


def test_another_architecture_than_the_model_has_is_refused(charlm: Charlm, workspace: Path) -> None:
    runs = sorted(workspace.glob("runs/*"))
    outcome = finetune(charlm, workspace, "--from", "models:/tiny/1", "--set", "hidden_size=24")
    assert outcome.code == 2
    assert "the architecture of models:/tiny/1, whose hidden_size is 16; got 24" in outcome.json["error"]
    assert sorted(workspace.glob("runs/*")) == runs


def test_hostile_model_is_refused_and_nothing_is_left(charlm: Charlm, workspace: Path, tmp_path: Path) -> None:
    before = sorted(workspace.glob("runs/*"))
    (tmp_path / "evil.pt").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    outcome = finetune(charlm, workspace, "--from", tmp_path / "evil.pt")
    assert outcome.code == 2
    assert "evil.pt" in outcome.json["error"]
    assert sorted(workspace.glob("runs/*")) == before
    assert not list(Path().glob("executed"))


def test_plan_says_what_a_training_needs(charlm: Charlm, workspace: Path) -> None:
    outcome = charlm("plan", "german", *QUICK, "--set", "hidden_size=16", "--workspace", workspace, "--json")
    assert outcome.code == 0, outcome.stderr
    plan = outcome.json
    assert plan["per_direction"]["characters"] == 30_000
    assert plan["minutes"] > 0
    assert plan["memory_bytes"] == 2 * plan["per_direction"]["memory_bytes"]  # both directions at once on the CPU
    assert not list(workspace.glob("runs/*calibration*"))


def test_a_plan_that_is_ended_leaves_nothing(workspace: Path, tmp_path: Path) -> None:
    program = "from flows.cli.app import main; main()"
    arguments = ("plan", "german", "--max-minutes", "60", "--workspace", workspace)
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env=environment() | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("charlm-plan-*/run/journal.jsonl")):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    _, stderr = process.communicate()
    assert (process.returncode, stderr.splitlines()[-1]) == (130, "error: interrupted")
    assert not list(tmp_path.glob("charlm-plan-*"))
