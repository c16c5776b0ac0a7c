"""What several tests of the upper floors share: the command line, and one small workspace that holds everything."""

import atexit
import json
import logging
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import settings

from charlm.artifacts import Workspace
from charlm.storage.atomic import read_json, write_json
from charlm.storage.locks import exclusive_lock
from tests.command_server import COMMAND_LINE, CommandServer, ForkedProgram

if TYPE_CHECKING:
    from tasks.runs import TrainedRun

# The same examples in every run, and as much time as a busy machine needs.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-c", COMMAND_LINE]
"""`charlm`, without a console script."""

# What takes longest begins first: a long file that begins last leaves the other test process with nothing to do.
LONG_FILES = (
    "test_service",
    "test_docs",
    "test_retrain",
    "test_previous_version",
    "test_nothing_changed",
    "test_pipeline",
    "test_cli",
    "test_cli_models",
    "test_processes",
    "test_training",
    "test_prepare_flow",
    "test_cli_finetuning",
    "test_downstream",
)

SIMULATED_CUDA = "SIMULATED_CUDA"
"""Set in the process whose torch has simulated GPUs."""
SIMULATED_FILES = ("test_mixed_precision", "test_simulated_gpu", "test_simulated_gpu_downstream", "test_gpus")

# A training of about a second, and the corpus that is large enough for it.
QUICK = ("--set", "max_characters=60000", "--set", "hidden_size=16", "--set", "sequence_length=50")
_WORDS = re.findall(
    r"\w+", "the a of in set call return value object function list string file read write open close name"
)


def pytest_configure() -> None:
    if SIMULATED_CUDA in os.environ:
        from tests.simulated_cuda import prepare_autograd

        prepare_autograd()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Tests of simulated GPUs run in a process of their own: see tests/charlm/test_simulated_process.py."""
    is_simulated = collection_path.stem in SIMULATED_FILES
    return True if is_simulated and SIMULATED_CUDA not in os.environ else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        (line,) = self.stdout.splitlines()
        return json.loads(line)


def environment() -> dict[str, str]:
    """The environment without anything that names a workspace or a server."""
    mine = ("CHARLM_", "MLFLOW_", "PREFECT_", "PYTHONUNBUFFERED")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)} | {"OMP_NUM_THREADS": "1"}


class Shared:
    """What the tests of this process share."""

    factory: ClassVar[pytest.TempPathFactory]


@pytest.fixture(scope="session", autouse=True)
def temporary_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where functions that are no fixtures find room too."""
    Shared.factory = tmp_path_factory


@cache
def command_server() -> CommandServer:
    """The one of this test process."""
    return CommandServer(ROOT, environment())


@cache
def shared_prefect() -> dict[str, str]:
    """The variables that lead to the Prefect server of this test process, which starts when it is first needed."""
    from tests.prefect_server import prefect_server

    home = shutil.copytree(prefect_home(Shared.factory), Shared.factory.mktemp("prefect") / "home")
    servers = ExitStack()
    atexit.register(servers.close)
    return servers.enter_context(prefect_server(home))


def start_program(program: str, *arguments: object, folder: Path = ROOT, **variables: str) -> ForkedProgram:
    """Start what `python -c PROGRAM ARGUMENTS` would run in `folder`, forked from a process that has loaded much."""
    return command_server().start(program, [str(argument) for argument in arguments], environment() | variables, folder)


def run_program(program: str, *arguments: object, folder: Path = ROOT, **variables: str) -> Outcome:
    """Run a program to its end, as `start_program` starts it."""
    process = start_program(program, *arguments, folder=folder, **variables)
    stdout, stderr = process.communicate()
    return Outcome(process.wait(), stdout, stderr)


def run_charlm(*arguments: object, folder: Path = ROOT, own_server: bool = False, **variables: str) -> Outcome:
    """Run the command line in a process of its own, in `folder`.

    A command that needs Prefect uses the server of this test process, unless `variables` name one; with `own_server`,
    the one that it starts.
    """
    own_server = own_server or "PREFECT_API_URL" in variables
    needs_server = not {"prepare", "run", "demo"}.isdisjoint(arguments[:1]) and "--help" not in arguments
    server = shared_prefect() if needs_server and not own_server else {}
    return run_program(COMMAND_LINE, *arguments, folder=folder, **{**server, **variables})


