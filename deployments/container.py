"""One program of the service in the foreground, for containers: what `make up` starts, without supervision.

    python -m deployments.container prefect|mlflow|worker|gpu-worker|watcher|set-up
    python -m deployments.container gpu-worker 1    (on a machine with several)
    python -m deployments.container prefect flow-run execute    (any other command, as workers give it to a container)

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
from deployments.settings import ServiceSettings, visible_gpus
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
    _become(workers(replace(settings, gpus=()))[-1])


def gpu_worker(settings: ServiceSettings, gpus: str = "0") -> None:
    """The worker for the GPUs `gpus`; a container has one, whatever its number on the machine."""
    _become(workers(replace(settings, gpus=(gpus,)))[-1])


def watcher(settings: ServiceSettings) -> None:
    _become(watcher_program(settings))


def set_up(settings: ServiceSettings) -> None:
    os.environ.update(access_variables(settings.password))
    settings.workspace.service.root.mkdir(parents=True, exist_ok=True)
    if settings.password is not None:
        mlflow_url = os.environ.get("MLFLOW_TRACKING_URI", settings.mlflow_url)
        settle_mlflow_password(mlflow_url, settings.password, settings.old_password)
    settings = replace(settings, gpus=visible_gpus(os.environ))
    add_pools(settings)
    FlowDeployment(settings).make()


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
        match arguments:
            case [name] if name in _PROGRAMS:
                _PROGRAMS[name](ServiceSettings.from_environment(os.environ))
            case ["gpu-worker", gpus]:
                gpu_worker(ServiceSettings.from_environment(os.environ), gpus)
            case [_, _, *_]:
                os.execvp(arguments[0], list(arguments))
            case _:
                raise ConfigError(f"name one of {', '.join(_PROGRAMS)}")
    except CharLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return _USER_MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
