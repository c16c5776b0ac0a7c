"""The types of work pools: how a worker starts a flow run, and what a run in a container needs.

Reads  deployments/work-pools/kubernetes.json    what the jobs of a Kubernetes pool look like
"""

import json
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from charlm.errors import ConfigError

PROCESS, KUBERNETES = "process", "kubernetes"
_PACKAGES = {"docker": "prefect-docker", KUBERNETES: "prefect-kubernetes", "ecs": "prefect-aws"}
"""What a worker needs for each type of pool whose runs are containers."""
POOL_TYPES = (PROCESS, *_PACKAGES)
TEMPLATES = Path(__file__).parent / "work-pools"
HANDED_ON = (
    *("CHARLM_WORKSPACE", "CHARLM_LEASE_SECONDS", "CHARLM_PASSWORD", "MLFLOW_"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
)
"""What a container gets of its worker's variables besides Prefect's; a name that ends with `_` is a prefix.

Amazon's variables with paths of files are not among them: the files are the worker's.
"""

LEAVE_SIGNAL = signal.SIGUSR1
"""Lets a worker take no more runs."""


def check_pool_type(pool_type: str, *, image: str | None, workspace: str, is_address: bool) -> None:
    """Raise ConfigError for a type that does not exist, or that cannot work with such an image and workspace."""
    if pool_type not in POOL_TYPES:
        raise ConfigError(f"CHARLM_WORK_POOL_TYPE is one of {', '.join(POOL_TYPES)}; got {pool_type!r}")
    if pool_type == PROCESS:
        return
    if not is_address:
        raise ConfigError(
            f"containers of a {pool_type} pool do not see the folder {workspace} of this machine; set CHARLM_WORKSPACE"
            " to an address like s3://BUCKET/FOLDER"
        )
    if image is None:
        raise ConfigError(
            f"CHARLM_WORK_POOL_TYPE={pool_type} needs CHARLM_IMAGE, the image of deployments/Dockerfile in a registry"
        )


def check_worker_package(pool_type: str) -> None:
    """Raise ConfigError where this machine lacks the package with the worker for this type."""
    package = _PACKAGES.get(pool_type)
    if package is not None and find_spec(package.replace("-", "_")) is None:
        raise ConfigError(f"a {pool_type} worker needs the package {package}; pip install {package}")


def base_job_template(pool_type: str, *, num_gpus: int) -> dict[str, Any] | None:
    """What the jobs of a pool look like, each with so many GPUs; None where Prefect's own template will do."""
    if pool_type != KUBERNETES:
        return None
    template: dict[str, Any] = json.loads((TEMPLATES / f"{pool_type}.json").read_text(encoding="utf-8"))
    template["variables"]["properties"]["gpus"]["default"] = num_gpus
    return template
