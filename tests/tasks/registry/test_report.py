"""report.html of a real pair: in the workspace, among the artifacts of its version, and with the result of the gate."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.errors import CharLMWarning
from charlm.visual import model_report
from tasks.promotion.gate import pass_gate
from tasks.registry.report import report_page_address, write_report
from tasks.registry.versions import find_version, logged_model_id
from tasks.tracking.client import mlflow_client
from tests.conftest import TrainedWorkspace, own_workspace, trained_runs

HEADINGS = ["Scores on held-out text", "Training", "Text that the models write", "Words in context"]


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        yield workspace


def artifact(workspace: Workspace) -> str:
    """The report as MLflow has it."""
    import mlflow

    model_id = logged_model_id(find_version("models:/tiny/1"))
    assert model_id is not None
    assert "report.html" in {file.path for file in mlflow_client().list_logged_model_artifacts(model_id)}
    location = mlflow_client().get_logged_model(model_id).artifact_location
    path = mlflow.artifacts.download_artifacts(artifact_uri=f"{location}/report.html")
    return Path(path).read_text(encoding="utf-8")


def test_a_training_leaves_a_report_of_its_version(workspace: Workspace) -> None:
    page = workspace.report("tiny", 1).read_text(encoding="utf-8")
    assert artifact(workspace) == page
    assert [page.index(heading) for heading in HEADINGS] == sorted(page.index(heading) for heading in HEADINGS)
    assert "not judged yet" in page
    assert "Coverage of the dictionary" in page
    for run in trained_runs(workspace).values():
        assert f"{run.test['bits_per_byte']:.3f}" in page


def test_the_gate_puts_its_result_first(workspace: Workspace) -> None:
    report = pass_gate(workspace, find_version("models:/tiny/1")).report
    page = artifact(workspace)
    assert "not judged yet" not in page
    assert page.index("promoted") < page.index("The first version, and both directions are healthy.")
    assert page.index("At the promotion gate") < page.index("Scores on held-out text")
    for comparison in report.directions.values():
        assert f"{comparison.bits_per_byte:.4f}" in page
    address = report_page_address(find_version("models:/tiny/1"))
    assert address is not None
    assert f"]({address})" in mlflow_client().get_model_version("tiny", "1").description


def test_a_version_without_a_report_passes_the_gate(workspace: Workspace) -> None:
    workspace.report("tiny", 1).unlink()
    assert pass_gate(workspace, find_version("models:/tiny/1")).report.promoted
    assert not workspace.report("tiny", 1).exists()


def test_a_pair_that_is_not_registered_has_its_report_in_a_run_folder(workspace: Workspace) -> None:
    runs = trained_runs(workspace)
    path = write_report(workspace, "tiny", runs)
    assert path == next(iter(runs.values())).files.report
    assert "not registered" in path.read_text(encoding="utf-8")


def test_a_part_that_fails_is_left_out_with_a_line_and_the_others_stay(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr(model_report, "curves_section", fail)
    with pytest.warns(CharLMWarning, match="the part 'training curves' of the report is left out: no ink"):
        path = write_report(workspace, "tiny", trained_runs(workspace))
    assert path is not None
    assert "Words in context" in path.read_text(encoding="utf-8")


def test_a_report_that_fails_costs_one_line(workspace: Workspace) -> None:
    runs = trained_runs(workspace)
    next(iter(runs.values())).files.report.mkdir()
    with pytest.warns(CharLMWarning, match="the report of the model is left out"):
        assert write_report(workspace, "tiny", runs) is None
