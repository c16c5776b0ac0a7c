"""An installation from a wheel, away from the checkout: the core alone, and the pipeline with an empty home."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import charlm
from tests.conftest import ROOT, TrainedWorkspace, write_sentences
from tests.installation import build_wheel, install, pip

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def run(*command: object, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the folder `home`, which is its home too, with nothing else in its environment."""
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run([*map(str, command)], cwd=home, env=environment, capture_output=True, text=True)


# ---- the core ------------------------------------------------------------------------------------------------------

TRAIN_AND_EMBED = """
import sys
from pathlib import Path
from charlm.data import Dictionary, Sentence
from charlm.embeddings import FlairEmbeddings
from charlm.language_models.language_model import LanguageModel
from charlm.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus
text = Path("text.txt").read_text()
Path("corpus/train").mkdir(parents=True)
for name in ("train/train_split_1", "valid.txt", "test.txt"):
    Path("corpus", name).write_text(text)
dictionary = Dictionary()
for character in sorted(set(text)):
    dictionary.add_item(character)
corpus = TextCorpus("corpus", dictionary, True, character_level=True)
model = LanguageModel(dictionary, is_forward_lm=True, hidden_size=8, nlayers=1)
LanguageModelTrainer(model, corpus).train("run", sequence_length=20, mini_batch_size=10, max_epochs=1)
sentence = Sentence("the set")
FlairEmbeddings("run/best-lm.pt").embed(sentence)
assert not {"mlflow", "prefect", "typer", "psutil"} & set(sys.modules)
print([len(token.embedding) for token in sentence])
"""


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and no extra."""
    return install(wheel, tmp_path_factory.mktemp("core"))


def test_an_installation_takes_no_names_but_its_own(core: Path) -> None:
    (site,) = core.parent.glob("lib/python*/site-packages")
    record = next(site.glob("charlm_pipeline-*.dist-info/RECORD")).read_text()
    tops = {line.partition("/")[0] for line in record.splitlines() if not line.startswith("..")}
    assert tops == {"charlm", "charlm_pipeline", f"charlm_pipeline-{charlm.__version__}.dist-info"}
    assert (site / "charlm" / "py.typed").is_file()
    assert (site / "charlm_pipeline" / "deployments" / "prefect.yaml").is_file()


def test_the_command_without_the_pipeline_says_what_to_install(core: Path, tmp_path: Path) -> None:
    outcome = run(core / "charlm", "run", "text.txt", "--json", home=tmp_path)
    assert outcome.returncode == 2
    (line,) = outcome.stderr.splitlines()
    assert line.endswith("install it with: pip install 'charlm-pipeline[pipeline]'")
    assert json.loads(outcome.stdout) == {"error": line.removeprefix("error: ")}
    assert run(core / "charlm", "--version", home=tmp_path).stdout == f"charlm {charlm.__version__}\n"


def test_the_core_alone_trains_and_embeds(core: Path, tmp_path: Path) -> None:
    write_sentences(tmp_path / "text.txt", num_lines=50)
    outcome = run(core / "python", "-c", TRAIN_AND_EMBED, home=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines()[-1] == "[8, 8]"


# ---- the pipeline --------------------------------------------------------------------------------------------------

OWN_TASKS = """
import tasks
from charlm.embeddings import FlairEmbeddings
print(tasks.MINE, FlairEmbeddings("models:/tiny/1/forward").embedding_length)
"""


def test_a_program_with_tasks_of_its_own_opens_a_model(
    wheel: Path, tmp_path: Path, trained_workspace: TrainedWorkspace
) -> None:
    programs = install(wheel, tmp_path / "environment", "pipeline")
    (tmp_path / "tasks.py").write_text("MINE = 'mine'\n")
    workspace = {"CHARLM_WORKSPACE": str(trained_workspace.root)}
    outcome = run(programs / "python", "-c", OWN_TASKS, home=tmp_path, **workspace)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout == "mine 16\n"
    command = (programs / "charlm", "evaluate", "models:/tiny/1", trained_workspace.text, "--json")
    outcome = run(*command, home=tmp_path, **workspace)
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads(outcome.stdout)["forward"]["characters"] > 0


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_pip_installs_a_demo_and_a_service(wheel: Path, tmp_path: Path) -> None:
    """In a new environment that pip makes, with an empty home, in an empty folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "environment"], check=True)
    python, charlm_program = (tmp_path / "environment" / "bin" / name for name in ("python", "charlm"))
    pip("--python", python, "install", "--constraint", ROOT / "constraints.txt", f"{wheel}[pipeline]")
    (home := tmp_path / "home").mkdir()
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        names = ("CHARLM_PREFECT_PORT", "CHARLM_MLFLOW_PORT")
        ports = dict(zip(names, (str(probe.getsockname()[1]) for probe in (one, two)), strict=True))
    demo = run(charlm_program, "demo", home=home, OMP_NUM_THREADS=str(os.cpu_count()))
    assert demo.returncode == 0, demo.stderr
    assert "models:/python-docs@champion" in demo.stdout
    try:
        up = run(charlm_program, "up", home=home, **ports)
        assert up.returncode == 0, up.stderr
        status = run(charlm_program, "status", home=home, **ports)
        assert status.returncode == 0, status.stdout
        shown = {line.split()[0] for line in status.stdout.splitlines()}
        assert shown == {"prefect", "mlflow", "charlm-cpu", "watcher", "Prefect", "MLflow"}
    finally:
        down = run(charlm_program, "down", home=home, **ports)
    assert "stopped charlm-cpu, watcher, mlflow, prefect" in down.stderr
    assert run(charlm_program, "status", home=home, **ports).returncode == 1
