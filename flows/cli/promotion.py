"""Commands that decide which version is the champion: `promote`, `rollback`."""

from flows.cli import options
from flows.cli.context import DEFAULT_WORKSPACE, gate_settings, open_session, show
from flows.cli.options import example
from tasks.terminal import print_result, write_stdout


@example("charlm promote books")
@options.with_device
@options.with_held_out_limit
def promote(
    name: options.RegisteredModel,
    probe: options.Probe = None,
    settings: options.GateSettings = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Run the promotion gate: the newest version becomes champion if it is better on held-out text."""
    config = gate_settings(probe, settings)
    space = open_session(workspace).workspace
    from tasks.promotion.events import send_promotion
    from tasks.promotion.gate import promote_challenger
    from tasks.promotion.report import gate_table

    version, verdict = promote_challenger(space, name, config=config, anew=bool(settings))
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
