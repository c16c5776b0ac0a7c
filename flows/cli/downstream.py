"""Commands about taggers and classifiers: `tag-train`, `classify-train`, `predict`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli import options
from flows.cli.context import DEFAULT_WORKSPACE, open_session, show
from flows.cli.options import example
from tasks.terminal import write_stdout


@example("charlm tag-train conll/ --name books-ner --model models:/books@champion")
@options.with_device
def tag_train(
    data: options.Labelled,
    name: options.TaskName,
    models: options.LanguageModels = None,
    vectors: options.Vectors = None,
    label_type: options.LabelType = None,
    columns: options.Columns = None,
    encoding: options.Encoding = "utf-8",
    tokenizer: options.WordsOf = None,
    skip_header: options.SkipHeader = False,
    no_header: options.NoHeader = False,
    settings: options.TaskSettings = None,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Train a tagger of words or spans on the embeddings of language models, and register it."""
    _train_task(
        "tagger",
        data,
        name,
        models,
        vectors,
        label_type,
        columns,
        encoding,
        tokenizer,
        options.header_of(skip_header=skip_header, no_header=no_header),
        settings,
        resume,
        no_register,
        workspace,
        as_json,
    )


@example("charlm classify-train TREC_6 --name questions --model models:/books@champion")
@options.with_device
def classify_train(
    data: options.Labelled,
    name: options.TaskName,
    models: options.LanguageModels = None,
    vectors: options.Vectors = None,
    label_type: options.LabelType = None,
    columns: options.Columns = None,
    encoding: options.Encoding = "utf-8",
    tokenizer: options.WordsOf = None,
    skip_header: options.SkipHeader = False,
    no_header: options.NoHeader = False,
    settings: options.TaskSettings = None,
    resume: options.Resume = False,
    no_register: options.NoRegister = False,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
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
        encoding,
        tokenizer,
        options.header_of(skip_header=skip_header, no_header=no_header),
        settings,
        resume,
        no_register,
        workspace,
        as_json,
    )


@example("charlm predict models:/books-ner@newest sentences.txt")
@options.with_device
def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="best-model.pt, a run folder, or models:/NAME@newest.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A sentence per line; with --evaluate, labelled data.")],
    output: Annotated[Path | None, typer.Option(help="File to write: a JSON object per sentence.")] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Compare with the labels of TEXT.")] = False,
    columns: options.Columns = None,
    encoding: options.Encoding = "utf-8",
    tokenizer: options.WordsOf = None,
    skip_header: options.SkipHeader = False,
    no_header: options.NoHeader = False,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Label a text with a tagger or classifier, or evaluate the model on labelled data."""
    space = open_session(workspace).workspace
    from tasks.downstream.prediction import judge_labels, label_text, labelled_line

    header = options.header_of(skip_header=skip_header, no_header=no_header)
    reading: options.Reading = {"encoding": encoding, "header": header, "tokenizer": tokenizer}
    if evaluate:
        labelled = judge_labels(space, model, text, columns=columns, output=output, **reading)
    else:
        labelled = label_text(space, model, text, output=output, **reading)
    if as_json:
        show(labelled.to_json(), as_json)
    elif labelled.table is not None:
        write_stdout(labelled.table)
    elif labelled.output is not None:
        write_stdout(str(labelled.output))
    else:
        write_stdout("\n".join(map(labelled_line, labelled.predictions)))


def _train_task(
    task: Literal["tagger", "classifier"],
    data: list[str],
    name: str,
    models: list[str] | None,
    vectors: list[str] | None,
    label_type: str | None,
    columns: str | None,
    encoding: str,
    tokenizer: str | None,
    header: bool | None,
    settings: list[str] | None,
    resume: bool,
    no_register: bool,
    workspace: Path,
    as_json: bool,
) -> None:
    """What both commands do that train on embeddings."""
    space = open_session(workspace).workspace
    from charlm.config import DownstreamConfig, with_settings
    from tasks.downstream.training import DownstreamRequest, train_downstream

    request = DownstreamRequest(
        task=task,
        name=name,
        data=tuple(data),
        models=tuple(models or ()),
        vectors=tuple(vectors or ()),
        label_type=label_type,
        columns=columns,
        encoding=encoding,
        tokenizer=tokenizer,
        header=header,
        config=with_settings(DownstreamConfig(), settings or []),
    )
    trained = train_downstream(space, request, resume=resume, register=not no_register)
    if as_json:
        show(trained.to_json(), as_json)
        return
    if trained.files.labels_table.is_file():
        write_stdout(trained.files.labels_table.read_text(encoding="utf-8"))
    write_stdout(f"run    {trained.run_dir}")
    if trained.files.report.is_file():
        write_stdout(f"report {trained.files.report}")
    write_stdout(f"model  {trained.version.address if trained.version else 'not registered'}")
