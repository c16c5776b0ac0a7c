"""One program of the service in the foreground, for containers: what `make up` starts, without supervision.

    python -m deployments.container prefect|mlflow|worker|gpu-worker|watcher|set-up

Settings come from the environment, as for `make up`; CHARLM_HOST=0.0.0.0 admits the other containers, and
PREFECT_API_URL and MLFLOW_TRACKING_URI are the addresses of the servers. `set-up` creates the pools, limits,
automations and deployments on the Prefect server, and ends; CHARLM_GPUS is the number of devices that `gpu-worker`
containers have.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from charlm.errors import CharLMError, ConfigError
from deployments.passwords import settle_mlflow_password
from deployments.prefect_setup import FlowDeployment, add_pools
from deployments.programs import Program
from deployments.servers import mlflow_server, prefect_server, prepare_mlflow, workers
from deployments.servers import watcher as watcher_program
from deployments.settings import ServiceSettings
from tasks.services.environment import access_variables

_USER_MISTAKE = 2
_ADDRESSES = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")


def prefect(settings: ServiceSettings) -> None:
    _become(prefect_server(settings))


def mlflow(settings: ServiceSettings) -> None:
    prepare_mlflow(settings)
    _become(mlflow_server(settings))


def worker(settings: ServiceSettings) -> None:
    """The worker for texts and scores, which trains too where there are no others."""
    become_worker(settings, None)


def gpu_worker(settings: ServiceSettings) -> None:
    """The worker for the one GPU that this container has."""
    become_worker(settings, "0")


def watcher(settings: ServiceSettings) -> None:
    _become(watcher_program(settings))


def become_worker(settings: ServiceSettings, gpu: str | None) -> None:
    """Put a worker in the place of this process: the one for a GPU, or the one for texts, scores and the rest."""
    programs = workers(replace(settings, gpus=() if gpu is None else (gpu,)))
    _become(programs[-1])


def set_up(settings: ServiceSettings) -> None:
    os.environ.update(access_variables(settings.password))
    settings.workspace.service.root.mkdir(parents=True, exist_ok=True)
    if settings.password is not None:
        mlflow_url = os.environ.get("MLFLOW_TRACKING_URI", settings.mlflow_url)
        settle_mlflow_password(mlflow_url, settings.password, settings.old_password)
    settings = replace(settings, gpus=tuple(map(str, range(_num_gpus()))))
    add_pools(settings)
    FlowDeployment(settings).make()


def _num_gpus() -> int:
    value = os.environ.get("CHARLM_GPUS") or "0"
    if not value.isdigit():
        raise ConfigError(f"CHARLM_GPUS is a number of devices, got {value!r}")
    return int(value)


def _become(program: Program) -> None:
    """Put `program` in the place of this process, with the servers' addresses as this process has them."""
    addresses = {name: os.environ[name] for name in _ADDRESSES if name in os.environ}
    os.execvpe(program.command[0], program.command, {**os.environ, **program.variables, **addresses})


_PROGRAMS: dict[str, Callable[[ServiceSettings], None]] = {
    "prefect": prefect,
    "mlflow": mlflow,
    "worker": worker,
    "gpu-worker": gpu_worker,
    "watcher": watcher,
    "set-up": set_up,
}


def main(arguments: Sequence[str]) -> int:
    """Run one of the programs; a user's mistake is one line and exit code 2."""
    try:
        if len(arguments) != 1 or arguments[0] not in _PROGRAMS:
            raise ConfigError(f"name one of {', '.join(_PROGRAMS)}")
        _PROGRAMS[arguments[0]](ServiceSettings.from_environment(os.environ))
    except CharLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return _USER_MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
