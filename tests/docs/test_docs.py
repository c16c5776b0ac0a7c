"""Every command and program that README and docs show is run, on small text and with small settings."""

import json
import os
import random
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from deployments.command_line import command_line
from tests.conftest import ROOT, Outcome, environment, run_charlm, run_program, write_sentences
from tests.labelled_data import write_entities, write_novel, write_questions, write_vectors

pytestmark = pytest.mark.service

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = ["--set", "max_characters=20000", "--set", "hidden_size=16", "--set", "sequence_length=50"]
TRAINING = {"run", "train", "finetune", "plan"}
SMALL_TASK = ["--set", "max_epochs=2", "--set", "hidden_size=16"]
TASK_TRAINING = {"tag-train", "classify-train"}
LARGE_PACKAGES = ("spacy", "bertopic")
"""What programs show the use of, and an installation for tests does not have to have."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown_commands() -> list[str]:
    """Every `charlm ...` in backticks or in a fenced block, once."""
    commands = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language, block in FENCE.findall(text):
            if language in ("", "console", "sh"):
                commands += [line for line in block.splitlines() if line.startswith("charlm ")]
        commands += re.findall(r"`(charlm [\w-]+ [^`]+)`", FENCE.sub("", text))
    return list(dict.fromkeys(command for command in commands if "--help" not in command))


def shown_programs() -> list[str]:
    return [block for page in PAGES for language, block in FENCE.findall(page.read_text()) if language == "python"]


# What other commands need; shown ones among them are tested by this run.
PREPARATION = (
    "charlm run books/*.txt --name books",
    "charlm prepare laws.txt --name laws",
    "charlm prepare novels/*.txt --name novels --unit word",
    "charlm export models:/books@champion --format flair --output shared/",
    "charlm export models:/books@champion --format onnx --int8 --output books-onnx",
    "charlm tag-train entities --name places --label ner --model models:/books@champion",
    "charlm tag-train entities --name code --label ner --model models:/books@champion"
    " --set optimizer=adamw --set learning_rate=0.002 --set max_epochs=8",
)


# A champion that has replaced one takes a training, which only this command needs.
BEFORE_ROLLBACK = ("charlm finetune books --from models:/books@champion", "charlm promote books")
ROLLBACK = "charlm rollback books"


def commands_to_run() -> list[Any]:
    """The shown commands that need no server; further forms of one, and the rollback, are for `make test-slow`.

    A command that waits for another node is tested with one, in tests/flows/test_nodes.py.
    """
    first_forms = {command.split()[1]: command for command in reversed(shown_commands())}
    quick = {*first_forms.values(), *PREPARATION} - {ROLLBACK}
    return [
        pytest.param(command, marks=[] if command in quick else [pytest.mark.slow])
        for command in shown_commands()
        if not command.startswith("charlm notify ") and "--num-nodes" not in command
    ]


@dataclass(frozen=True)
class Place:
    """A folder with the texts that the docs speak of, a champion of `books`, and a prepared corpus `laws`."""

    folder: Path
    done: dict[str, Outcome]
    """What the commands of the preparation have said."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "books").mkdir()
    (folder / "new").mkdir()
    write_sentences(folder / "new" / "novel.txt", seed=8)
    for number in range(2):
        write_sentences(folder / "books" / f"book-{number}.txt", seed=number, num_lines=1_500)
    write_sentences(folder / "laws.txt", seed=5)
    write_sentences(folder / "other.txt", seed=6, num_lines=50)
    write_sentences(folder / "sentences.txt", seed=7, num_lines=20)
    (folder / "README.md").write_text("# Any text\n")
    write_entities(folder / "entities")
    write_questions(folder / "cache" / "datasets" / "trec_6")
    write_vectors(folder / "cache" / "glove.txt")
    write_novels(folder)
    done = {}
    for command in PREPARATION:
        done[command] = run(command, folder)
        assert done[command].code == 0, done[command].stderr
    return Place(folder, done)


def write_novels(folder: Path) -> None:
    """Novels for the unit word, and small texts in the place of GluonNLP's corpora."""
    choose = random.Random(1)
    wikitext = folder / "cache" / "datasets" / "wikitext-2"
    wikitext.mkdir(parents=True)
    (folder / "novels").mkdir()
    write_novel(folder / "novels" / "one.txt", choose, num_lines=900, blank_lines=True)
    (folder / "wiki").mkdir()
    for segment in ("train", "valid", "test"):
        write_novel(folder / "wiki" / f"{segment}.txt", choose, num_lines=90, blank_lines=True)
        write_novel(wikitext / f"wiki.{segment}.tokens", choose, num_lines=90, blank_lines=True)
        write_novel(folder / f"sherlockholmes.{segment}.txt", choose, num_lines=90, blank_lines=False)


