"""A fine-tuning continues one version, whatever becomes of its alias meanwhile."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from charlm.artifacts import Workspace
from charlm.config import DictionaryChange
from charlm.evaluation.domains import score_domains
from charlm.recipes import changed_recipe
from tasks.registry.download import open_model
from tasks.runs import TrainedRun
from tasks.tracking.client import mlflow_client
from tasks.training.direction import TrainingRequest
from tasks.training.finetuning import finetune_pair
from tasks.training.steps import CALLED_HERE
from tests.conftest import TrainedWorkspace, own_workspace
from tests.tasks.promotion.test_gate import register_noisy

P = ParamSpec("P")
R = TypeVar("R")


class AliasMoves:
    """Steps during which somebody promotes another version."""

    def call(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return step(*args, **kwargs)

    def train_directions(
        self, workspace: Workspace, requests: Sequence[TrainingRequest], *, parent: str | None
    ) -> dict[str, TrainedRun]:
        mlflow_client().set_registered_model_alias("tiny", "champion", "2")
        return CALLED_HERE.train_directions(workspace, requests, parent=parent)


@pytest.mark.service
def test_training_scores_and_lineage_are_of_the_version_that_the_alias_named_at_first(
    trained_workspace: TrainedWorkspace, tmp_path: Path
) -> None:
    with own_workspace(trained_workspace, tmp_path / "workspace") as workspace:
        register_noisy(workspace, 0.5)
        mlflow_client().set_registered_model_alias("tiny", "champion", "1")
        result = finetune_pair(
            workspace,
            "tiny",
            "models:/tiny@champion",
            ("forward",),
            changed_recipe("finetune", ["max_characters=20000", "sequence_length=50"]),
            change=DictionaryChange(),
            resume=False,
            register=True,
            steps=AliasMoves(),
        )
        assert result.pair.version is not None
        number = str(result.pair.version.version)
        assert mlflow_client().get_model_version("tiny", number).tags["parent.version"] == "1"
        first = open_model("models:/tiny/1", workspace).models["forward"]
        scores = score_domains(first, workspace.corpus("tiny"))["tiny"]
        assert result.domains["forward"]["tiny"]["before"]["bits_per_byte"] == pytest.approx(scores.bits_per_byte)
