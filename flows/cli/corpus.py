"""Commands about text and corpora: `prepare`, `doctor`, `notify`."""

import os
from pathlib import Path  # noqa
from typing import Annotated

import typer

from flows.cli import options
from flows.cli.context import (
    DEFAULT_WORKSPACE,
    corpus_settings,
    near_threshold,
    open_session,
    show,
    start_prefect,
)
from flows.cli.corpus_options import CorpusOptions, with_corpus_options
from flows.cli.options import example
from flows.task_runners import check_task_runner
from tasks.terminal import counted, write_lines, write_stdout


@example("charlm prepare books/*.txt --name books --shard-size 20MB")
@with_corpus_options
def prepare(
    raw: options.Raw,
    name: options.CorpusName,
    corpus: CorpusOptions,
    task_runner: options.TaskRunner = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Split raw text into train shards and held-out text, build the dictionary, and encode."""
    runner = check_task_runner(task_runner) if task_runner is not None else None
    session = open_session(workspace)
    preparation = corpus_settings(session.workspace, name, corpus)
    if runner is None:  # without the wait for Prefect
        from tasks.corpus.prepare import prepare_corpus

        prepared = prepare_corpus(session.workspace, raw, name, **preparation)
    else:
        start_prefect(session, raw)
        from flows.prepare import prepare_corpus as prepare_flow

        prepared = prepare_flow(raw, name, session.workspace.place, **preparation, task_runner=runner)
    show(prepared.to_json(), as_json)


@example("charlm doctor books/*.txt")
def doctor(
    raw: options.Raw,
    text_column: options.TextColumn = None,
    unit: Annotated[
        str | None, typer.Option(help="word: the size of vocabularies too.", rich_help_panel=options.DICTIONARY)
    ] = None,
    tokenizer: options.Tokenizer = None,
    near: Annotated[
        bool,
        typer.Option(
            "--near",
            help="Search for near-duplicates too: a minute for each 100 MB.",
            rich_help_panel=options.DUPLICATES,
        ),
    ] = False,
    threshold: options.NearThreshold = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Report what is in a text, what is wrong with it, and which settings suit it."""
    open_session(workspace)
    from tasks.corpus.doctor import examine_text

    report, lines = examine_text(
        raw,
        text_column=text_column,
        unit=unit,
        tokenizer=tokenizer,
        near_threshold=near_threshold("near" if near else None, threshold),
    )
    if as_json:
        show(report, as_json)
    else:
        write_lines(lines)


@example("charlm notify books new/*.txt --domain novels")
def notify(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the corpus that the text is for.")],
    raw: options.Raw,
    domain: Annotated[str | None, typer.Option(help="Domain of this text; the corpus name by default.")] = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Announce new text to a running Prefect server, which starts a retraining."""
    open_session(workspace)
    from tasks.retraining.arrivals import describe_arrival
    from tasks.retraining.events import send_arrival

    arrival = describe_arrival(name, raw, domain)
    send_arrival(arrival)
    if as_json:
        show(arrival.to_payload(), as_json)
    else:
        files = counted(len(arrival.addresses), "new file")
        write_stdout(f"announced {files} for {name} to {os.environ['PREFECT_API_URL']}")
