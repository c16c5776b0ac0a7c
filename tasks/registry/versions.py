"""Registered versions and their aliases in MLflow's registry."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charlm.errors import RegistryError, known_names
from tasks.registry.tags import read_tags, stored_tags
from tasks.tracking.client import first_line, mlflow_client, mlflow_error

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHALLENGER, CHAMPION = "challenger", "champion"
DECISION = "gate.decision"
"""The tag with what the promotion gate decided about a version."""
BITS_PER_BYTE = "bits_per_byte"
"""The tag with the test score of a version, mean of its directions."""
DOMAINS = "domains"
"""The tag with the domains of text that a version was trained on."""
KIND = "charlm.task"
"""The tag of taggers and classifiers with which of them it is."""
CORPUS_REVISION = "corpus.revision"
"""The tag with the newest revision of the corpus that a version was trained on."""
_LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]+)")
_ADDRESS = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    version: int
    is_new: bool = False

    @property
    def address(self) -> str:
        return f"models:/{self.name}/{self.version}"


def version_tags(version: RegisteredVersion) -> dict[str, str]:
    """The tags of a version by their plain names."""
    with clear_errors(f"cannot look up {version.address}"):
        return read_tags(mlflow_client().get_model_version(version.name, str(version.version)).tags)


def set_version_tags(version: RegisteredVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version, given by their plain names; those that only programs read at once and last."""
    client, number = mlflow_client(), str(version.version)
    with clear_errors(f"cannot tag {version.address}"):
        stored = client.get_model_version(version.name, number).tags
        for tag, value in stored_tags(tags, stored).items():
            client.set_model_version_tag(version.name, number, tag, value)


def corpus_revision(version: RegisteredVersion) -> int | None:
    """The newest revision of its corpus that a version was trained on; none without its tag (registered by hand)."""
    revision = version_tags(version).get(CORPUS_REVISION, "")
    return int(revision) if revision.isdecimal() else None


def parents_and_language_models() -> set[RegisteredVersion]:
    """The versions that versions of other models were made from: continued, or embedded with by a tagger."""
    with clear_errors("cannot look up the registered versions"):
        found = mlflow_client().search_model_versions("")
    named = set()
    for version in found:
        tags = version.tags
        addresses = [*tags.get("language_models", "").split(", "), f"models:/{tags.get('parent.version', '')}"]
        for match in map(_ADDRESS.fullmatch, addresses):
            if match is not None and match[3] is not None:
                named.add(RegisteredVersion(match[1], int(match[3])))
    return named


def logged_model_id(version: RegisteredVersion) -> str | None:
    """The id of the logged model that a version was made from; none where its files were registered alone."""
    with clear_errors(f"cannot look up {version.address}"):
        found = mlflow_client().get_model_version(version.name, str(version.version))
    match = _LOGGED_MODEL.fullmatch(found.source or "")  # MLflow 3.17 keeps `model_id` nowhere else
    return found.model_id or (match[1] if match else None)


def find_tagged(name: str, tag: str, value: str) -> list[RegisteredVersion]:
    """The versions of the model `name` whose `tag` has this value, oldest first."""
    return [version for version, tags in all_versions(name) if tags.get(tag) == value]


def all_versions(name: str) -> list[tuple[RegisteredVersion, dict[str, str]]]:
    """Every version of the model `name` with its tags by their plain names, oldest first."""
    return [(RegisteredVersion(name, int(found.version)), read_tags(found.tags)) for found in all_entries(name)]


def all_entries(name: str) -> "list[ModelVersion]":
    """What MLflow keeps of every version of the model `name`, oldest first."""
    with clear_errors(f"cannot look up the versions of {name}"):
        return sorted(mlflow_client().search_model_versions(_named(name)), key=lambda found: int(found.version))


def find_champion(name: str) -> RegisteredVersion | None:
    """The champion of the model `name`; none where there is no such model, or no champion yet."""
    with clear_errors(f"cannot look up the champion of {name}"):
        model = find_registered_model(name)
    number = model.aliases.get(CHAMPION) if model else None
    return None if number is None else RegisteredVersion(name, int(number))


def find_version(address: str) -> RegisteredVersion:
    """The version that an address names; raises RegistryError when there is none."""
    name, alias, number = parse_address(address)
    with clear_errors(f"cannot look up {address}"):
        model = find_registered_model(name)
    if model is None:
        raise missing_model(name)
    if number is not None:
        numbers = [version.version for version, _ in all_versions(name)]
        if number not in numbers:
            raise RegistryError(f"{name} has no version {number}; it has {', '.join(map(str, numbers)) or 'none'}")
        return RegisteredVersion(name, number)
    if alias not in model.aliases:
        raise RegistryError(f"{name} has no alias {alias!r}; it has {', '.join(sorted(model.aliases)) or 'none'}")
    return RegisteredVersion(name, int(model.aliases[alias]))


def parse_address(address: str) -> tuple[str, str | None, int | None]:
    """The name, and the alias or the number, of `models:/NAME@ALIAS` or `models:/NAME/3`; raises RegistryError."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise RegistryError(f"{address!r} is not the address of a model; write models:/NAME@champion or models:/NAME/3")
    return match[1], match[2], int(match[3]) if match[3] else None


def registered_models() -> "list[RegisteredModel]":
    """All registered models, by name."""
    found: list[RegisteredModel] = []
    token = None
    with clear_errors("cannot look up the registered models"):
        while True:
            page = mlflow_client().search_registered_models(page_token=token)
            found += page
            if not (token := page.token):
                return sorted(found, key=lambda model: model.name)


def missing_model(name: str) -> RegistryError:
    """The error for a model that is not registered."""
    known = known_names(name, [model.name for model in registered_models()])
    return RegistryError(f"there is no registered model {name!r} in {os.environ['MLFLOW_TRACKING_URI']}; {known}")


def find_registered_model(name: str) -> "RegisteredModel | None":
    """The registered model of exactly this name; raises what MLflow raises when it does not answer."""
    try:
        return mlflow_client().get_registered_model(name)
    except mlflow_error() as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def create_registered_model(name: str, *, description: str, tags: Mapping[str, str] | None = None) -> None:
    """Create the model `name` unless it exists; another process may do that at the same moment."""
    if find_registered_model(name) is None:
        try:
            mlflow_client().create_registered_model(name, tags=dict(tags or {}), description=description)
        except mlflow_error() as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _named(name: str) -> str:
    """A filter for MLflow's search, which has no escapes: the name is put into the kind of quotes that it lacks."""
    quote = '"' if "'" in name else "'"
    if quote in name:
        raise RegistryError(f"MLflow cannot search for {name!r}, which contains both kinds of quotes; rename the model")
    return f"name = {quote}{name}{quote}"


@contextmanager
def clear_errors(what: str) -> Iterator[None]:
    """Turn what MLflow raises into one line."""
    try:
        yield
    except mlflow_error() as error:
        raise RegistryError(f"{what} at {os.environ['MLFLOW_TRACKING_URI']}: {first_line(error)}") from error
