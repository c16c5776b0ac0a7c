"""The command line `charlm`: all commands, and how their errors end.

What a user gets wrong ends with one line and exit code 2.
"""

import codecs
import copy
import errno
import io
import json
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.models import CommandInfo

from charlm.errors import CharLMError, TrainingInterruptedError
from flows.cli import completion, corpus, downstream, inference, promotion, registry, training, upkeep
from flows.cli.context import UTF8_REMEDY
from flows.cli.options import with_default_values
from tasks.terminal import write_stdout

_USER_MISTAKE = 2
_INTERRUPTED = 130
_COMMANDS: tuple[Callable[..., None], ...] = (
    training.demo,
    training.run,
    corpus.prepare,
    corpus.doctor,
    training.train,
    training.finetune,
    training.plan,
    training.baseline,
    inference.evaluate,
    inference.score,
    inference.filter,
    registry.models,
    promotion.promote,
    promotion.rollback,
    promotion.approval,
    inference.generate,
    inference.neighbours,
    inference.embed,
    inference.static,
    inference.export,
    downstream.tag_train,
    downstream.classify_train,
    downstream.predict,
    corpus.notify,
    training.sync,
    upkeep.prune,
    completion.completion,
)
"""In the order of the help."""


class _WithoutTypesOfFlags:
    """A command whose help names no type beside a flag, which takes no value."""

    def get_params(self, ctx: Any) -> Any:
        parameters = super().get_params(ctx)  # type: ignore[misc]  # of the command
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return parameters


class _Command(_WithoutTypesOfFlags, TyperCommand): ...


class _Group(_WithoutTypesOfFlags, TyperGroup): ...


app = typer.Typer(
    cls=_Group,
    help="Train language models of characters, bytes or words on any text, and use them as word embeddings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.callback()(lambda: None)  # so that one command alone has its name in the command line, as all together


def add_command(command: Callable[..., None]) -> None:
    """Add a command with the example that it shows; an upper floor adds its own."""
    app.command(cls=_Command, epilog=f"Example: `{vars(command)['example']}`")(command)


for _command in _COMMANDS:
    add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    arguments = with_default_values(sys.argv[1:] if arguments is None else arguments)
    _accept_all_characters()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    if completion.shell_asks():
        sys.exit(app(prog_name=completion.PROGRAM))
    as_json = "--json" in arguments
    try:
        code = _app_for(arguments)(args=arguments, prog_name=completion.PROGRAM, standalone_mode=False)
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
        context = getattr(error, "ctx", None)  # of the command that was called wrongly
        command = completion.PROGRAM if context is None else context.command_path
        code = _fail(f"{line} ({command} --help shows how)", as_json)
    except UnicodeEncodeError as error:  # of a name: text is checked where it is read
        before, after = error.object[: error.start], error.object[error.start :]
        name = before.rsplit('"', 1)[-1] + after.split('"', 1)[0]  # without the JSON around it
        code = _fail(f"the name {name!r} is not UTF-8; {UTF8_REMEDY}", as_json)
    except OSError as error:
        code = _fail(_line_of_system(error), as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", as_json, _INTERRUPTED)
    sys.exit(code or 0)


def _line_of_system(error: OSError) -> str:
    line = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = "there" if error.filename else "where the workspace, its cache and TMPDIR are"
        return f"{line}; free some space {place}, and run again"
    return line


def _accept_all_characters() -> None:
    """Let both streams write any text: as UTF-8 in the C locale, as Python does unless PYTHONUTF8=0 forbids it."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper) or codecs.lookup(stream.encoding).name == "utf-8":
            continue
        if codecs.lookup(stream.encoding).name == "ascii":
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
        else:
            stream.reconfigure(errors="backslashreplace")


def _app_for(arguments: Sequence[str]) -> typer.Typer:
    """The application with only what is asked for, a command or the list of all: to build everything takes longer."""
    asked = [
        command
        for command in app.registered_commands
        if arguments and command.callback and command.callback.__name__.replace("_", "-") == arguments[0]
    ]
    if not asked and list(arguments) in ([], ["--help"]):
        asked = [_without_parameters(command) for command in app.registered_commands]
    elif not asked:
        return app
    narrowed = copy.copy(app)
    narrowed.registered_commands = asked
    return narrowed


def _without_parameters(command: CommandInfo) -> CommandInfo:
    """A command as the list of all shows it, with its name and the first line of its help."""

    def listed() -> None: ...

    assert command.callback is not None
    listed.__name__, listed.__doc__ = command.callback.__name__, command.callback.__doc__
    shown = copy.copy(command)
    shown.callback = listed
    return shown


def _fail(line: str, as_json: bool, code: int = _USER_MISTAKE) -> int:
    with suppress(OSError):  # standard output may be what has failed: a full disk
        if as_json:
            write_stdout(json.dumps({"error": line}, ensure_ascii=False))
    if code == _INTERRUPTED and sys.stderr is not None and sys.stderr.isatty():
        print(file=sys.stderr)  # the terminal has written ^C into the line
    print(f"error: {line}", file=sys.stderr)
    return code


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
