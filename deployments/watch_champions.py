"""Send the event of a promotion for a champion that was not announced: whose alias was moved by hand in MLflow's page.

Reads  the registered models: their alias `champion`, and the tag with the champion that was announced last
Writes that tag
"""

from collections.abc import Callable, Iterator
from typing import Any

from tasks.promotion.events import ANNOUNCED, MODEL_PROMOTED, promotion_event
from tasks.registry.versions import CHAMPION, CORPUS_REVISION, DECISION, KIND, RegisteredVersion
from tasks.services.rest import Server

_REASON = "the alias champion was moved by hand, or by a command that found no service"


class ChampionsWatch:
    """Compares every champion with the one that was announced last.

    A champion counts when two looks have seen it: the gate moves the alias first, and announces it then.
    """

    seconds = 20.0

    def __init__(self, prefect: Server, mlflow: Server, log: Callable[[str], None]) -> None:
        self._prefect, self._mlflow, self._log = prefect, mlflow, log
        self._seen: dict[str, str] = {}

    def look(self) -> None:
        """Announce every champion that was not, once."""
        unannounced = {}
        for model in self._models():
            tags = {tag["key"]: tag["value"] for tag in model.get("tags", [])}
            champion = _champion(model)
            if champion is not None and KIND not in tags and tags.get(ANNOUNCED) != champion:
                unannounced[model["name"]] = champion
                if self._seen.get(model["name"]) == champion:
                    self._announce(RegisteredVersion(model["name"], int(champion)), tags.get(ANNOUNCED))
                    del unannounced[model["name"]]
        self._seen = unannounced

    def _announce(self, version: RegisteredVersion, previous: str | None) -> None:
        found = self._mlflow.get("/model-versions/get", name=version.name, version=str(version.version))
        tags = {tag["key"]: tag["value"] for tag in found["model_version"].get("tags", [])}
        # Where nothing was ever announced, the gate promoted it before there was a service to hear of it.
        if previous is not None or tags.get(DECISION) != "promoted":
            before = None if previous is None else RegisteredVersion(version.name, int(previous))
            number = tags.get(CORPUS_REVISION, "")
            revision = int(number) if number.isdecimal() else None
            event = promotion_event(version, before, _REASON, revision=revision, flow_run=None)
            self._prefect.post("/events", [event])
            self._log(f"{version.address} is champion: {_REASON}; {MODEL_PROMOTED} is sent")
        self._mlflow.post(
            "/registered-models/set-tag", {"name": version.name, "key": ANNOUNCED, "value": str(version.version)}
        )

    def _models(self) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = self._mlflow.get("/registered-models/search", max_results="200", page_token=token)
            yield from page.get("registered_models", [])
            token = page.get("next_page_token", "")
            if not token:
                return


def _champion(model: dict[str, Any]) -> str | None:
    for alias in model.get("aliases", []):
        if alias["alias"] == CHAMPION:
            return str(alias["version"])
    return None
