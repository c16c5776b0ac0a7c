"""The options that several commands share, each with its name and help in one place."""

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypedDict

import typer

from charlm.errors import ConfigError

P = ParamSpec("P")

# Panels of the help.
TEXT, CORPUS, DICTIONARY = "How the text is read", "The corpus", "Units and dictionary"
DUPLICATES, KEPT, CARD = "Duplicates", "What is kept", "The model card"
TRAINING, _RUNNING = "Training", "Where and how it runs"


def corpora(incomplete: str) -> list[str]:
    """For the tab key: the corpora of the workspace whose names begin so."""
    from tasks.services.known_corpora import known_corpora

    place = os.environ.get("CHARLM_WORKSPACE", "workspace")
    return [name for name in known_corpora(place) if name.startswith(incomplete)]


def recipes(incomplete: str) -> list[str]:
    """For the tab key: the recipes whose names begin so."""
    from charlm.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


Raw = Annotated[
    list[str],
    typer.Argument(metavar="RAW", help="Text: a file, folder, glob, fsspec address, or hf:NAME[:SPLIT[:COLUMN]]."),
]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="best-lm.pt, a run folder, a bundle folder, or models:/NAME@champion.")
]
Texts = Annotated[
    list[str],
    typer.Argument(metavar="TEXT", help="Text: a file, folder, glob, fsspec address, or hf:NAME[:SPLIT[:COLUMN]]."),
]
Per = Annotated[
    str, typer.Option(help="A row for each document (paragraph, line or record by content), line, record or text.")
]
MinBitsPerByte = Annotated[
    float | None,
    typer.Option(
        help="Keep text that needs so many bits per byte: less is repetition or boilerplate.", rich_help_panel=KEPT
    ),
]
MaxBitsPerByte = Annotated[
    float | None,
    typer.Option(help="Keep text that needs no more bits per byte: more is foreign or garbled.", rich_help_panel=KEPT),
]
CorpusName = Annotated[
    str,
    typer.Option("--name", autocompletion=corpora, help="Name of the corpus, and of the registered model."),
]
PreparedCorpus = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=corpora, help="Name of a prepared corpus.")
]
RegisteredModel = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=corpora, help="Name of a registered model.")
]

WorkspaceDir = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar="CHARLM_WORKSPACE",
        help="Folder, or s3://BUCKET/FOLDER, that holds corpora and runs.",
        rich_help_panel=_RUNNING,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Write one JSON object to stdout, and nothing else.", rich_help_panel=_RUNNING)
]

Licence = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Licence of the models, for their card: CC-BY-4.0, or LicenseRef-NAME for your own.",
        rich_help_panel=CARD,
    ),
]
Languages = Annotated[
    list[str] | None,
    typer.Option(
        "--language",
        metavar="CODE",
        help="Language of the text, for the card: en, sr-Latn (repeatable).",
        rich_help_panel=CARD,
    ),
]

TextColumn = Annotated[
    str | None,
    typer.Option(
        help="Field of JSON lines, or column of a table, that holds the text; text by default.", rich_help_panel=TEXT
    ),
]
NearThreshold = Annotated[
    float | None,
    typer.Option(
        "--near-threshold",
        help="Share of runs of five words that near-duplicates have in common; 0.8 by default.",
        rich_help_panel=DUPLICATES,
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        help="What makes words: rules (the default), whitespace, unicode or moses.", rich_help_panel=DICTIONARY
    ),
]
WordsOf = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        help="What cuts texts into words: rules (the default), whitespace, unicode or moses.",
        rich_help_panel=TEXT,
    ),
]
TaskRunner = Annotated[
    str | None,
    typer.Option(help="Run as a Prefect flow, with shards in threads, processes or dask.", rich_help_panel=_RUNNING),
]

DirectionOption = Annotated[
    str, typer.Option("--direction", help="forward, backward or both.", rich_help_panel=TRAINING)
]
Recipe = Annotated[
    str,
    typer.Option("--recipe", autocompletion=recipes, help="Named settings of the training.", rich_help_panel=TRAINING),
]
Recipes = Annotated[
    list[str],
    typer.Option(
        "--recipe",
        metavar="NAME",
        autocompletion=recipes,
        help="Named settings; with several, the best pair is registered.",
        rich_help_panel=TRAINING,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change a field of the recipe (repeatable).", rich_help_panel=TRAINING
    ),
]
MaxMinutes = Annotated[
    float | None, typer.Option(help="Budget in minutes of training, for each direction.", rich_help_panel=TRAINING)
]
NumProcesses = Annotated[
    int,
    typer.Option(
        "--num-processes",
        min=1,
        help="Processes of a machine that train each model together; one per GPU.",
        rich_help_panel=TRAINING,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Continue the newest unfinished run of these settings.", rich_help_panel=TRAINING),
]
NoRegister = Annotated[
    bool, typer.Option("--no-register", help="Log to MLflow, but register no model.", rich_help_panel=TRAINING)
]

_PROBE = "Labelled data: a challenger that gives worse taggers is refused."
Probe = Annotated[str | None, typer.Option(metavar="DATA", help=_PROBE, rich_help_panel=TRAINING)]

GateProbe = Annotated[str | None, typer.Option(metavar="DATA", help=_PROBE)]
GateSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a condition of the gate, and decide anew (repeatable)."),
]

