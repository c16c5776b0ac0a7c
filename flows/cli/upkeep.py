"""`charlm prune`: remove what a workspace no longer needs."""

from typing import Annotated

import typer

from flows.cli import options
from flows.cli.context import DEFAULT_WORKSPACE, open_session, show
from flows.cli.options import example
from tasks.terminal import write_stdout


@example("charlm prune books --dry-run")
def prune(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Model and corpus; all by default.")] = None,
    keep: Annotated[int, typer.Option(min=0, help="Versions before the champion to keep.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Remove old versions with their runs, checkpoints of finished runs, and encoded text of old dictionaries.

    Champions, their parents and unfinished runs are kept.
    """
    space = open_session(workspace).workspace
    from tasks.upkeep.pruning import plan_pruning, remove

    plan = plan_pruning(space, name, newest=keep)
    for removal in plan.removals:
        if not as_json:
            size = "on the server" if removal.size is None else f"{removal.size / 1e6:,.1f} MB"
            write_stdout(f"{removal.kind:<12}  {size:>13}  {removal.name}")
        if not dry_run:
            remove(space, removal)
    if as_json:
        removals = [removal.to_json() for removal in plan.removals]
        show({"removed": removals, "bytes": plan.num_bytes, "in_use": plan.in_use, "dry_run": dry_run}, as_json)
        return
    for left in plan.in_use:
        write_stdout(f"in use, left   {left}")
    verb = "would be removed" if dry_run else "removed"
    write_stdout(f"{len(plan.removals)} {verb}, {plan.num_bytes / 1e6:,.1f} MB in {plan.place}")
