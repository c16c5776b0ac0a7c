"""Registered versions and their aliases, as MLflow's registry knows them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charlm.errors import RegistryError
from tasks.tracking.client import first_line, mlflow_client, mlflow_error

if TYPE_CHECKING:
    pass

CHALLENGER, CHAMPION = "challenger", "champion"
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


def corpus_revision(version: RegisteredVersion) -> int:
    """The newest revision of its corpus that a version was trained on."""
    with clear_errors(f"cannot look up {version.address}"):
        tags = mlflow_client().get_model_version(version.name, str(version.version)).tags
    return int(tags["corpus.revision"])


def find_tagged(name: str, tag: str, value: str) -> list[RegisteredVersion]:
    """The versions of the model `name` whose `tag` has this value, oldest first."""
    with clear_errors(f"cannot look up the versions of {name}"):
        found = mlflow_client().search_model_versions(f"name = '{quoted(name)}' and tags.`{tag}` = '{value}'")
    return [RegisteredVersion(name, number) for number in sorted(int(version.version) for version in found)]


def all_versions(name: str) -> list[tuple[RegisteredVersion, dict[str, str]]]:
    """Every version of the model `name` with its tags, oldest first."""
    with clear_errors(f"cannot look up the versions of {name}"):
        found = mlflow_client().search_model_versions(f"name = '{quoted(name)}'")
    versions = [(RegisteredVersion(name, int(version.version)), dict(version.tags)) for version in found]
    return sorted(versions, key=lambda pair: pair[0].version)


def find_champion(name: str) -> RegisteredVersion | None:
    """The champion of the model `name`; none where there is no such model, or no champion yet."""
    with clear_errors(f"cannot look up the champion of {name}"):
        models = mlflow_client().search_registered_models(filter_string=f"name = '{quoted(name)}'")
    number = models[0].aliases.get(CHAMPION) if models else None
    return None if number is None else RegisteredVersion(name, int(number))


def find_version(address: str) -> RegisteredVersion:
    """The version that an address names."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise RegistryError(f"{address!r} is no address of a model; write models:/NAME@champion or models:/NAME/3")
    name, alias, number = match.groups()
    client = mlflow_client()
    with clear_errors(f"cannot look up {address}"):
        models = client.search_registered_models(filter_string=f"name = '{quoted(name)}'")
    if not models:
        raise RegistryError(f"there is no registered model {name!r} in {os.environ['MLFLOW_TRACKING_URI']}")
    if alias is None:
        with clear_errors(f"cannot look up {address}"):
            versions = client.search_model_versions(f"name = '{quoted(name)}'")
        numbers = sorted(int(version.version) for version in versions)
        if int(number) not in numbers:
            raise RegistryError(f"{name} has no version {number}; it has {', '.join(map(str, numbers)) or 'none'}")
        return RegisteredVersion(name, int(number))
    aliases = models[0].aliases
    if alias not in aliases:
        raise RegistryError(f"{name} has no alias {alias!r}; it has {', '.join(sorted(aliases)) or 'none'}")
    return RegisteredVersion(name, int(aliases[alias]))


def quoted(name: str) -> str:
    return name.replace("'", "")


@contextmanager
def clear_errors(what: str) -> Iterator[None]:
    """Turn what MLflow raises into one line."""
    try:
        yield
    except mlflow_error() as error:
        raise RegistryError(f"{what} at {os.environ['MLFLOW_TRACKING_URI']}: {first_line(error)}") from error
