"""The promotion gate against a real MLflow: real models are scored, and what was decided stays decided."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from charlm.artifacts import Workspace
from charlm.config import GateConfig
from charlm.errors import CorpusError, RegistryError
from charlm.language_models.language_model import LanguageModel
from charlm.storage.locks import exclusive_lock
from charlm.text.corpus.manifest import load_manifest
from tasks.promotion.gate import pass_gate, promote_challenger, roll_back
from tasks.promotion.report import gate_markdown
from tasks.registry.bundles import register_runs
from tasks.registry.descriptions import COLUMN_PADDING
from tasks.registry.versions import RegisteredVersion, find_version, version_tags
from tasks.retraining.drift import measure_drift
from tasks.runs import TrainedRun
from tasks.tracking.client import mlflow_client
from tasks.tracking.runs import group_run
from tests.conftest import Charlm, TrainedWorkspace, own_workspace, write_sentences
from tests.prefect_server import ask

pytestmark = pytest.mark.service


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose model `tiny` has one version, the challenger."""
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        yield workspace


def register_noisy(workspace: Workspace, noise: float) -> RegisteredVersion:
    """Register the trained pair with noise on its weights, which makes it worse, as the next version."""
    runs = {}
    for path in sorted(workspace.runs_dir.iterdir()):
        if "noisy" in path.name:
            continue
        noisy = workspace.run(f"{path.name}-noisy-{noise}")
        shutil.copytree(path, noisy.root)
        model = LanguageModel.load_language_model(noisy.best_lm)
        torch.manual_seed(1)
        with torch.no_grad():
            for weights in model.parameters():
                weights += noise * torch.randn_like(weights)
        model.save(noisy.best_lm)
        run = TrainedRun.load(noisy, reused=True)
        runs[run.direction] = run
    with group_run(workspace, "tiny", "noisy", tags={}) as run_id:
        return register_runs(workspace, "tiny", runs, run_id=run_id)


def tags_of(version: RegisteredVersion) -> dict[str, str]:
    return {name: value for name, value in version_tags(version).items() if name.startswith("gate.")}


def champion() -> int:
    return find_version("models:/tiny@champion").version


def test_the_first_healthy_version_is_promoted_and_says_why(workspace: Workspace) -> None:
    version, verdict = promote_challenger(workspace, "tiny")
    report = verdict.report
    assert (version.version, champion()) == (1, 1)
    assert report.reason == "promoted: the first version, and both directions are healthy"
    tags = tags_of(version)
    assert (tags["gate.decision"], tags["gate.reason"], tags["gate.champion"]) == ("promoted", report.reason, "none")
    assert report.baseline is not None
    assert not report.baseline.required
    stored = mlflow_client().get_model_version("tiny", "1")
    assert report.domains["tiny"].bits_per_byte == pytest.approx(
        sum(float(stored.tags[f"{direction}.bits_per_byte"]) for direction in ("forward", "backward")) / 2, rel=1e-5
    )
    assert "Character language models of tiny" in stored.description
    assert stored.description.startswith("Promoted: ")
    assert "\nWhy: the first version, and both directions are healthy.\n" in stored.description


def test_a_version_that_does_not_beat_the_n_gram_model_is_refused_where_that_is_required(workspace: Workspace) -> None:
    report = promote_challenger(workspace, "tiny", config=GateConfig(beat_baseline=True))[1].report
    assert not report.promoted
    assert "bits per byte are not below the" in report.reason
    assert "N-gram model of order 5" in gate_markdown(report)


def test_a_worse_challenger_is_refused_with_numbers_and_intervals(workspace: Workspace) -> None:
    promote_challenger(workspace, "tiny")
    worse = register_noisy(workspace, 0.02)
    report = pass_gate(workspace, worse).report
    assert not report.promoted
    assert champion() == 1
    low, high = report.domains["tiny"].interval or (0.0, 0.0)
    assert low < (report.domains["tiny"].improvement or 0.0) < high < 0
    tags = tags_of(worse)
    assert (tags["gate.decision"], tags["gate.champion"]) == ("refused", "1")
    assert "worse than the champion" in tags["gate.reason"]
    assert tags["gate.interval"] == f"{low:.6g} to {high:.6g}"
    assert tags["gate.improvement"].startswith("-")
    assert f"| tiny (target){COLUMN_PADDING} |" in mlflow_client().get_model_version("tiny", "2").description


