"""Units for systemd that run the programs of `charlm up`, one unit for each, started with the machine.

Writes charlm-prefect.service, charlm-mlflow.service, charlm-set-up.service, charlm-watcher.service, a unit for each
       worker, and charlm.target, which starts and stops them all
       charlm.env    the settings and the password, for its owner alone
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from charlm.errors import ConfigError
from charlm.storage.atomic import write_text
from deployments.programs import Program
from deployments.servers import WATCHER, mlflow_server, pool_of, prefect_server, watcher, workers
from deployments.settings import GPU_POOL, ROOT, VARIABLES, ServiceSettings
from tasks.services.own_service import MLFLOW, PREFECT

TARGET, SET_UP, SETTINGS = "charlm.target", "charlm-set-up.service", "charlm.env"
_STOP_SECONDS = 60


def write_units(settings: ServiceSettings, folder: Path, *, user: str, variables: Mapping[str, str]) -> list[Path]:
    """Write the units for `settings` to `folder`, with those of `variables` that a service reads; the paths.

    Raises ConfigError for a setting that an environment file cannot hold.
    """
    environment = {name: variables[name] for name in VARIABLES if variables.get(name)}
    environment |= {name: value for name, value in variables.items() if name.startswith("AWS_")}
    environment |= {"CHARLM_WORKSPACE": settings.place, "PYTHONPATH": str(ROOT)}
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / SETTINGS
    secret.touch(mode=0o600)
    secret.chmod(0o600)
    secret.write_text("".join(f"{name}={_quoted(name, value)}\n" for name, value in sorted(environment.items())))
    programs = [prefect_server(settings), mlflow_server(settings), *workers(settings), watcher(settings)]
    units = {_unit_name(program): _service(program, secret, user) for program in programs}
    units[SET_UP] = _set_up(secret, user)
    units[TARGET] = _target(sorted(units))
    for name, text in units.items():
        write_text(folder / name, text)
    return [secret, *(folder / name for name in sorted(units))]


def _unit_name(program: Program) -> str:
    return f"{program.name if program.name.startswith('charlm-') else f'charlm-{program.name}'}.service"


def _service(program: Program, secret: Path, user: str) -> str:
    """The unit of a program; a worker and the watcher wait until the server has its pools and deployments."""
    is_server = program.name in (PREFECT, MLFLOW)
    after = "network-online.target" if is_server else SET_UP
    return _unit(
        f"charlm: {program.name}",
        secret,
        user,
        after=after,
        command=_command(program),
        lines=["Restart=always", "RestartSec=5", "KillMode=mixed", f"TimeoutStopSec={_STOP_SECONDS}"],
    )


def _command(program: Program) -> list[str]:
    """The program in the foreground; it reads the settings from its environment, as in a container."""
    if program.name in (PREFECT, MLFLOW, WATCHER):
        return ["-m", "deployments.container", program.name]
    if pool_of(program) == GPU_POOL:
        return ["-m", "deployments.container", "gpu-worker", program.variables["CUDA_VISIBLE_DEVICES"]]
    return ["-m", "deployments.container", "worker"]


def _set_up(secret: Path, user: str) -> str:
    """Pools, limits, automations and deployments; tried again until both servers answer."""
    return _unit(
        "charlm: pools, limits, automations and deployments",
        secret,
        user,
        after=f"charlm-{PREFECT}.service charlm-{MLFLOW}.service",
        command=["-m", "deployments.container", "set-up"],
        lines=["Type=oneshot", "RemainAfterExit=yes", "Restart=on-failure", "RestartSec=5"],
    )


def _unit(description: str, secret: Path, user: str, *, after: str, command: list[str], lines: list[str]) -> str:
    return "\n".join(
        [
            "[Unit]",
            f"Description={description}",
            f"Wants={after}",
            f"After={after}",
            f"PartOf={TARGET}",
            "",
            "[Service]",
            f"User={user}",
            f"WorkingDirectory={_escaped(str(ROOT))}",
            f"EnvironmentFile={_escaped(str(secret.absolute()))}",
            "ExecStart=" + " ".join(_word(word) for word in [sys.executable, *command]),
            *lines,
            "",
            "[Install]",
            f"WantedBy={TARGET}",
            "",
        ]
    )


def _target(units: list[str]) -> str:
    wanted = " ".join(units)
    return f"[Unit]\nDescription=charlm\nWants={wanted}\n\n[Install]\nWantedBy=multi-user.target\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """A word of a command line, as systemd reads it."""
    text = _escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if re.search(r"[\s\"'\\;]", text) else text


def _quoted(name: str, value: str) -> str:
    """A value of an environment file."""
    if not value.isprintable():
        raise ConfigError(f"{name} holds a character that an environment file of systemd cannot hold")
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'


def current_user() -> str:
    """The name of the user whose programs the units run."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
