"""Commands that train language models: `run`, `train`, `finetune`, `plan`, `sync`, and the demo."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import options
from flows.cli.context import DEFAULT_WORKSPACE, corpus_settings, gate_settings, open_session, show, start_prefect
from flows.cli.corpus_options import CorpusOptions, with_corpus_options
from flows.cli.node_options import ONE_NODE, NodeOptions, with_nodes
from flows.cli.options import example
from flows.task_runners import check_task_runner
from tasks.terminal import domain_table, print_result, score_table, write_stdout

if TYPE_CHECKING:
    from tasks.services.session import Session
    from tasks.training.pair import TrainedPair


@example("charlm run books/*.txt --name books --recipe demo")
@options.with_device
@options.with_runtime
@options.with_held_out_limit
@with_nodes
@with_corpus_options
def run(
    raw: options.Raw,
    name: options.CorpusName,
    corpus: CorpusOptions,
    recipe: options.Recipes = ["demo"],  # noqa: B006  # typer reads it once
    direction: options.DirectionOption = "both",
    settings: options.Settings = None,
    max_minutes: options.MaxMinutes = None,
    num_processes: options.NumProcesses = 1,
    nodes: NodeOptions = ONE_NODE,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    probe: options.Probe = None,
    task_runner: options.TaskRunner = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Run the whole pipeline: raw text in, a registered pair of language models out."""
    from charlm.config import parse_directions
    from charlm.recipes import changed_recipe

    nodes.check_one(name)
    recipes = [
        changed_recipe(one, settings or [], max_minutes=max_minutes, num_processes=num_processes) for one in recipe
    ]
    directions = parse_directions(direction)
    runner = check_task_runner(task_runner or "threads")
    session = open_session(workspace)
    preparation = corpus_settings(session.workspace, name, corpus)
    gate = gate_settings(probe)
    start_prefect(session, raw)
    from flows.pipeline import charlm_pipeline

    with session.trainings.stopping_on_signals():
        result = charlm_pipeline(
            raw=raw,
            name=name,
            workspace=session.workspace.place,
            **preparation,
            recipes=recipes,
            directions=list(directions),
            task_runner=runner,
            resume=resume,
            register=not no_register,
            num_processes=num_processes,
            gate=gate,
        )
    if as_json:
        show(result.to_json(), as_json)
    else:
        _show_pair(result)
        _show_report(session, name, result)