Charlm = Callable[..., Outcome]


@pytest.fixture
def charlm() -> Charlm:
    return run_charlm


def write_sentences(path: Path, *, seed: int = 1, num_lines: int = 3_000) -> Path:
    """English-like lines, the same for the same seed."""
    choose = random.Random(seed)
    path.write_text("".join(" ".join(choose.choices(_WORDS, k=9)) + ".\n" for _ in range(num_lines)))
    return path


@dataclass(frozen=True)
class TrainedWorkspace:
    """A workspace with the corpus `tiny` and a registered pair of models of it."""

    root: Path
    text: Path
    prepared: Any
    trained: Any


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a test sets in the environment, as a session of a workspace does, the next one does not find.

    Nor does it find a handler of logs that writes to the captured output of an earlier test, as Prefect's does where it
    was loaded there: each line would be an error of logging on stderr.
    """
    for handler in list(logging.getLogger().handlers):
        if getattr(getattr(handler, "stream", None), "closed", False):
            logging.getLogger().removeHandler(handler)
    saved = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(saved)


@contextmanager
def own_workspace(trained: TrainedWorkspace, folder: Path) -> Iterator[Workspace]:
    """A copy of the trained workspace in `folder`, elsewhere than where it was made; this process uses its MLflow."""
    from tasks.services.session import use_workspace

    shutil.copytree(trained.root, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "PREFECT_")):
                patch.delenv(name)
        saved = dict(os.environ)
        yield use_workspace(folder)
        os.environ.clear()
        os.environ.update(saved)


def trained_runs(workspace: Workspace) -> "dict[str, TrainedRun]":
    """The trainings of a copy of the trained workspace, by direction."""
    from tasks.runs import TrainedRun

    runs = [TrainedRun.load(workspace.run(path.name), reused=True) for path in workspace.runs_dir.iterdir()]
    return {run.direction: run for run in runs}


@contextmanager
def shared_folder(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A folder of all test processes, which for the block is this one's alone."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with exclusive_lock(folder / ".lock", busy=None):
        yield folder


@pytest.fixture(scope="session")
def new_prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PREFECT_HOME to copy, with a new database."""
    return prefect_home(tmp_path_factory)


def prefect_home(factory: pytest.TempPathFactory) -> Path:
    """A PREFECT_HOME to copy, with a new database, which Prefect takes seconds to build."""
    from tests.prefect_server import build_database

    with shared_folder(factory, "prefect") as folder:
        home = folder / "home"
        if not home.is_dir():
            build_database(folder / "half-built")
            (folder / "half-built").rename(home)
    return home


def copy_prefect_home(home: Path, workspace: Path) -> None:
    """Give `workspace` a copy of Prefect's `home`; its folder may exist."""
    shutil.copytree(home, Workspace(workspace).prefect_home, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def server() -> dict[str, str]:
    """The variables that lead to the Prefect server of this test process."""
    return shared_prefect()


@pytest.fixture(scope="session")
def trained_workspace(tmp_path_factory: pytest.TempPathFactory) -> TrainedWorkspace:
    """Made once for all test processes, through the real command line; tests that change a workspace copy it."""
    with shared_folder(tmp_path_factory, "trained") as folder:
        text, root, results = folder / "text.txt", folder / "workspace", folder / "results.json"
        if not results.is_file():
            shutil.rmtree(root, ignore_errors=True)
            prepared = run_charlm("prepare", write_sentences(text), "--name", "tiny", "--workspace", root, "--json")
            assert prepared.code == 0, prepared.stderr
            trained = run_charlm("train", "tiny", *QUICK, "--workspace", root, "--json")
            assert trained.code == 0, trained.stderr
            # Prefect makes it wherever it is loaded, in any test of any order.
            Workspace(root).prefect_home.mkdir(exist_ok=True)
            write_json(results, {"prepared": prepared.json, "trained": trained.json})
    return TrainedWorkspace(root, text, **read_json(results))
