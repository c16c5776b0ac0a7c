"""Offer the corpora of the workspace as choices in the forms of deployments that need the name of one.

Writes the parameter schema of these deployments on the Prefect server
"""

import copy
from typing import Any

from charlm.artifacts import Workspace
from tasks.services.rest import Server

_PARAMETER = "name"
OF_KNOWN = ("train-language-model", "finetune-language-model", "promote", "roll-back")
"""Deployments that need a corpus that is there."""
OF_ANY = ("run-pipeline", "prepare-corpus", "retrain", "evaluate-champion")
"""Deployments that make a corpus, or that events start for one which may be younger than the choices."""


class CorpusChoices:
    """Compares the choices with the corpora, and changes those that are not as they should be."""

    seconds = 30.0

    def __init__(self, workspace: Workspace, prefect: Server) -> None:
        self._workspace, self._prefect = workspace, prefect

    def look(self) -> None:
        """Give every form the present corpora; free text where there are none."""
        names = self._workspace.corpus_names()
        asked = {"deployments": {"name": {"any_": [*OF_KNOWN, *OF_ANY]}}}
        for deployment in self._prefect.find("/deployments/filter", asked):
            known = deployment["parameter_openapi_schema"] or {}
            if _PARAMETER not in known.get("properties", {}):  # another's deployment of the same name
                continue
            schema = with_choices(known, names, or_another=deployment["name"] in OF_ANY)
            if schema != known:
                self._prefect.patch(f"/deployments/{deployment['id']}", {"parameter_openapi_schema": schema})


def with_choices(schema: dict[str, Any], names: list[str], *, or_another: bool) -> dict[str, Any]:
    """The schema of a form whose name is one of `names`, or with `or_another` any other too."""
    changed = copy.deepcopy(schema)
    field = changed["properties"][_PARAMETER]
    if "anyOf" not in field:
        if names and not or_another:
            field["enum"] = names
            return changed
        field.pop("enum", None)
        field["anyOf"] = [{key: field.pop(key) for key in ("type", "pattern", "maxLength") if key in field}]
    kinds = [{key: value for key, value in kind.items() if key != "title"} for kind in field.pop("anyOf")]
    kinds = [kind for kind in kinds if "enum" not in kind]
    if names:  # the titles are the labels of buttons, of which one is chosen
        titles = {"string": "another", "null": "every corpus"}
        kinds = [{"type": "string", "enum": names}, *kinds]
        kinds = [{"title": "a corpus" if "enum" in kind else titles[kind["type"]], **kind} for kind in kinds]
    field.update({"anyOf": kinds} if len(kinds) > 1 else kinds[0])
    return changed