Labelled = Annotated[
    list[str],
    typer.Argument(metavar="DATA", help="Folders with labelled train, dev and test files, or UD_ENGLISH, TREC_6 …"),
]
TaskName = Annotated[str, typer.Option("--name", help="Name of the registered model.")]
LanguageModels = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="MODEL", help="Language model to embed with: models:/NAME@champion (repeatable)."),
]
Vectors = Annotated[
    list[str] | None,
    typer.Option("--vectors", metavar="FILE", help="Word vectors: a file, or its name in CHARLM_CACHE (repeatable)."),
]
LabelType = Annotated[str | None, typer.Option("--label", help="Type of labels to learn, such as ner or upos.")]
Columns = Annotated[
    str | None, typer.Option(help="Columns of the files, _ for one to ignore: text,_,ner.", rich_help_panel=TEXT)
]
_KNOWN_ENCODINGS = "utf-8 (the default), cp1252, utf-16 …; auto looks at each file."
TextEncoding = Annotated[
    str | None, typer.Option("--encoding", help=f"Encoding of the text: {_KNOWN_ENCODINGS}", rich_help_panel=TEXT)
]
Encoding = Annotated[
    str,
    typer.Option(
        help=f"Encoding of the labelled files or the text: {_KNOWN_ENCODINGS}",
        show_default=False,
        rich_help_panel=TEXT,
    ),
]
SkipHeader = Annotated[
    bool,
    typer.Option("--skip-header", help="The first row names the columns; leave it out.", rich_help_panel=TEXT),
]
NoHeader = Annotated[
    bool, typer.Option("--no-header", help="The first row is data, whatever it looks like.", rich_help_panel=TEXT)
]
TaskSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a setting of the training (repeatable).",
        rich_help_panel=TRAINING,
    ),
]


class Reading(TypedDict):
    """How a text or labelled data are read."""

    encoding: str
    header: bool | None
    tokenizer: str | None


def with_default_values(arguments: Sequence[str]) -> list[str]:
    """A command line in which `--deduplicate` has its value: `exact` where neither that nor `near` follows."""
    given = list(arguments)
    return [
        f"{one}=exact" if one == "--deduplicate" and given[place + 1 : place + 2] not in (["exact"], ["near"]) else one
        for place, one in enumerate(given)
    ]


def example(line: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Show `line` at the end of the help of a command."""

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        vars(command)["example"] = line
        return command

    return decorate


def with_device(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the option `--device`, which holds for the whole process and its children."""

    def check(value: str, flag: str) -> None:
        from charlm.config import check_device_name

        check_device_name(value, flag)

    shown = "cpu, cuda, cuda:N or auto (the default: a GPU where there is one)."
    return _with_variable(command, "device", "CHARLM_DEVICE", check, shown)


def with_held_out_limit(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the option `--held-out-limit`, which holds for the whole process and its children."""

    def check(value: str, flag: str) -> None:
        from charlm.config import check_held_out_limit

        check_held_out_limit(value, flag)

    shown = "Characters of held-out text that a score reads at most, or none; 20,000,000 by default."
    return _with_variable(command, "held_out_limit", "CHARLM_HELD_OUT_LIMIT", check, shown)


def with_runtime(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the option `--runtime`, which holds for the whole process and its children."""

    def check(value: str, flag: str) -> None:
        from charlm.config import check_runtime

        check_runtime(value, flag)

    shown = "What answers requests to the registered model: torch (the default), onnx or onnx-int8."
    return _with_variable(command, "runtime", "CHARLM_RUNTIME", check, shown)


def _with_variable(
    command: Callable[..., None], name: str, variable: str, check: Callable[[str, str], None], shown: str
) -> Callable[..., None]:
    """`command` with an option that sets an environment variable; `check` raises ConfigError for a wrong value."""
    flag = f"--{name.replace('_', '-')}"

    @functools.wraps(command)
    def placed(**values: Any) -> None:
        value = values.pop(name)
        if value is None:
            return command(**values)
        check(value, flag)
        before = os.environ.get(variable)
        os.environ[variable] = value
        try:
            command(**values)
        finally:
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before

    signature = inspect.signature(command)
    option = Annotated[str | None, typer.Option(flag, envvar=variable, help=shown, rich_help_panel=_RUNNING)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=keyword) for parameter in signature.parameters.values()]
    parameters.insert(-2, inspect.Parameter(name, keyword, default=None, annotation=option))  # before --workspace
    placed.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    return placed


def header_of(*, skip_header: bool, no_header: bool) -> bool | None:
    """Whether the first row is a header; None where its content decides. Raises ConfigError where both are given."""
    if skip_header and no_header:
        raise ConfigError("--skip-header and --no-header contradict each other; give one of them")
    return True if skip_header else False if no_header else None