def run(command: str, folder: Path, **variables: str) -> Outcome:
    """Run a command as a shell would, with small settings where it trains."""
    words = shlex.split(command)
    arguments = [str(path) for word in words[1:] for path in (sorted(folder.glob(word)) if "*" in word else [word])]
    if words[1] in TRAINING:
        arguments = [word for word in arguments if word != "--resume"] + SMALL
        arguments += ["--resume"] * ("--resume" in words)
    if words[1] in TASK_TRAINING:
        arguments += SMALL_TASK
    return run_charlm(*arguments, folder=folder, CHARLM_CACHE=str(folder / "cache"), **variables)


@pytest.mark.parametrize("command", shown_commands())
def test_a_shown_command_is_understood(command: str) -> None:
    group = typer.main.get_command(command_line())
    name, arguments = shlex.split(command)[1], shlex.split(command)[2:]
    group.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("command", commands_to_run())
def test_a_shown_command_works(command: str, place: Place) -> None:
    short = re.sub(r"--max-minutes \S+", "--max-minutes 0.05", command)
    other_folder = re.sub(r"--output shared$", "--output shared-again", short)  # it is not written over
    for needed in BEFORE_ROLLBACK if command == ROLLBACK else ():
        assert run(needed, place.folder).code == 0
    outcome = place.done.get(command) or run(other_folder, place.folder)
    assert outcome.code == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("number", range(len(shown_programs())))
def test_a_shown_program_works(number: int, place: Place) -> None:
    program = shown_programs()[number]
    for package in LARGE_PACKAGES:
        if re.search(rf"^(?:import|from) {package}\b", program, re.MULTILINE):
            pytest.importorskip(package, reason="a large package that nothing else here needs")
    outcome = run_program(program, folder=place.folder, CHARLM_CACHE=str(place.folder / "cache"))
    assert outcome.code == 0, outcome.stderr


def test_the_shown_run_configuration_trains(place: Place) -> None:
    workspace = place.folder / "workspace"
    (block,) = [
        block for language, block in FENCE.findall((ROOT / "docs" / "recipes.md").read_text()) if language == "json"
    ]
    config = json.loads(block)
    config["num_threads"] = 1
    config["training"] |= {"hidden_size": 16, "max_epochs": 1, "sequence_length": 20, "mini_batch_size": 10}
    (workspace / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "charlm.trainers.run", "config.json"]
    outcome = subprocess.run(
        command, capture_output=True, text=True, cwd=workspace, env=environment() | {"PYTHONPATH": str(ROOT)}
    )
    assert outcome.returncode == 0, outcome.stderr
    assert (workspace / "run" / "best-lm.pt").is_file()


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("mlflow ui --backend-store-uri sqlite:///workspace/mlflow.db", "/health"),
        (
            "MLFLOW_TRACKING_URI=sqlite:///workspace/mlflow.db "
            "mlflow models serve -m models:/books@champion --env-manager local --port 5001",
            "/ping",
        ),
    ],
)
def test_the_shown_servers_of_mlflow_start(command: str, path: str, place: Place) -> None:
    with server(command, path, place.folder):
        pass


def test_the_shown_prefect_server_takes_the_shown_notifications(place: Place) -> None:
    commands = [command for command in shown_commands() if command.startswith("charlm notify")]
    assert commands
    with server("PREFECT_HOME=workspace/.prefect prefect server start", "/api/health", place.folder) as address:
        for command in commands:
            outcome = run(command, place.folder, PREFECT_API_URL=f"{address}/api")
            assert outcome.code == 0, outcome.stderr


@contextmanager
def server(command: str, path: str, folder: Path) -> Iterator[str]:
    """The address of a server that was started as shown, on a free port, and answers at `path`."""
    assert any(command in re.sub(r"\s*\\\n\s*", " ", page.read_text()) for page in PAGES)  # lines may go on
    variables = dict(word.split("=", 1) for word in shlex.split(command) if re.match(r"[A-Z_]+=", word))
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [Path(sys.executable).with_name(words[0]), *words[1:], "--port", str(port)],
        cwd=folder,
        env=environment()
        | variables
        | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_WORKERS": "1"}  # not a dozen processes
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},  # mlflow starts uvicorn by its name
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert answers(f"http://127.0.0.1:{port}{path}", seconds=90)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def answers(url: str, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            time.sleep(0.5)
    return False
