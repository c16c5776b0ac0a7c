"""The command line `charlm`.

stdout carries results (with --json: one object, nothing else), stderr everything else. What a user gets wrong ends with
one line and exit code 2. Heavy libraries load in the commands that need them, so that help and `prepare` start at once.
"""

import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from typer.exceptions import TyperException

from charlm.config import (
    DownstreamConfig,
    GateConfig,
    JsonConfig,
    ReadConfig,
    parse_directions,
    parse_size,
    with_settings,
)
from charlm.errors import CharLMError, ConfigError, TrainingInterruptedError
from charlm.recipes import changed_recipe
from flows.cli import options
from flows.task_runners import check_task_runner
from tasks.terminal import domain_table, labelled_line, print_result, score_table, write_stdout

_DEFAULT_WORKSPACE = Path("workspace")
_USER_MISTAKE = 2
_INTERRUPTED = 130
_UTF8_REMEDY = f"change it, or, if it is and Python takes it for {sys.getfilesystemencoding()}, set PYTHONUTF8=1"
_C = TypeVar("_C", bound=JsonConfig)

app = typer.Typer(
    help="Train character language models on any text, and use them as word embeddings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.command(epilog="Example: `charlm run books/*.txt --name books --recipe demo`")
@options.with_corpus_options
def run(
    raw: options.Raw,
    name: options.CorpusName,
    corpus: options.CorpusOptions,
    recipe: options.Recipes = ["demo"],  # noqa: B006  # typer reads it once
    direction: options.DirectionOption = "both",
    settings: options.Settings = None,
    max_minutes: options.MaxMinutes = None,
    num_processes: options.NumProcesses = 1,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    probe: options.Probe = None,
    task_runner: options.TaskRunner = None,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Do it all: raw text in, a registered pair of language models out."""
    recipes = [
        changed_recipe(one, settings or [], max_minutes=max_minutes, num_processes=num_processes) for one in recipe
    ]
    directions = parse_directions(direction)
    runner = check_task_runner(task_runner or "threads")
    space = _open(workspace)
    preparation = _preparation(space, name, corpus)
    gate = _gate(probe)
    _start_prefect(raw)
    from flows.pipeline import charlm_pipeline
    from tasks.training.child import stopping_gently

    with stopping_gently():
        result = charlm_pipeline(
            raw=raw,
            name=name,
            workspace=workspace.absolute(),
            **preparation,
            recipes=recipes,
            directions=list(directions),
            task_runner=runner,
            resume=resume,
            register=not no_register,
            num_processes=num_processes,
            gate=gate,
        )
    _show_training(result.to_json(), as_json)


@app.command(epilog="Example: `charlm prepare books/*.txt --name books --shard-size 20MB`")
@options.with_corpus_options
def prepare(
    raw: options.Raw,
    name: options.CorpusName,
    corpus: options.CorpusOptions,
    task_runner: options.TaskRunner = None,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Split raw text into train shards and held-out text, and make the dictionary."""
    runner = check_task_runner(task_runner) if task_runner is not None else None
    space = _open(workspace)
    preparation = _preparation(space, name, corpus)
    if runner is None:  # without the wait for Prefect
        from tasks.corpus.prepare import prepare_corpus

        prepared = prepare_corpus(space, raw, name, **preparation)
    else:
        _start_prefect(raw)
        from flows.prepare import prepare_corpus as prepare_flow

        prepared = prepare_flow(raw, name, workspace.absolute(), **preparation, task_runner=runner)
    _show(prepared.to_json(), as_json)


@app.command(epilog="Example: `charlm doctor books/*.txt`")
def doctor(
    raw: options.Raw,
    text_column: options.TextColumn = None,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Say what is in a text, what is wrong with it, and which settings suit it."""
    _open(workspace)
    from tasks.corpus.doctor import examine_text

    report, lines = examine_text(raw, text_column=text_column)
    if as_json:
        _show(report, as_json)
    else:
        write_stdout("\n".join(lines))


@app.command(epilog="Example: `charlm train books --direction both --recipe demo --set hidden_size=512`")
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a prepared corpus.")],
    direction: options.DirectionOption = "both",
    recipe: options.Recipe = "demo",
    settings: options.Settings = None,
    max_minutes: options.MaxMinutes = None,
    num_processes: options.NumProcesses = 1,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Train language models on a prepared corpus, log them to MLflow, and register them as challenger."""
    training = changed_recipe(recipe, settings or [], max_minutes=max_minutes, num_processes=num_processes)
    directions = parse_directions(direction)
    space = _open(workspace)
    from tasks.training.child import stopping_gently
    from tasks.training.pair import train_pair

    with stopping_gently():
        result = train_pair(
            space,
            name,
            directions,
            training,
            resume=resume,
            register=not no_register,
            num_processes=num_processes,
        )
    _show_training(result.to_json(), as_json)


@app.command(epilog="Example: `charlm finetune laws --from models:/books@champion --extend-dictionary`")
def finetune(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a prepared corpus.")],
    model: Annotated[str, typer.Option("--from", metavar="MODEL", help="The model to continue.")],
    direction: Annotated[str | None, typer.Option(help="forward, backward or both; by default all it has.")] = None,
    extend_dictionary: Annotated[bool, typer.Option("--extend-dictionary", help="Give new characters ids.")] = False,
    recipe: options.Recipe = "finetune",
    settings: options.Settings = None,
    max_minutes: options.MaxMinutes = None,
    num_processes: options.NumProcesses = 1,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Continue a model on a prepared corpus; direction, dictionary and architecture are the model's."""
    training = changed_recipe(recipe, settings or [], max_minutes=max_minutes, num_processes=num_processes)
    directions = parse_directions(direction) if direction else ()
    space = _open(workspace)
    from tasks.training.child import stopping_gently
    from tasks.training.finetuning import finetune_pair

    with stopping_gently():
        result = finetune_pair(
            space,
            name,
            model,
            directions,
            training,
            extend_dictionary=extend_dictionary,
            resume=resume,
            register=not no_register,
            num_processes=num_processes,
        )
    _show_training(result.to_json(), as_json)
    if not as_json:
        print_result(domain_table(result.domains))


@app.command(epilog="Example: `charlm plan books --recipe gpu_base`")
def plan(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a prepared corpus.")],
    direction: options.DirectionOption = "both",
    recipe: options.Recipe = "demo",
    settings: options.Settings = None,
    max_minutes: options.MaxMinutes = None,
    num_processes: options.NumProcesses = 1,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Say what time, memory and disk a training will need, after a short calibration."""
    training = changed_recipe(recipe, settings or [], max_minutes=max_minutes, num_processes=num_processes)
    directions = parse_directions(direction)
    space = _open(workspace)
    from tasks.training.planning import plan_pair

    planned = plan_pair(space, name, len(directions), training, num_processes=num_processes)
    if as_json:
        _show(planned, as_json)
        return
    one = planned["per_direction"]
    write_stdout(f"time    {planned['minutes']:,.1f} minutes for {direction} ({one['characters']:,} characters each,")
    write_stdout(f"        {one['characters_per_second']:,.0f} a second in {one['precision']} on {one['device']},")
    write_stdout(f"        {one['instruction_set']})")
    write_stdout(f"memory  {planned['memory_bytes'] / 1e9:,.1f} GB")
    write_stdout(f"disk    {planned['disk_bytes'] / 1e6:,.0f} MB in runs/")


@app.command(epilog="Example: `charlm evaluate models:/books@champion other-book.txt`")
def evaluate(
    model: options.Model,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="UTF-8 text files, scored together.")],
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Score a model on text files."""
    space = _open(workspace)
    from tasks.inference.evaluation import evaluate_model

    scores = evaluate_model(space, model, texts)
    if as_json:
        _show(scores, as_json)
    else:
        print_result(score_table({direction: {"text": values} for direction, values in scores.items()}))


@app.command(epilog="Example: `charlm promote books`")
def promote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a registered model.")],
    probe: options.Probe = None,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Let the newest version pass the promotion gate: it becomes champion if it is better on held-out text."""
    space = _open(workspace)
    from tasks.promotion.events import announce_promotion
    from tasks.promotion.gate import promote_challenger
    from tasks.promotion.report import gate_table
    from tasks.registry.versions import find_champion

    previous = find_champion(name)
    version, report = promote_challenger(space, name, config=_gate(probe))
    if report.promoted:
        announce_promotion(version, previous, report.reason)
    if as_json:
        _show({"model": version.address, "promoted": report.promoted, **report.to_json()}, as_json)
        return
    if report.domains:
        print_result(gate_table(report))
    write_stdout(f"{version.address} {report.reason}")


@app.command(epilog="Example: `charlm rollback books`")
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a registered model.")],
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Make the version champion again that the present champion has replaced."""
    space = _open(workspace)
    from tasks.promotion.events import announce_promotion
    from tasks.promotion.gate import roll_back

    done = roll_back(space, name)
    announce_promotion(done.champion, done.replaced, "rolled back")
    if as_json:
        _show(done.to_json(), as_json)
    else:
        write_stdout(f"{done.champion.address} is champion again, in the place of {done.replaced.address}")


@app.command(epilog="Example: `charlm generate models:/books@champion --prefix 'It was '`")
def generate(
    model: options.Model,
    prefix: Annotated[str, typer.Option(help="Text to continue.")] = "\n",
    characters: Annotated[int, typer.Option(help="Number of characters to sample.")] = 500,
    temperature: Annotated[float, typer.Option(help="Below 1 is more careful, above 1 more daring.")] = 0.7,
    seed: Annotated[int | None, typer.Option(help="Seed of the sample; another one each time by default.")] = None,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Sample text from a model; a backward model writes what stands before the prefix."""
    space = _open(workspace)
    from tasks.inference.generation import generate_text

    texts = generate_text(space, model, prefix=prefix, num_characters=characters, temperature=temperature, seed=seed)
    if as_json:
        _show(texts, as_json)
    else:
        write_stdout("\n\n".join(f"--- {direction}\n{text}" for direction, text in texts.items()))


@app.command(epilog="Example: `charlm embed models:/books@champion sentences.txt --output vectors.parquet`")
def embed(
    model: options.Model,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="One sentence a line, CoNLL columns, or Parquet.")],
    output: Annotated[Path, typer.Option(help="Parquet file to write.")],
    text_format: Annotated[
        str | None, typer.Option("--format", help="text, conll or parquet; by the name of the file by default.")
    ] = None,
    pooling: Annotated[str, typer.Option(help="token: a row a token; mean or first_last: a row a sentence.")] = "token",
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the space.")] = "float32",
    precision: Annotated[str, typer.Option(help="fp32, or bf16: faster, cosine above 0.999.")] = "fp32",
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Write the embeddings of every token of a text to a Parquet file; one that was cut short is continued."""
    space = _open(workspace)
    from tasks.inference.embedding import embed_text

    embedded = embed_text(
        space, model, text, output, text_format=text_format, pooling=pooling, dtype=dtype, precision=precision
    )
    _show(embedded.to_json(), as_json)


@app.command(epilog="Example: `charlm export models:/books@champion --format flair --output shared/books`")
def export(
    model: options.Model,
    output: Annotated[Path, typer.Option(help="Folder to write; it must not hold anything yet.")],
    model_format: Annotated[str, typer.Option("--format", help="flair or safetensors.")] = "flair",
    card: Annotated[bool, typer.Option("--card", help="Write the model card too.")] = False,
    licence: Annotated[str | None, typer.Option(help="Licence of the models, for card and manifest.")] = None,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Write a model for others: files that Flair opens, or safetensors with JSON."""
    space = _open(workspace)
    from tasks.inference.export import export_model

    files = export_model(space, model, output, model_format=model_format, with_card=card, licence=licence)
    if as_json:
        _show({"files": [str(file) for file in files]}, as_json)
    else:
        write_stdout("\n".join(map(str, files)))


@app.command(epilog="Example: `charlm tag-train conll/ --name books-ner --model models:/books@champion`")
def tag_train(
    data: options.Labelled,
    name: options.TaskName,
    models: options.LanguageModels = None,
    vectors: options.Vectors = None,
    label_type: options.LabelType = None,
    columns: options.Columns = None,
    settings: options.TaskSettings = None,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Train a tagger of words or spans on the embeddings of language models, and register it."""
    _train_task(
        "tagger", data, name, models, vectors, label_type, columns, settings, resume, no_register, workspace, as_json
    )


@app.command(epilog="Example: `charlm classify-train TREC_6 --name questions --model models:/books@champion`")
def classify_train(
    data: options.Labelled,
    name: options.TaskName,
    models: options.LanguageModels = None,
    vectors: options.Vectors = None,
    label_type: options.LabelType = None,
    columns: options.Columns = None,
    settings: options.TaskSettings = None,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Train a classifier of texts on the embeddings of language models, and register it."""
    _train_task(
        "classifier",
        data,
        name,
        models,
        vectors,
        label_type,
        columns,
        settings,
        resume,
        no_register,
        workspace,
        as_json,
    )


@app.command(epilog="Example: `charlm predict models:/books-ner@newest sentences.txt`")
def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="best-model.pt, a run folder, or models:/NAME@newest.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A sentence a line; with --evaluate, labelled data.")],
    output: Annotated[Path | None, typer.Option(help="File to write: a JSON object a sentence.")] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Compare with the labels of TEXT.")] = False,
    columns: options.Columns = None,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Label a text with a tagger or classifier, or judge the model on labelled data."""
    space = _open(workspace)
    from tasks.downstream.prediction import judge_labels, label_text

    if evaluate:
        labelled = judge_labels(space, model, text, columns=columns, output=output)
    else:
        labelled = label_text(space, model, text, output=output)
    if as_json:
        _show(labelled.to_json(), as_json)
    elif labelled.table is not None:
        write_stdout(labelled.table)
    elif labelled.output is not None:
        write_stdout(str(labelled.output))
    else:
        write_stdout("\n".join(map(labelled_line, labelled.predictions)))


@app.command(epilog="Example: `charlm notify books new/*.txt --domain novels`")
def notify(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the corpus that the text is for.")],
    raw: options.Raw,
    domain: Annotated[str | None, typer.Option(help="Domain of this text; the corpus name by default.")] = None,
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Tell a running Prefect server that new text has arrived, which starts a retraining."""
    _open(workspace)
    from tasks.retraining.arrivals import describe_arrival
    from tasks.retraining.events import send_arrival

    arrival = describe_arrival(name, raw, domain)
    send_arrival(arrival)
    if as_json:
        _show(arrival.to_payload(), as_json)
    else:
        write_stdout(f"told {os.environ['PREFECT_API_URL']} of {len(arrival.addresses)} new files for {name}")


@app.command(epilog="Example: `charlm sync books-forward-demo-20260131-235959-1f2e`")
def sync(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a training run.")],
    workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Bring a run's journal to MLflow, where the server was away during the training."""
    space = _open(workspace)
    from tasks.tracking.sync import sync_run

    _show({"run": run, "mlflow_run": sync_run(space, run)}, as_json)


@app.command(hidden=True)
def demo(workspace: options.WorkspaceDir = _DEFAULT_WORKSPACE) -> None:
    """The whole pipeline on the documentation that ships with Python, in about five minutes."""
    _open(workspace)
    _start_prefect([])
    from flows.demo import run_demo
    from tasks.training.child import stopping_gently

    with stopping_gently():
        run_demo(workspace.absolute())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is begun is tidied up, as after Ctrl-C
    as_json = "--json" in arguments
    try:
        code = app(args=arguments, prog_name="charlm", standalone_mode=False)
        if code == _INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
    except TrainingInterruptedError:
        resumes = arguments[0] == "demo" or "--resume" in arguments  # the demo always does
        again = shlex.join(["charlm", *arguments, *([] if resumes else ["--resume"])])
        code = _fail(f"interrupted; continue with: {again}", as_json, _INTERRUPTED)
    except CharLMError as error:
        code = _fail(_one_line(error), as_json)
    except TyperException as error:
        line = _one_line(error.format_message()) or "no command was given"  # typer has shown the help for it
        code = _fail(f"{line} (charlm --help shows how)", as_json)
    except UnicodeEncodeError as error:  # of a name: text is checked where it is read
        before, after = error.object[: error.start], error.object[error.start :]
        name = before.rsplit('"', 1)[-1] + after.split('"', 1)[0]  # out of the JSON that it stands in
        code = _fail(f"the name {name!r} is not UTF-8; {_UTF8_REMEDY}", as_json)
    except OSError as error:
        code = _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", as_json, _INTERRUPTED)
    sys.exit(code or 0)


def _fail(line: str, as_json: bool, code: int = _USER_MISTAKE) -> int:
    with suppress(OSError):  # standard output may be what has failed: a full disk
        if as_json:
            write_stdout(json.dumps({"error": line}, ensure_ascii=False))
    print(f"error: {line}", file=sys.stderr)
    return code


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def _open(root: Path) -> Any:
    """The workspace, with Prefect and MLflow inside it and silent on the terminal."""
    try:
        str(root.absolute()).encode()
    except UnicodeEncodeError as error:  # Arrow and the databases need it
        raise ConfigError(f"the name of the workspace {str(root)!r} is not UTF-8; {_UTF8_REMEDY}") from error
    from tasks.services.workspace import keep_libraries_quiet, use_workspace

    keep_libraries_quiet()
    return use_workspace(root)


def _start_prefect(raw: list[str]) -> None:
    """Get ready for a flow; text that is missing is an error before the wait for Prefect."""
    from tasks.corpus.prepare import check_sources
    from tasks.services.prefect import start_prefect
    from tasks.terminal import terminal

    check_sources(raw)
    with terminal.step("start Prefect"):
        start_prefect()


def _gate(probe: str | None) -> GateConfig:
    """What the promotion gate asks; a probe that cannot be read is an error before any work."""
    if probe is not None:
        from tasks.promotion.probe import Probe

        Probe.open(probe)
    return GateConfig(probe=probe)


def _preparation(space: Any, name: str, corpus: options.CorpusOptions) -> dict[str, Any]:
    """How to prepare: what was given; for the rest what the corpus has, or the defaults of a new one."""
    from tasks.corpus.prepare import corpus_settings

    given = corpus.given()
    for size in ("shard_size", "max_document_bytes", "max_unpacked_bytes"):
        if size in given:
            given[size] = parse_size(given[size])
    split, dictionary = corpus_settings(space, name)
    return {
        "split": _changed(split, given),
        "dictionary": _changed(dictionary, given),
        "reading": _changed(ReadConfig(), given),
        "domain": corpus.domain,
        "extend_dictionary": corpus.extend_dictionary,
    }


def _changed(config: _C, given: dict[str, Any]) -> _C:
    """`config` with those of its fields that were given."""
    return replace(config, **{field.name: given[field.name] for field in fields(config) if field.name in given})


def _show(result: dict[str, Any], as_json: bool) -> None:
    """Write a result to stdout: JSON, or a line per key."""
    if as_json:
        write_stdout(json.dumps(result, ensure_ascii=False))
        return
    width = max(len(key) for key in result)
    for key, value in result.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        write_stdout(f"{key.replace('_', ' '):<{width}}  {shown}")


def _train_task(
    task: Literal["tagger", "classifier"],
    data: list[str],
    name: str,
    models: list[str] | None,
    vectors: list[str] | None,
    label_type: str | None,
    columns: str | None,
    settings: list[str] | None,
    resume: bool,
    no_register: bool,
    workspace: Path,
    as_json: bool,
) -> None:
    """What both commands do that train on embeddings."""
    space = _open(workspace)
    from tasks.downstream.training import DownstreamRequest, train_downstream

    request = DownstreamRequest(
        task=task,
        name=name,
        data=tuple(data),
        models=tuple(models or ()),
        vectors=tuple(vectors or ()),
        label_type=label_type,
        columns=columns,
        config=with_settings(DownstreamConfig(), settings or []),
    )
    trained = train_downstream(space, request, resume=resume, register=not no_register)
    if as_json:
        _show(trained.to_json(), as_json)
        return
    if trained.files.labels_table.is_file():
        write_stdout(trained.files.labels_table.read_text(encoding="utf-8"))
    write_stdout(f"run    {trained.run_dir}")
    write_stdout(f"model  {trained.version.address if trained.version else 'not registered'}")


def _show_training(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _show(result, as_json)
        return
    print_result(score_table({direction: {"test": run["test"]} for direction, run in result["runs"].items()}))
    for direction, run in result["runs"].items():
        write_stdout(f"{direction:<8}  {run['run_dir']}")
    write_stdout(f"model     {_shown_version(result)}")


def _shown_version(result: dict[str, Any]) -> str:
    """The registered version, and what it is: champion, or a challenger that nobody has judged yet."""
    if result["model"] is None:
        return "not registered"
    name = result["model"].removeprefix("models:/").rpartition("/")[0]
    if result["promoted"] is None:
        return f"{result['model']}, a challenger; the gate judges it with: charlm promote {name}"
    champion = f", which people use as models:/{name}@champion"
    return f"{result['model']}{champion if result['promoted'] else ', refused by the gate'}"
