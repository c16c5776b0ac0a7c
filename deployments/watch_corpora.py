"""Offer the corpora of the workspace as choices in the forms of deployments that need a prepared one.

Writes the parameter schema of these deployments on the Prefect server
"""

import copy
from typing import Any

from charlm.artifacts import Workspace
from tasks.services.rest import Server

_PARAMETER = "name"
# Not `retrain` and `evaluate-champion`: events start them, for corpora that may be younger than the choices.
DEPLOYMENTS = ("train-language-model", "finetune-language-model", "promote", "roll-back")


class CorpusChoices:
    """Compares the choices with the corpora, and changes those that are not as they should be."""

    seconds = 30.0

    def __init__(self, workspace: Workspace, prefect: Server) -> None:
        self._workspace, self._prefect = workspace, prefect

    def look(self) -> None:
        """Give every form the present corpora; free text where there are none."""
        names = self._workspace.corpus_names()
        found = self._prefect.find("/deployments/filter", {"deployments": {"name": {"any_": list(DEPLOYMENTS)}}})
        for deployment in found:
            schema = with_choices(deployment["parameter_openapi_schema"], names)
            if schema != deployment["parameter_openapi_schema"]:
                self._prefect.patch(f"/deployments/{deployment['id']}", {"parameter_openapi_schema": schema})


def with_choices(schema: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The schema of a form whose name is one of `names`."""
    changed = copy.deepcopy(schema)
    field = changed["properties"][_PARAMETER]
    field.pop("enum", None)
    if names:
        field["enum"] = names
    return changed
