"""What is registered: one line for each model, or for each version of one.

Reads  MLflow's registry: versions, aliases and tags
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING

from charlm.artifacts import DIRECTIONS
from charlm.storage.atomic import JsonObject
from tasks.registry.versions import (
    CHAMPION,
    DECISION,
    DOMAINS,
    KIND,
    RegisteredVersion,
    all_entries,
    clear_errors,
    find_registered_model,
    missing_model,
    registered_models,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

LANGUAGE_MODEL = "language model"


@dataclass(frozen=True, kw_only=True)
class ListedVersion:
    """A registered version, with what people choose by."""

    model: str
    """Its address."""
    kind: str
    """`language model`, `tagger` or `classifier`."""
    aliases: list[str]
    versions: int
    """How many the model has."""
    bits_per_byte: float | None
    """Of a language model, on the test text of its corpus: the mean of its directions."""
    micro_f1: float | None
    """Of a tagger or classifier, on its test data."""
    decision: str | None
    """Of the promotion gate."""
    recipe: str | None
    domains: str | None
    created: str
    """UTC, to the minute."""

    def to_json(self) -> JsonObject:
        return asdict(self)


def list_models() -> list[ListedVersion]:
    """The champion of every registered model, or its newest version where it has none."""
    return [
        versions[0]
        for model in registered_models()
        if (versions := sorted(_versions(model), key=lambda version: CHAMPION not in version.aliases))
    ]


def list_versions(name: str) -> list[ListedVersion]:
    """Every version of the model `name`, newest first; raises RegistryError where there is no such model."""
    with clear_errors(f"cannot look up {name}"):
        model = find_registered_model(name)
    if model is None:
        raise missing_model(name)
    return _versions(model)


def _versions(model: "RegisteredModel") -> list[ListedVersion]:
    entries = all_entries(model.name)
    return [_listed(model, entry, len(entries)) for entry in reversed(entries)]


def _listed(model: "RegisteredModel", entry: "ModelVersion", num_versions: int) -> ListedVersion:
    tags = entry.tags
    bits = [float(tags[name]) for way in DIRECTIONS if (name := f"{way}.bits_per_byte") in tags]
    created = datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC)
    return ListedVersion(
        model=RegisteredVersion(model.name, int(entry.version)).address,
        kind=tags.get(KIND, LANGUAGE_MODEL),
        aliases=sorted(alias for alias, number in model.aliases.items() if int(number) == int(entry.version)),
        versions=num_versions,
        bits_per_byte=fmean(bits) if bits else None,
        micro_f1=float(tags["test.micro_f1"]) if "test.micro_f1" in tags else None,
        decision=tags.get(DECISION),
        recipe=tags.get("recipe"),
        domains=tags.get(DOMAINS),
        created=f"{created:%Y-%m-%d %H:%M}",
    )
