"""`charlm completion`: commands, options, corpora and recipes at the press of the tab key."""

import os
from typing import Annotated, Literal

import typer

from flows.cli.options import example
from tasks.terminal import write_stdout

PROGRAM = "charlm"
COMPLETE_VARIABLE = f"_{PROGRAM.upper()}_COMPLETE"
"""Set by a shell that asks what could follow."""


@example("charlm completion bash >> ~/.bashrc")
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print what makes a shell complete commands, options, corpora and recipes."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # typer lists no names

    write_stdout(get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, shell=shell))


def shell_asks() -> bool:
    """True when a shell asks what could follow; typer answers from then on."""
    if COMPLETE_VARIABLE not in os.environ:
        return False
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    return True
