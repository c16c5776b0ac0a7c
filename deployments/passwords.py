"""The password of MLflow's user: set by the server's first start, and changed later through its API.

Prefect has its password from its settings alone. MLflow keeps users in a database of its own, which takes the password
of its administrator from the environment once, when it creates that user.
"""

import base64
import json
import urllib.error
import urllib.request

from charlm.errors import ConfigError
from tasks.services.environment import USER_NAME

_USER = "/api/2.0/mlflow/users/get?username="
_UPDATE = "/api/2.0/mlflow/users/update-password"
_SECONDS = 30
_UNAUTHORIZED = 401


def settle_mlflow_password(url: str, password: str, old: str | None) -> bool:
    """Give the user of the MLflow server at `url` this password; False when it has it already.

    Raises ConfigError when the user has another one and `old` is not it.
    """
    if _logs_in(url, password):
        return False
    if old is None or not _logs_in(url, old):
        tried = "CHARLM_PASSWORD" if old is None else "CHARLM_PASSWORD or CHARLM_OLD_PASSWORD"
        raise ConfigError(
            f"MLflow's user {USER_NAME} has another password than {tried}; set CHARLM_OLD_PASSWORD to the one that it"
            " has, and CHARLM_PASSWORD to the new one"
        )
    body = json.dumps({"username": USER_NAME, "password": password, "current_password": old}).encode()
    _ask(urllib.request.Request(url + _UPDATE, body, {"Content-Type": "application/json"}, method="PATCH"), old)
    return True


def _logs_in(url: str, password: str) -> bool:
    try:
        _ask(urllib.request.Request(url + _USER + USER_NAME), password)
    except urllib.error.HTTPError as error:
        if error.code == _UNAUTHORIZED:
            return False
        raise ConfigError(f"MLflow at {url} answers {error.code} to a question about its user {USER_NAME}") from error
    return True


def _ask(request: urllib.request.Request, password: str) -> None:
    access = base64.b64encode(f"{USER_NAME}:{password}".encode()).decode("ascii")
    request.add_header("Authorization", f"Basic {access}")
    with urllib.request.urlopen(request, timeout=_SECONDS) as response:
        response.read()