def test_what_was_decided_is_not_decided_again(workspace: Workspace) -> None:
    promote_challenger(workspace, "tiny")
    worse = register_noisy(workspace, 0.02)
    reports = [pass_gate(workspace, find_version(f"models:/tiny/{number}")).report for number in (1, 2)]
    versions = [mlflow_client().get_model_version("tiny", str(number)) for number in (1, 2)]
    workspace.corpus("tiny").test.unlink()  # nothing could be scored any more
    assert [pass_gate(workspace, find_version(f"models:/tiny/{number}")).report for number in (1, 2)] == reports
    again = [mlflow_client().get_model_version("tiny", str(number)) for number in (1, 2)]
    assert [version.tags for version in again] == [version.tags for version in versions]
    assert [version.description for version in again] == [version.description for version in versions]
    assert worse.version == 2


def test_a_better_challenger_takes_the_place_and_a_rollback_gives_it_back(workspace: Workspace) -> None:
    worse = register_noisy(workspace, 0.02)
    mlflow_client().set_registered_model_alias("tiny", "champion", str(worse.version))
    better = find_version("models:/tiny/1")
    report = pass_gate(workspace, better).report
    assert report.promoted
    assert "better than the champion" in report.reason
    assert champion() == 1
    done = roll_back(workspace, "tiny")
    described = mlflow_client().get_model_version("tiny", str(done.replaced.version)).description
    assert described.startswith(f"Rolled back, version {done.champion.version} is champion again. Promoted: ")
    assert (done.champion.version, done.replaced.version, champion()) == (2, 1, 2)
    with pytest.raises(RegistryError, match="the champion models:/tiny/2 replaced no other"):
        roll_back(workspace, "tiny")
    again = pass_gate(workspace, better).report  # what a person took back no program restores
    assert not again.promoted
    assert again.reason == "refused: it was champion and was rolled back"
    assert champion() == 2


def test_another_champion_is_another_question(workspace: Workspace) -> None:
    promote_challenger(workspace, "tiny")
    worse, worst = register_noisy(workspace, 0.02), register_noisy(workspace, 0.05)
    assert not pass_gate(workspace, worse).report.promoted
    mlflow_client().set_registered_model_alias("tiny", "champion", str(worst.version))
    assert pass_gate(workspace, worse).report.promoted
    assert tags_of(worse)["gate.champion"] == "3"
    assert mlflow_client().get_model_version("tiny", "2").description.count("\nWhy: ") == 1


def test_two_gates_at_once_decide_one_after_the_other(workspace: Workspace) -> None:
    version = find_version("models:/tiny/1")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: pass_gate(workspace, version).report, range(2))
    assert first == second
    assert json.loads(tags_of(version)["gate.report"]) == json.loads(json.dumps(first.to_json()))


def test_the_champion_that_was_replaced_is_the_one_of_the_decision(workspace: Workspace) -> None:
    promote_challenger(workspace, "tiny")
    better = register_noisy(workspace, 0.0)  # the same weights under another run
    middle = register_noisy(workspace, 0.3)
    with ThreadPoolExecutor(1) as pool:
        with exclusive_lock(workspace.gate_lock("tiny"), busy=None):  # another process decides
            waiting = pool.submit(pass_gate, workspace, better)
            time.sleep(1.0)
            mlflow_client().set_registered_model_alias("tiny", "champion", str(middle.version))
        verdict = waiting.result()
    assert verdict.report.promoted
    assert verdict.champion == find_version(f"models:/tiny/{middle.version}")


def test_limits_are_the_callers(workspace: Workspace) -> None:
    report = pass_gate(workspace, find_version("models:/tiny/1"), config=GateConfig(max_direction_ratio=1.0)).report
    assert not report.promoted
    assert "more than 1 times" in report.reason
    with pytest.raises(RegistryError, match="no alias 'champion'"):
        find_version("models:/tiny@champion")


def test_text_that_is_not_that_of_the_corpus_decides_nothing(workspace: Workspace) -> None:
    test = workspace.corpus("tiny").test
    test.write_bytes(test.read_bytes().replace(b"the", b"tha", 1))
    with pytest.raises(CorpusError, match=r"test\.txt does not hold the documents"):
        promote_challenger(workspace, "tiny")
    assert tags_of(find_version("models:/tiny/1")) == {}


