"""Experiments and runs in MLflow."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from charlm.artifacts import Workspace
from charlm.errors import ConfigError, TrainingInterruptedError
from tasks.services.mlflow_database import ARTIFACT_ROOT_TAG, SERVER_ARTIFACT_ROOT, uses_embedded_mlflow
from tasks.terminal import terminal
from tasks.tracking.client import first_line, mlflow_client, mlflow_error, user_name


def find_experiment(workspace: Workspace, name: str) -> str:
    """The id of the experiment `name`, which is created if needed."""
    if known := _known_experiment(name):
        return known
    try:
        return _create_experiment(workspace, name)
    except mlflow_error():  # another process has created it since
        if known := _known_experiment(name):
            return known
        raise


def _known_experiment(name: str) -> str | None:
    experiment = mlflow_client().get_experiment_by_name(name)
    if experiment is None:
        return None
    if experiment.lifecycle_stage != "active":
        raise ConfigError(f"the MLflow experiment {name!r} is deleted; restore it there or take another corpus name")
    return str(experiment.experiment_id)


def _create_experiment(workspace: Workspace, name: str) -> str:
    client = mlflow_client()
    tags = {"mlflow.note.content": f"Character language models of the corpus {name}."}
    if not uses_embedded_mlflow(workspace):  # a server decides where its artifacts go
        return str(client.create_experiment(name, tags={**tags, ARTIFACT_ROOT_TAG: SERVER_ARTIFACT_ROOT}))
    root = str(workspace.mlflow_artifacts_dir)
    return str(client.create_experiment(name, artifact_location=root, tags={**tags, ARTIFACT_ROOT_TAG: root}))


@contextmanager
def group_run(
    workspace: Workspace, experiment: str, name: str, *, parent: str | None = None, tags: Mapping[str, str]
) -> Iterator[str | None]:
    """The id of an MLflow run that is the parent of others for the block; none when MLflow does not answer."""
    try:
        run_id = create_mlflow_run(find_experiment(workspace, experiment), name, parent=parent, tags=tags)
    except mlflow_error() as error:
        terminal.print_line(f"! MLflow does not answer, the work continues without it: {first_line(error)}")
        yield None
        return
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except (TrainingInterruptedError, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        try:
            mlflow_client().set_terminated(run_id, status)
        except mlflow_error() as error:
            terminal.print_line(f"! MLflow does not answer, the run {name!r} stays open there: {first_line(error)}")


def finished_run(run_id: str) -> bool:
    """Whether MLflow has this run, and it ended well; false where MLflow does not answer."""
    try:
        info = mlflow_client().get_run(run_id).info
    except mlflow_error():
        return False
    return bool(info.status == "FINISHED" and info.lifecycle_stage == "active")


def parent_of(run_id: str) -> str | None:
    """The run above a run; none where there is none, or MLflow does not answer."""
    try:
        return mlflow_client().get_run(run_id).data.tags.get("mlflow.parentRunId")
    except mlflow_error():
        return None


def create_mlflow_run(experiment_id: str, name: str, *, parent: str | None, tags: Mapping[str, str]) -> str:
    """A new running MLflow run, below `parent`; its id."""
    all_tags = {**tags, "mlflow.source.name": "charlm", "mlflow.source.type": "LOCAL", "mlflow.user": user_name()}
    if parent is not None:
        all_tags["mlflow.parentRunId"] = parent
    return str(mlflow_client().create_run(experiment_id, tags=all_tags, run_name=name).info.run_id)
