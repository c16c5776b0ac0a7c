"""A bundle is published on a stand-in of the Hugging Face Hub, over HTTP, and used from there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from charlm.data.dictionary import Dictionary
from charlm.hub import _front_matter
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.serialization.bundle import write_bundle
from tests.conftest import ROOT, environment
from tests.stand_in_hub import TOKEN, Hub, stand_in_hub

SCORES = {"forward": {"test": {"bits_per_byte": 1.75, "bits_per_character": None}}}
PROGRAMS = re.findall(r"^```py\n(.*?)^```$", (ROOT / "docs" / "publishing.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with stand_in_hub() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the bundle `books-bundle`."""
    torch.manual_seed(1)
    dictionary = Dictionary.from_items("\n abcdefghijklmnopqrstuvwxyz.TI")
    models = {
        direction: LanguageModel(dictionary, direction == "forward", hidden_size=8, nlayers=1, dropout=0.0)
        for direction in ("forward", "backward")
    }
    states = {direction: model.language_model_state() for direction, model in models.items()}
    write_bundle(
        tmp_path / "books-bundle",
        states,
        {"licence": "CC-BY-4.0", "languages": ["en", "de-AT"], "corpus": {"name": "books"}, "scores": SCORES},
    )
    return tmp_path


def run(program: str, place: Path, hub: Hub, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    variables = {"HF_ENDPOINT": hub.address, "HF_TOKEN": token, "HF_HOME": str(place / "hf"), "PYTHONPATH": str(ROOT)}
    variables["HF_HUB_DISABLE_XET"] = "1"  # the stand-in takes weights by Git LFS
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=place, env=environment() | variables
    )


def test_the_shown_programs_publish_and_use_a_bundle(hub, place):
    publish, use = PROGRAMS
    published = run(publish, place, hub)
    assert published.returncode == 0, published.stderr
    assert published.stdout.strip() == f"{hub.address}/my-team/books"
    assert len(hub.commits) == 1
    files = hub.repositories["my-team/books"]
    local = {path.relative_to(place / "books-bundle").as_posix() for path in (place / "books-bundle").rglob("*.*")}
    assert set(files) == local
    assert files["forward/model.safetensors"] == (place / "books-bundle/forward/model.safetensors").read_bytes()
    head = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert (head["license"], head["library_name"]) == ("cc-by-4.0", "charlm")
    assert (head["language"], head["language_bcp47"]) == (["en", "de"], ["en", "de-AT"])
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["dataset"]["name"], result["dataset"]["split"]) == ("books", "books test", "test")
    assert result["metrics"] == [{"type": "bits_per_byte", "value": 1.75, "name": "forward bits_per_byte"}]
    shutil.rmtree(place / "books-bundle")
    used = run(use, place, hub)
    assert used.returncode == 0, used.stderr
    assert used.stdout.strip() == "torch.Size([16])"


def test_a_licence_that_the_hub_does_not_know_keeps_its_name():
    head = yaml.safe_load(_front_matter({"licence": "Ours: 1.0"}).split("---\n")[1])
    assert (head["license"], head["license_name"]) == ("other", "Ours: 1.0")
    assert not {"license", "language", "language_bcp47"} & set(yaml.safe_load(_front_matter({}).split("---\n")[1]))


def test_only_files_of_a_bundle_come_down_and_with_the_weights_that_went_up(hub, place):
    assert run(PROGRAMS[0], place, hub).returncode == 0
    hub.repositories["my-team/books"] |= {"evil.py": b"raise SystemExit", "forward/pytorch_model.bin": b"\x80"}
    loaded = run("from charlm.hub import from_pretrained; print(from_pretrained('my-team/books'))", place, hub)
    folder = Path(loaded.stdout.strip())
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        "bundle.json", "dictionary.json", "README.md", "model.safetensors", "config.json", "best-lm.pt",
    }  # fmt: skip
    ours, theirs = load_language_models(place / "books-bundle"), load_language_models(folder)
    expected = ours["backward"].state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in theirs["backward"].state_dict().items())


def test_a_second_push_removes_what_the_first_one_had_besides(hub, place):
    assert run(PROGRAMS[0], place, hub).returncode == 0
    states = {"forward": load_language_models(place / "books-bundle")["forward"].language_model_state()}
    write_bundle(place / "books-bundle", states, {})
    assert run(PROGRAMS[0], place, hub).returncode == 0
    assert not [name for name in hub.repositories["my-team/books"] if name.startswith("backward/")]


@pytest.mark.parametrize(
    ("program", "token", "said"),
    [
        ("push_to_hub('books-bundle', 'my-team/books')", "wrong", "cannot publish books-bundle as my-team/books: "),
        ("push_to_hub('books-bundle', 'no name')", TOKEN, "cannot publish books-bundle as no name: "),
        ("push_to_hub('nowhere', 'my-team/books')", TOKEN, "nowhere/bundle.json"),
        ("from_pretrained('my-team/books')", TOKEN, "cannot get my-team/books: "),
    ],
)
def test_what_goes_wrong_is_one_line(hub, place, program, token, said):
    guarded = (
        "from charlm.errors import CharLMError\nfrom charlm.hub import *\n"
        f"try:\n    {program}\nexcept CharLMError as error:\n    print(error)"
    )
    outcome = run(guarded, place, hub, token)
    assert outcome.returncode == 0, outcome.stderr
    (line,) = outcome.stdout.splitlines()
    assert said in line


def test_a_bundle_that_was_changed_on_the_way_is_refused(hub, place):
    assert run(PROGRAMS[0], place, hub).returncode == 0
    files = hub.repositories["my-team/books"]
    content = files["forward/model.safetensors"]
    files["forward/model.safetensors"] = content[:-1] + bytes([content[-1] ^ 1])
    outcome = run("from charlm.hub import from_pretrained; from_pretrained('my-team/books')", place, hub)
    assert outcome.returncode == 1
    assert "is not the file that" in outcome.stderr