def test_drift_says_what_new_text_asks_of_the_champion(charlm: Charlm, workspace: Workspace, tmp_path: Path) -> None:
    assert measure_drift(workspace, "tiny").reason == "there is no champion yet"
    promote_challenger(workspace, "tiny")
    seen = measure_drift(workspace, "tiny")
    assert (seen.action, seen.reason) == ("nothing", "models:/tiny/1 was trained on the newest revision, 1")
    # Upper case has no id, and nothing else is new about these lines.
    text = write_sentences(tmp_path / "loud.txt", seed=2)
    text.write_text(re.sub(r"\bthe\b", "THE", text.read_text()))
    added = charlm("prepare", text, "--name", "tiny", "--domain", "loud", "--workspace", workspace.root)
    assert added.code == 0, added.stderr
    report = measure_drift(workspace, "tiny")
    assert (report.action, report.domain, list(report.domains)) == ("finetune-extended", "loud", ["loud"])
    new = report.domains["loud"]
    assert new.score is not None
    assert report.reference is not None
    test = workspace.corpus("tiny").test.read_text()
    start = load_manifest(workspace.corpus("tiny")).revisions[0].files[-1].end
    loud = test[start:]
    assert new.score.unk_rate == pytest.approx(sum(map(str.isupper, loud)) / len(loud))
    assert report.reference.unk_rate == 0
    assert new.documents == loud.count("\n")
    assert new.interval is not None
    assert new.interval[0] > 0
    assert report.growth == pytest.approx(2, rel=0.1)  # as many lines again


def test_promote_and_rollback_on_the_command_line(charlm: Charlm, workspace: Workspace) -> None:
    root = ("--workspace", workspace.root)
    nothing = charlm("rollback", "tiny", *root)
    assert nothing.code == 2
    assert nothing.stderr.splitlines()[-1] == "error: tiny has no alias 'champion'; it has challenger"
    unknown = charlm("promote", "nobody", *root, "--json")
    assert unknown.code == 2
    assert "there is no registered model 'nobody'" in unknown.json["error"]
    mlflow_client().set_registered_model_alias("tiny", "champion", str(register_noisy(workspace, 0.02).version))
    mlflow_client().set_registered_model_alias("tiny", "challenger", "1")
    promoted = charlm("promote", "tiny", *root, "--json")
    assert promoted.code == 0, promoted.stderr
    assert (promoted.json["model"], promoted.json["promoted"]) == ("models:/tiny/1", True)
    assert promoted.json["domains"]["tiny"]["interval"][0] > 0
    shown = charlm("promote", "tiny", *root)
    assert "tiny (target)" in shown.stdout
    assert shown.stdout.splitlines()[-1] == f"models:/tiny/1 {promoted.json['reason']}"
    back = charlm("rollback", "tiny", *root)
    assert back.stdout == "models:/tiny/2 is champion again, in the place of models:/tiny/1\n"
    again = charlm("rollback", "tiny", *root, "--json")
    assert again.code == 2
    assert "models:/tiny/2 replaced no other; there is nothing to roll back to" in again.json["error"]


def test_a_server_hears_of_promotions_by_hand(charlm: Charlm, workspace: Workspace, server: dict[str, str]) -> None:
    root = ("--workspace", workspace.root)
    mlflow_client().set_registered_model_alias("tiny", "champion", str(register_noisy(workspace, 0.02).version))
    mlflow_client().set_registered_model_alias("tiny", "challenger", "1")
    nobody = charlm("promote", "tiny", *root, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert nobody.code == 0, nobody.stderr
    assert "models:/tiny/1 is champion, but nothing that follows a promotion will start: " in nobody.stderr
    begun = datetime.now(UTC).isoformat()
    assert charlm("promote", "tiny", *root, **server).code == 0  # is champion already
    assert charlm("rollback", "tiny", *root, **server).code == 0
    wanted = {"filter": {"event": {"name": ["charlm.model.promoted"]}, "occurred": {"since": begun}}, "limit": 50}
    deadline = time.monotonic() + 60
    while not (events := ask(server, "/events/filter", wanted)["events"]) and time.monotonic() < deadline:
        time.sleep(0.5)
    told = [(event["payload"]["address"], event["payload"]["previous_champion"]) for event in events]
    assert told == [("models:/tiny/2", "models:/tiny/1")]
