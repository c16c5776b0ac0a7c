"""The gate with a probe, on registered models: better at predicting text is not enough."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from charlm.artifacts import Workspace
from charlm.config import GateConfig
from charlm.errors import DatasetError
from charlm.models import LanguageModel
from tasks.promotion.gate import pass_gate
from tasks.registry.bundles import register_runs
from tasks.registry.versions import RegisteredVersion, find_version
from tasks.runs import TrainedRun
from tasks.tracking.client import mlflow_client
from tasks.tracking.runs import group_run
from tests.conftest import TrainedWorkspace, own_workspace

pytestmark = pytest.mark.service


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path, monkeypatch) -> Iterator[Workspace]:
    torch.set_num_threads(1)
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        yield workspace


def register_changed(workspace: Workspace, name: str, change: Callable[[LanguageModel], None]) -> RegisteredVersion:
    """Register the trained pair with changed weights as the next version."""
    runs = {}
    for path in sorted(workspace.runs_dir.glob("tiny-*ward-demo-*")):
        if path.name.endswith("-changed"):
            continue
        changed = workspace.run(f"{path.name}-{name}-changed")
        shutil.copytree(path, changed.root)
        model = LanguageModel.load_language_model(changed.best_lm)
        with torch.no_grad():
            change(model)
        model.save(changed.best_lm)
        run = TrainedRun.load(changed, reused=True)
        runs[run.direction] = run
    with group_run(workspace, "tiny", name, tags={}) as run_id:
        return register_runs(workspace, "tiny", runs, run_id=run_id)


def spoil_predictions(model: LanguageModel) -> None:
    """Predict text worse, embed as before."""
    torch.manual_seed(1)
    model.decoder.weight += 0.3 * torch.randn_like(model.decoder.weight)


def confuse_unknown_characters(model: LanguageModel) -> None:
    """Embed an unknown character like an `e`; text without unknown ones is predicted as before."""
    model.encoder.weight[0] = model.encoder.weight[model.dictionary.get_idx_for_item("e")]


def write_probe(folder: Path) -> Path:
    """Words of unknown characters are one kind, those of `e` another."""
    folder.mkdir()
    for seed, (split, count) in enumerate({"train": 60, "dev": 10, "test": 30}.items()):
        kinds = torch.randint(2, (count, 4), generator=torch.Generator().manual_seed(seed)).tolist()
        sentences = ["".join(("€€€ U\n", "eee E\n")[kind] for kind in sentence) for sentence in kinds]
        (folder / f"{split}.txt").write_text("\n".join(sentences), encoding="utf-8")
    return folder


def test_a_challenger_that_taggers_learn_less_from_is_refused_though_it_predicts_better(workspace, tmp_path):
    config = GateConfig(probe=str(write_probe(tmp_path / "probe")))
    champion = register_changed(workspace, "champion", spoil_predictions)
    first = pass_gate(workspace, champion, config=config).report
    assert first.promoted
    assert first.probe is None

    forgetful = register_changed(workspace, "forgetful", confuse_unknown_characters)
    refused = pass_gate(workspace, forgetful, config=config).report
    assert not refused.promoted
    assert refused.probe is not None
    assert refused.probe.sentences == 30
    assert refused.probe.champion > 0.8 > refused.probe.challenger
    assert refused.reason == f"refused: {refused.probe.fault(config.probe_tolerance)}"  # and nothing else
    assert find_version("models:/tiny@champion").version == champion.version
    assert "Probe: micro F1" in mlflow_client().get_model_version("tiny", str(forgetful.version)).description

    clean = pass_gate(workspace, find_version("models:/tiny/1"), config=config).report
    assert clean.promoted
    assert clean.probe is not None
    assert clean.probe.challenger > 0.8
    assert not any((tmp_path / "cache" / "embeddings").iterdir())


def test_a_probe_that_cannot_be_read_is_told_before_anything_is_decided(workspace, tmp_path):
    with pytest.raises(DatasetError, match="there is no folder 'NOWHERE' with labelled data"):
        pass_gate(workspace, find_version("models:/tiny/1"), config=GateConfig(probe="NOWHERE"))
    assert "gate.decision" not in mlflow_client().get_model_version("tiny", "1").tags
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "dev.txt").write_text("a B\n")
    with pytest.raises(DatasetError, match="a probe needs train and test sentences"):
        pass_gate(workspace, find_version("models:/tiny/1"), config=GateConfig(probe=str(tmp_path / "half")))
