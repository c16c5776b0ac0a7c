"""Commands that decide which version is the champion: `promote`, `rollback`, `approval`."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from charlm.errors import ConfigError
from flows.cli import options
from flows.cli.context import DEFAULT_WORKSPACE, gate_settings, open_session, show
from flows.cli.options import example
from tasks.terminal import print_result, write_stdout

if TYPE_CHECKING:
    from charlm.artifacts import Workspace
    from tasks.promotion.approval import Answer


@example("charlm promote books")
@options.with_device
@options.with_held_out_limit
def promote(
    name: options.RegisteredModel,
    probe: options.GateProbe = None,
    settings: options.GateSettings = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="PERSON", help="Approve it in the name of this person, where a corpus needs it."),
    ] = None,
    refuse: Annotated[str | None, typer.Option(metavar="REASON", help="With --by: refuse it, for this reason.")] = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Run the promotion gate: the newest version becomes champion if it is better on held-out text."""
    config = gate_settings(probe, settings)
    space = open_session(workspace).workspace
    answer = _answer(space, name, by, refuse)
    from tasks.promotion.events import send_promotion
    from tasks.promotion.gate import promote_challenger
    from tasks.promotion.report import gate_table

    version, verdict = promote_challenger(space, name, config=config, anew=bool(settings), answer=answer)
    report = verdict.report
    if report.promoted:
        send_promotion(version, verdict.champion, report.reason)
    if as_json:
        show({"model": version.address, "promoted": report.promoted, **report.to_json()}, as_json)
        return
    if report.domains:
        print_result(gate_table(report))
    write_stdout(f"{version.address} {report.reason}")


@example("charlm rollback books")
def rollback(
    name: options.RegisteredModel,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Make the version champion again that the current champion replaced."""
    space = open_session(workspace).workspace
    from tasks.promotion.events import send_promotion
    from tasks.promotion.gate import roll_back

    done = roll_back(space, name)
    send_promotion(done.champion, done.replaced, "rolled back")
    if as_json:
        show(done.to_json(), as_json)
    else:
        write_stdout(f"{done.champion.address} is champion again, in the place of {done.replaced.address}")


@example("charlm approval books required")
def approval(
    name: options.PreparedCorpus,
    setting: Annotated[
        Literal["required", "none"] | None,
        typer.Argument(metavar="SETTING", help="The new setting; by default it is shown."),
    ] = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Require the approval of a person before a version of a corpus becomes champion, or no longer."""
    space = open_session(workspace).workspace
    from tasks.promotion.approval import needs_approval, set_approval

    if setting is not None:
        set_approval(space, name, required=setting == "required")
    known = "required" if needs_approval(space, name) else "none"
    if as_json:
        show({"corpus": name, "approval": known}, as_json)
    else:
        write_stdout(f"approval of {name}: {known}")


def _answer(space: "Workspace", name: str, by: str | None, refuse: str | None) -> "Answer | None":
    """What `--by` and `--refuse` say about the version of `name` that waits."""
    if by is None:
        if refuse is not None:
            raise ConfigError("--refuse needs --by PERSON, who refuses it")
        return None
    from tasks.promotion.approval import Answer, needs_approval

    if not needs_approval(space, name):
        raise ConfigError(f"{name} needs no approval; leave --by out, or run `charlm approval {name} required` first")
    return Answer(approved=refuse is None, by=by, reason=refuse or "")
