"""What MLflow's pages of a logged model show without prose: its settings, its scores with the text that they are of,
and where it comes from.

Writes parameters, tags and metrics of the logged model; datasets and models as inputs of runs, and the model as output
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charlm.errors import decoration
from charlm.evaluation.scores import ScoreValues
from charlm.storage.atomic import JsonObject
from tasks.registry.versions import RegisteredVersion, logged_model_id
from tasks.tracking.client import mlflow_client
from tasks.tracking.scores import SCORE_NAMES

if TYPE_CHECKING:
    from mlflow.entities import LoggedModelInput

_LONGEST_VALUE = 500  # of a parameter
_LONGEST_NAME = 250  # of a dataset
_VERSIONS_TAG = "mlflow.modelVersions"
CONTEXTS = {"train": "training", "valid": "validation", "dev": "validation", "test": "testing"}
"""What MLflow calls the splits."""


@dataclass(frozen=True)
class DataSplit:
    """A text or labelled data that a model was trained or scored on, as MLflow knows it."""

    name: str
    digest: str
    split: str


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The settings, scores and origin of a logged model."""

    params: Mapping[str, object]
    tags: Mapping[str, str]
    data: Sequence[DataSplit]
    scores: Mapping[str, Mapping[str, float]]
    """By split, then by the name of the metric."""

    training_runs: Sequence[str] = ()
    """The MLflow runs that trained its parts, besides the one that it is logged to."""

    made_from: Sequence[RegisteredVersion] = ()
    """The versions that it continues, or whose embeddings it uses."""

    def shown_params(self) -> dict[str, str]:
        return {name: str(value)[:_LONGEST_VALUE] for name, value in self.params.items() if value is not None}


def bundle_record(
    manifest: JsonObject, tags: Mapping[str, str], training_runs: Sequence[str], parent: RegisteredVersion | None
) -> ModelRecord:
    """The record of a bundle with this manifest; `tags` are those of its version."""
    corpus, dictionary = manifest["corpus"], manifest["dictionary"]
    params = {
        "recipe": manifest["recipe"],
        **manifest["training"],
        "directions": ", ".join(manifest["models"]),
        "unit": dictionary["unit"],
        "dictionary_size": dictionary["size"],
    }
    names = {"train": f"{corpus['name']} revision {corpus['revision']}"}
    names |= {split: f"{corpus['name']} {split}" for split in ("valid", "test")}
    return ModelRecord(
        params=params,
        tags=tags,
        data=[DataSplit(name[-_LONGEST_NAME:], corpus["fingerprint"], split) for split, name in names.items()],
        scores={split: _bundle_scores(manifest["scores"], split) for split in ("valid", "test")},
        training_runs=training_runs,
        made_from=[] if parent is None else [parent],
    )


def _bundle_scores(scores: Mapping[str, Mapping[str, ScoreValues]], split: str) -> dict[str, float]:
    return {
        f"{direction}.{split}.{name}": value
        for direction, splits in scores.items()
        for name in SCORE_NAMES
        if (value := splits[split][name]) is not None  # a model that loses text has no bits of it
    }


def record_model(model_id: str, run_id: str, record: ModelRecord) -> None:
    """Send what belongs to a model that is logged to `run_id`; its parameters and tags were logged with it."""
    from mlflow.entities import LoggedModelOutput, Metric

    client = mlflow_client()
    inputs = models_as_inputs(record.made_from)
    log_data(run_id, record.data)
    for run in {run_id, *record.training_runs}:
        if inputs:
            client.log_inputs(run, models=inputs)
        if run != run_id:  # which has it since the model was logged
            client.log_outputs(run, [LoggedModelOutput(model_id, 0)])
    now = int(time.time() * 1000)
    metrics = [
        Metric(name, value, now, 0, model_id=model_id, dataset_name=one.name, dataset_digest=one.digest, run_id=run_id)
        for one in record.data
        for name, value in record.scores.get(one.split, {}).items()
    ]
    client.log_batch(run_id, metrics=metrics)


def link_version(model_id: str, version: RegisteredVersion) -> None:
    """Let MLflow's page of a logged model lead to the version made from it, as `mlflow.register_model` does."""
    linked = [{"name": version.name, "version": str(version.version)}]
    with decoration("the link from MLflow's page of the model to its version"):
        mlflow_client().set_logged_model_tags(model_id, {_VERSIONS_TAG: json.dumps(linked)})


def log_data(run_id: str, data: Iterable[DataSplit], *, source: str = "", profile: object = None) -> None:
    """Log text or labelled data as inputs of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = [
        DatasetInput(
            Dataset(
                one.name,
                one.digest,
                "local",
                json.dumps({"uri": source or one.name}),
                profile=None if profile is None else json.dumps(profile),
            ),
            [InputTag("mlflow.data.context", CONTEXTS[one.split])],
        )
        for one in data
    ]
    mlflow_client().log_inputs(run_id, inputs)


def models_as_inputs(versions: Iterable[RegisteredVersion]) -> "list[LoggedModelInput]":
    """The logged models behind registered versions; those that were registered without one are left out."""
    from mlflow.entities import LoggedModelInput

    found = map(logged_model_id, versions)
    return [LoggedModelInput(model_id) for model_id in found if model_id]
