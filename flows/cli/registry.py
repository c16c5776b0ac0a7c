"""`charlm models`: what is registered."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import options
from flows.cli.context import DEFAULT_WORKSPACE, open_session, show
from flows.cli.options import example
from tasks.terminal import print_result, write_stdout

if TYPE_CHECKING:
    from rich.table import Table

    from tasks.registry.listing import ListedVersion


@example("charlm models")
def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A model, to list all its versions.")] = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """List the registered models with their champions and scores, or the versions of one."""
    open_session(workspace)
    from tasks.registry.listing import list_models, list_versions

    found = list_models() if name is None else list_versions(name)
    if as_json:
        show({"models": [version.to_json() for version in found]}, as_json)
    elif found:
        print_result(_table(found, of_one_model=name is not None))
    else:
        write_stdout("no models are registered; charlm run makes one")


def _table(found: "list[ListedVersion]", *, of_one_model: bool) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from tasks.registry.listing import LANGUAGE_MODEL

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold", no_wrap=True)
    table.add_column("alias", no_wrap=True)
    table.add_column("test score", justify="right", no_wrap=True)
    table.add_column("gate" if of_one_model else "versions")
    table.add_column("domains", overflow="fold")
    table.add_column("registered", no_wrap=True)
    for version in found:
        decision = version.decision or "–"
        table.add_row(
            version.model,
            _alias(version.aliases),
            _score(version),
            decision if of_one_model else str(version.versions),
            version.domains or (version.kind if version.kind != LANGUAGE_MODEL else "–"),
            version.created[:10],
        )
    return table


def _alias(aliases: list[str]) -> str:
    """What a version is: a champion that was the challenger before is the champion."""
    from tasks.registry.versions import CHAMPION

    return CHAMPION if CHAMPION in aliases else ", ".join(aliases) or "–"


def _score(version: "ListedVersion") -> str:
    if version.bits_per_byte is not None:
        return f"{version.bits_per_byte:.3f} b/byte"
    return "–" if version.micro_f1 is None else f"{version.micro_f1:.4f} F1"
