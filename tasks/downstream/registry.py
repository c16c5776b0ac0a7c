"""Taggers and classifiers in the model registry, each version with the language models that it was trained on.

Writes registered versions with tags and a description
Reads  models:/NAME/3, models:/NAME@newest
"""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from charlm.artifacts import DownstreamRunFiles, Workspace
from charlm.errors import ConfigError, ModelFileError, decoration
from charlm.serialization.markdown import code, escape
from charlm.storage.user_paths import user_path
from tasks.downstream.manifest import TrainingFacts
from tasks.downstream.tracking import SCORES, labelled_data, registered_models
from tasks.registry.descriptions import pad_columns
from tasks.registry.flavour import log_standalone_model
from tasks.registry.logged_models import ModelRecord, link_version
from tasks.registry.report import log_report
from tasks.registry.tags import stored_tags
from tasks.registry.versions import (
    KIND,
    RegisteredVersion,
    clear_errors,
    create_registered_model,
    find_registered_model,
    find_tagged,
    find_version,
)
from tasks.services.mlflow_compat import LONGEST_DESCRIPTION
from tasks.tracking.client import mlflow_client

if TYPE_CHECKING:
    from charlm.evaluation.labels import LabelValues

NEWEST = "newest"
"""The alias of the version that was registered last."""
_FINGERPRINT_TAG = "task.fingerprint"
_CODE = Path(__file__).with_name("pyfunc_model.py")


def check_downstream_name(name: str) -> None:
    """Raise ConfigError when `name` is that of a registered pair of language models."""
    with clear_errors(f"cannot look up {name}"):
        model = find_registered_model(name)
    if model is not None and KIND not in model.tags:
        raise ConfigError(f"{name!r} is the name of a registered language model; give taggers and classifiers another")


def register_downstream_model(
    name: str, files: DownstreamRunFiles, facts: TrainingFacts, test: "LabelValues | None", run_id: str | None
) -> RegisteredVersion:
    """Register the model of a finished training as version of `name`; the same training keeps the version it has."""
    with clear_errors(f"{name} is trained but not registered (the command with --resume does that); MLflow"):
        if known := find_tagged(name, _FINGERPRINT_TAG, files.root.name):
            return known[0]
        if run_id is None:
            raise ConfigError("MLflow did not answer when the training began")
        client = mlflow_client()
        tags = _tags(files, facts, test)
        logged = log_standalone_model(
            run_id, f"{name}-{facts['task']}", _CODE, {"model": files.model}, _record(facts, tags, test)
        )
        description = ""
        with decoration(f"the description of the new version of {name}"):
            description = pad_columns(describe_downstream_model(facts, test))[:LONGEST_DESCRIPTION]
        create_registered_model(name, description=_DESCRIPTION, tags={KIND: facts["task"]})
        created = client.create_model_version(
            name,
            source=logged.model_uri,
            run_id=run_id,
            tags=stored_tags(tags),
            description=description,
            model_id=logged.model_id,
        )
        client.set_registered_model_alias(name, NEWEST, created.version)
    version = RegisteredVersion(name, int(created.version), is_new=True)
    link_version(logged.model_id, version)
    with decoration(f"the report of {name} in MLflow"):
        if files.report.is_file():
            log_report(version, files.report)
    return version


def resolve_downstream_model(model: str, workspace: Workspace) -> Path:
    """The file of a tagger or classifier: a path, a run folder, or a registry address downloaded."""
    if model.startswith("models:"):
        import mlflow

        found = find_version(model)
        with clear_errors(f"cannot download {found.address}"):
            location = mlflow_client().get_model_version_download_uri(found.name, str(found.version))
            files = DownstreamRunFiles(Path(mlflow.artifacts.download_artifacts(artifact_uri=location)) / "artifacts")
        if not files.model.is_file():
            raise ModelFileError(f"{found.address} is no tagger or classifier; charlm embed and evaluate take it")
        return files.model
    path = user_path(model)
    files = DownstreamRunFiles(path) if path.is_dir() else workspace.downstream_run(model)
    for candidate in (path, files.model):
        if candidate.is_file():
            return candidate
    raise ModelFileError(f"there is no tagger or classifier {model!r}: give best-model.pt, a run, or models:/NAME/1")


def _record(facts: TrainingFacts, tags: dict[str, str], test: "LabelValues | None") -> ModelRecord:
    return ModelRecord(
        params={"task": facts["task"], "label_type": facts["label_type"], **facts["config"]},
        tags=tags,
        data=labelled_data(facts),
        scores={} if test is None else {"test": {f"test.{name}": test[name] for name in SCORES}},
        made_from=registered_models(facts),
    )


def _tags(files: DownstreamRunFiles, facts: TrainingFacts, test: "LabelValues | None") -> dict[str, str]:
    tags = {
        _FINGERPRINT_TAG: files.root.name,
        KIND: facts["task"],
        "label_type": facts["label_type"],
        "language_models": ", ".join(facts["language_models"]) or "none",
        "corpus.fingerprint": facts["corpus_fingerprint"],
        **({"tokenizer": facts["tokenizer"]} if "tokenizer" in facts else {}),
    }
    if test is None:
        return tags
    scores = {"accuracy": test["accuracy"], "micro_f1": test["micro_f1"], "macro_f1": test["macro_f1"]}
    return tags | {f"test.{name}": f"{score:.6g}" for name, score in scores.items()}


def describe_downstream_model(facts: TrainingFacts, test: "LabelValues | None") -> str:
    """The description of a version, as markdown: a sentence that tells versions apart, its lineage, its scores."""
    score = "Not tested" if test is None else f"Micro F1 {test['micro_f1']:.4f} on test"
    lines = [
        f"{score}: a {facts['task']} for the labels {code(facts['label_type'])},"
        f" trained on {facts['sentences']['train']:,} sentences.",
        "",
        f"- labelled data: {', '.join(map(code, facts['data']))}",
        f"- language models: {', '.join(map(_linked, facts['language_models'])) or 'none'}",
    ]
    if facts["vectors"]:
        lines.append(f"- word vectors: {', '.join(map(escape, facts['vectors']))}")
    if test is not None:
        lines += [
            f"- test: accuracy {test['accuracy']:.4f}, micro F1 {test['micro_f1']:.4f},"
            f" macro F1 {test['macro_f1']:.4f}",
            "",
            "| label | precision | recall | F1 | count |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {escape(label)} | {one['precision']:.4f} | {one['recall']:.4f} | {one['f1']:.4f} | {one['count']:,} |"
            for label, one in sorted(test["classes"].items(), key=lambda item: -item[1]["count"])[:_LABELS_SHOWN]
        ]
    return "\n".join(lines) + "\n"


def _linked(model: str) -> str:
    """The address of a registered version as a link to its page in MLflow."""
    if not model.startswith("models:/"):
        return code(model)
    name, _, version = model.removeprefix("models:/").partition("/")
    return f"[{escape(model)}](#/models/{quote(name, safe='')}/versions/{version})"


_LABELS_SHOWN = 40
_DESCRIPTION = (
    "A tagger or classifier on the embeddings of language models. The tag `language_models` of a version names those"
    " that it was trained on. `mlflow models serve` answers a list of texts with their tokens and labels."
)
