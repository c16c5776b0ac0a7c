"""The descriptions that MLflow's pages show of a registered model and its versions."""

from charlm.artifacts import BundleFiles
from charlm.errors import ModelFileError
from charlm.storage.atomic import read_json
from tasks.registry.download import read_manifest
from tasks.registry.lineage import DomainScores, changes_markdown
from tasks.registry.versions import RegisteredVersion
from tasks.services.mlflow_compat import LONGEST_DESCRIPTION

COLUMN_PADDING = "\u2003\u200b"
"""An em space; MLflow would trim it without the zero-width space after it."""


def version_description(bundle: BundleFiles, before: RegisteredVersion | None, domains: DomainScores | None) -> str:
    """The model card of a bundle, and what changed since the version `before`."""
    card = bundle.card.read_text(encoding="utf-8")
    if before is None:
        return pad_columns(card)
    changes = changes_markdown(
        read_manifest(before),
        read_json(bundle.manifest, remedy="restore it, or fetch the bundle again", error=ModelFileError),
        domains,
        older_label=f"{before.name} version {before.version}",
    )
    described = pad_columns(f"{card}\n## What changed\n\n{changes}")
    return described if len(described) <= LONGEST_DESCRIPTION else pad_columns(card)


def pad_columns(markdown: str) -> str:
    """`markdown` with space between the columns of its tables, which MLflow draws without any."""
    lines = markdown.split("\n")
    rows = [line.startswith("| ") and not line.startswith("| ---") for line in lines]
    return "\n".join(
        line.replace(" | ", f"{COLUMN_PADDING} | ") if is_row else line
        for line, is_row in zip(lines, rows, strict=True)
    )


def model_description(name: str) -> str:
    """The description of a registered model, for all of its versions."""
    return (
        f"Character language models of the corpus {name}, forward and backward in one bundle, used as word embeddings."
        f" `champion` is the version to use, `challenger` the newest one. `mlflow.pyfunc.load_model"
        f'("models:/{name}@champion").predict(["some text"])` gives tokens and their vectors.'
    )
