"""Versions are found under exactly the name and number that were asked for, however they came into the registry."""

from collections.abc import Iterator

import pytest

from charlm.artifacts import Workspace
from charlm.errors import ConfigError, RegistryError
from tasks.downstream.registry import check_downstream_name
from tasks.registry.versions import (
    RegisteredVersion,
    all_versions,
    corpus_revision,
    find_champion,
    find_tagged,
    find_version,
)
from tasks.retraining.drift import measure_drift
from tasks.tracking.client import mlflow_client
from tests.conftest import TrainedWorkspace, own_workspace

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def workspace(trained_workspace: TrainedWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with own_workspace(trained_workspace, tmp_path_factory.mktemp("registry") / "copy") as workspace:
        yield workspace


def register_by_hand(name: str) -> RegisteredVersion:
    """A version as a person makes it in MLflow: of the trained pair, without any tag of ours."""
    client = mlflow_client()
    if name not in {model.name for model in client.search_registered_models()}:
        client.create_registered_model(name)
    trained = client.get_model_version("tiny", "1")
    version = client.create_model_version(name, source=trained.source, run_id=trained.run_id)
    client.set_registered_model_alias(name, "champion", version.version)
    return RegisteredVersion(name, int(version.version))


@pytest.mark.usefixtures("workspace")
def test_a_quote_belongs_to_the_name() -> None:
    register_by_hand("its")
    with pytest.raises(RegistryError, match='there is no registered model "it\'s"'):
        find_version("models:/it's@champion")
    assert find_champion("it's") is None
    own = register_by_hand("it's")
    mlflow_client().set_model_version_tag("it's", "1", "a", "b")
    assert find_version("models:/it's@champion") == find_version("models:/it's/1") == own
    assert [version for version, _ in all_versions("it's")] == find_tagged("it's", "a", "b") == [own]
    with pytest.raises(ConfigError, match='"it\'s" is the name of a registered language model'):
        check_downstream_name("it's")
    check_downstream_name("it''s")  # of no model at all


@pytest.mark.usefixtures("workspace")
def test_a_name_with_both_kinds_of_quotes_is_one_line() -> None:
    with pytest.raises(RegistryError, match="both kinds of quotes"):
        all_versions('"it\'s"')


def test_a_version_that_was_registered_by_hand_does_not_say_what_it_was_trained_on(workspace: Workspace) -> None:
    version = register_by_hand("tiny")
    assert corpus_revision(version) is None
    with pytest.raises(RegistryError, match=rf"models:/tiny/{version.version} does not say .* the tag corpus.revision"):
        measure_drift(workspace, "tiny")
    mlflow_client().set_model_version_tag("tiny", str(version.version), "corpus.revision", "1")
    assert corpus_revision(version) == 1
    assert measure_drift(workspace, "tiny").action == "nothing"