@example("charlm train books --direction both --recipe demo --set hidden_size=512")
@options.with_device
@options.with_runtime
@options.with_held_out_limit
@with_nodes
def train(
    name: options.PreparedCorpus,
    direction: options.DirectionOption = "both",
    recipe: options.Recipe = "demo",
    settings: options.Settings = None,
    max_minutes: options.MaxMinutes = None,
    num_processes: options.NumProcesses = 1,
    nodes: NodeOptions = ONE_NODE,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Train language models on a prepared corpus, log them to MLflow, and register them as challenger."""
    from charlm.config import parse_directions
    from charlm.recipes import changed_recipe

    node = nodes.config()
    num_processes *= node.num_nodes
    training = changed_recipe(recipe, settings or [], max_minutes=max_minutes, num_processes=num_processes)
    directions = parse_directions(direction)
    session = open_session(workspace)
    if not node.is_first:
        from tasks.training.following import follow_pair

        with session.trainings.stopping_on_signals():
            followed = follow_pair(
                session.workspace, name, directions, training, num_processes=num_processes, nodes=node
            )
        show({"node": node.node_rank, "followed": followed}, as_json)
        return
    from tasks.training.pair import train_pair

    with session.trainings.stopping_on_signals():
        result = train_pair(
            session.workspace,
            name,
            directions,
            training,
            resume=resume,
            register=not no_register,
            num_processes=num_processes,
            nodes=node,
        )
    if as_json:
        show(result.to_json(), as_json)
    else:
        _show_pair(result)
        _show_report(session, name, result)


@example("charlm finetune laws --from models:/books@champion --extend-dictionary")
@options.with_device
@options.with_runtime
@options.with_held_out_limit
@with_nodes
def finetune(
    name: options.PreparedCorpus,
    model: Annotated[str, typer.Option("--from", metavar="MODEL", help="The model to fine-tune.")],
    direction: Annotated[
        str | None,
        typer.Option(help="forward, backward or both; by default all it has.", rich_help_panel=options.TRAINING),
    ] = None,
    extend_dictionary: Annotated[
        bool,
        typer.Option(
            "--extend-dictionary",
            help="Append new characters or words to the dictionary.",
            rich_help_panel=options.DICTIONARY,
        ),
    ] = False,
    map_dictionary: Annotated[
        bool,
        typer.Option(
            "--map-dictionary",
            help="Take the dictionary of the corpus; known items keep their weights.",
            rich_help_panel=options.DICTIONARY,
        ),
    ] = False,
    vectors: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Word vectors from which new words start: a file, or its name in CHARLM_CACHE.",
            rich_help_panel=options.DICTIONARY,
        ),
    ] = None,
    recipe: options.Recipe = "finetune",
    settings: options.Settings = None,
    max_minutes: options.MaxMinutes = None,
    num_processes: options.NumProcesses = 1,
    nodes: NodeOptions = ONE_NODE,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Fine-tune a model on a prepared corpus; direction, architecture and, by default, dictionary are the model's."""
    from charlm.config import DictionaryChange, parse_directions
    from charlm.recipes import changed_recipe

    change = DictionaryChange.of(extend=extend_dictionary, map_=map_dictionary, vectors=vectors)
    node = nodes.config()
    num_processes *= node.num_nodes
    training = changed_recipe(recipe, settings or [], max_minutes=max_minutes, num_processes=num_processes)
    directions = parse_directions(direction) if direction else ()
    session = open_session(workspace)
    if not node.is_first:
        from tasks.training.following import follow_finetuning

        with session.trainings.stopping_on_signals():
            followed = follow_finetuning(
                session.workspace,
                name,
                model,
                directions,
                training,
                change=change,
                num_processes=num_processes,
                nodes=node,
            )
        show({"node": node.node_rank, "followed": followed}, as_json)
        return
    from tasks.training.finetuning import finetune_pair

    with session.trainings.stopping_on_signals():
        result = finetune_pair(
            session.workspace,
            name,
            model,
            directions,
            training,
            change=change,
            resume=resume,
            register=not no_register,
            num_processes=num_processes,
            nodes=node,
        )
    if as_json:
        show(result.to_json(), as_json)
    else:
        _show_pair(result.pair)
        _show_report(session, name, result.pair)
        print_result(domain_table(result.domains))


@example("charlm plan books --recipe gpu_base")
@options.with_device
def plan(
    name: options.PreparedCorpus,
    direction: options.DirectionOption = "both",
    recipe: options.Recipe = "demo",
    settings: options.Settings = None,
    max_minutes: options.MaxMinutes = None,
    num_processes: options.NumProcesses = 1,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Estimate the time, memory and disk that a training will need, after a short calibration."""
    from charlm.config import parse_directions
    from charlm.recipes import changed_recipe

    training = changed_recipe(recipe, settings or [], max_minutes=max_minutes, num_processes=num_processes)
    directions = parse_directions(direction)
    space = open_session(workspace).workspace
    from tasks.training.planning import plan_pair

    planned = plan_pair(space, name, len(directions), training, num_processes=num_processes)
    if as_json:
        show(planned, as_json)
        return
    one = planned["per_direction"]
    write_stdout(f"time    {planned['minutes']:,.1f} minutes for {direction} ({one['characters']:,} characters each,")
    write_stdout(f"        {one['characters_per_second']:,.0f} a second in {one['precision']} on {one['device']},")
    write_stdout(f"        {one['instruction_set']}; kernel {one['kernel']})")
    write_stdout(f"memory  {planned['memory_bytes'] / 1e9:,.1f} GB")
    write_stdout(f"disk    {planned['disk_bytes'] / 1e6:,.0f} MB in runs/")


@example("charlm baseline books --order 5")
def baseline(
    name: options.PreparedCorpus,
    order: Annotated[int, typer.Option(help="Units of the longest n-grams.")] = 5,
    max_units: Annotated[
        int,
        typer.Option(
            help="Units of the training text to count at most; of a longer one, the start of each shard."
            " 10,000,000 by default.",
            show_default=False,
        ),
    ] = 10_000_000,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Train and score the n-gram model of a corpus: what its language models have to beat."""
    from charlm.config import BaselineConfig

    config = BaselineConfig(order=order, max_units=max_units)
    space = open_session(workspace).workspace
    from tasks.training.baseline import train_baseline

    scores = train_baseline(space, name, config)
    if as_json:
        show(scores.to_json(), as_json)
    else:
        print_result(score_table({f"{order}-gram": {"valid": scores.valid, "test": scores.test}}))


@example("charlm sync books-forward-demo-20260131-235959-1f2e")
def sync(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a training run.")],
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Send a run's journal to MLflow, if the server was not available during the training."""
    space = open_session(workspace).workspace
    from tasks.tracking.sync import sync_run

    show({"run": run, "mlflow_run": sync_run(space, run)}, as_json)


@example("charlm demo")
def demo(workspace: options.WorkspaceDir = DEFAULT_WORKSPACE, as_json: options.AsJson = False) -> None:
    """The whole pipeline on the documentation that ships with Python, in two to five minutes."""
    session = open_session(workspace)
    start_prefect(session, [])
    from flows.demo import run_demo, show_result

    with session.trainings.stopping_on_signals():
        result = run_demo(session.workspace.place)
    if as_json:
        show(result.to_json(), as_json)
    else:
        show_result(session.workspace, result)


def _show_pair(pair: "TrainedPair") -> None:
    scores = {direction: {"test": run.test} for direction, run in pair.runs.items()}
    if pair.baseline is not None:
        scores[f"{pair.baseline.order}-gram"] = {"test": pair.baseline.test}
    print_result(score_table(scores))
    for direction, run in pair.runs.items():
        write_stdout(f"{direction:<8}  {run.run_dir}")
    write_stdout(f"model     {_shown_version(pair)}")


def _show_report(session: "Session", name: str, pair: "TrainedPair") -> None:
    """Where the page about the pair is."""
    from tasks.training.pair import report_of

    if (report := report_of(session.workspace, name, pair)) is not None:
        write_stdout(f"report    {report}")


def _shown_version(pair: "TrainedPair") -> str:
    """The registered version, and its role: champion, or a challenger that has not passed the gate yet."""
    if pair.version is None:
        return "not registered"
    name, address = pair.version.name, pair.version.address
    if pair.promoted is None:
        return f"{address}, a challenger; run the gate with: charlm promote {name}"
    champion = f", which people use as models:/{name}@champion"
    return f"{address}{champion if pair.promoted else ', refused by the gate'}"
