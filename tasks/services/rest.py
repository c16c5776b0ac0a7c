"""Requests to the servers of the service without their client libraries: a program that always runs stays small.

Reads  PREFECT_API_URL, PREFECT_API_AUTH_STRING, MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD
"""

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlencode

from charlm.storage.atomic import JsonObject

_SECONDS = 30
_BUSY = (500, 503)  # of a server whose database is locked


class ServerError(ConnectionError):
    """A server has answered with an error, whose number is `status`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Server:
    """A server that answers in JSON."""

    url: str
    user: str | None = field(default=None, repr=False)
    """`NAME:PASSWORD`, where it needs one."""
    attempts: int = 1
    """How often it is asked where its database is busy or away, with longer and longer pauses."""

    def get(self, path: str, **query: str) -> JsonObject:
        """The answer to a GET request; raises OSError, in one line, when there is none or it is an error."""
        return cast(JsonObject, self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None))

    def post(self, path: str, body: object) -> JsonObject:
        """The answer to a POST request, like `get`."""
        return cast(JsonObject, self._ask("POST", path, body))

    def find(self, path: str, body: object) -> list[JsonObject]:
        """The list that answers a POST request, like `get`."""
        return cast(list[JsonObject], self._ask("POST", path, body))

    def patch(self, path: str, body: object) -> None:
        """Change what is at `path`; raises OSError like `get`."""
        self._ask("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Remove what is at `path`; raises OSError like `get`."""
        self._ask("DELETE", path, None)

    def _ask(self, method: str, path: str, body: object) -> object:
        for attempt in range(1, self.attempts):
            try:
                return self._ask_once(method, path, body)
            except ServerError as error:
                if error.status not in _BUSY:
                    raise
            time.sleep(2**attempt / 2)
        return self._ask_once(method, path, body)

    def _ask_once(self, method: str, path: str, body: object) -> object:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if self.user is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(self.user.encode()).decode('ascii')}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:
                answer = response.read()
            found: object = json.loads(answer) if answer else None
            return found
        except urllib.error.HTTPError as error:
            message = f"{self.url} does not answer to {path.partition('?')[0]}: {error}"
            raise ServerError(message, error.code) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ConnectionError(f"{self.url} does not answer to {path.partition('?')[0]}: {error}") from error


def prefect_server(variables: Mapping[str, str] = os.environ) -> Server:
    """The Prefect server that the environment names."""
    return Server(variables["PREFECT_API_URL"], variables.get("PREFECT_API_AUTH_STRING"))


def mlflow_server(variables: Mapping[str, str] = os.environ) -> Server:
    """The MLflow server that the environment names."""
    name, password = (variables.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD"))
    user = f"{name}:{password}" if name and password else None
    return Server(f"{variables['MLFLOW_TRACKING_URI'].rstrip('/')}/api/2.0/mlflow", user)
