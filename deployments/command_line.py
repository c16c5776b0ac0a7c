"""The whole command line: the commands of the flows, and those of the service, which stands above them."""

from collections.abc import Sequence
from typing import Annotated

import typer

import charlm
from deployments.commands import COMMANDS
from flows.cli import app as flows_app


def command_line() -> typer.Typer:
    """All commands, in the order of the help."""
    known = {command.callback for command in flows_app.app.registered_commands}
    for command in COMMANDS:
        if command not in known:
            flows_app.add_command(command)
    flows_app.app.callback()(_common_options)
    return flows_app.app


def _common_options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"charlm {charlm.__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    command_line()
    flows_app.main(arguments)
