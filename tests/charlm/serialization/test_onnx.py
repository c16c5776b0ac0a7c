"""An exported model gives the vectors of the model in torch, with NumPy and onnxruntime alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.artifacts import OnnxFiles
from charlm.config.language_model import LanguageModelConfig
from charlm.data import Dictionary, Sentence
from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
from charlm.embeddings.exported import compare_vectors
from charlm.errors import CorpusError, ModelFileError
from charlm.models import LanguageModel
from charlm.runtime import FolderError, load
from charlm.serialization.onnx_folder import write_onnx_folder
from tests.toy import GOLDEN

pytestmark = pytest.mark.numeric
pytest.importorskip("onnx")

LONG = ["a" * 3000, "b", "ß"]
SENTENCES = [["I", "love", "Berlin"], [], ["Grüße", "😀", "世界", "e\u0301"], ["x"], LONG, *([["the", "rain"]] * 40)]
TOLERANCE = 1e-5


def golden_pair() -> list[LanguageModel]:
    return [LanguageModel.load_language_model(GOLDEN / f"{name}.pt") for name in ("forward", "backward")]


def random_model(unit: str = "char", **settings: object) -> LanguageModel:
    torch.manual_seed(1)
    items = ["\n", " ", *"abehilnorstuxy"] if unit == "char" else [chr(code) for code in range(256)]
    dictionary = Dictionary.from_items(
        [item.encode("latin-1") if unit == "byte" else item for item in items], unit=unit
    )
    given = {"is_forward_lm": True, "hidden_size": 12, "nlayers": 1, "embedding_size": 5} | settings
    return LanguageModel(dictionary, **LanguageModelConfig(**given).to_json()).eval()


def export(folder: Path, models: list[LanguageModel], precision: str = "fp32") -> Path:
    folder.mkdir(exist_ok=True)
    states = {model.direction: model.language_model_state() for model in models}
    write_onnx_folder(folder, states, precision, {"recipe": "demo"})
    return folder


def torch_vectors(models: list[LanguageModel], sentences: list[list[str]]) -> list[np.ndarray]:
    given = [Sentence(words) for words in sentences]
    StackedEmbeddings([FlairEmbeddings(model) for model in models]).embed(given)
    return [sentence.get_token_embeddings().numpy() for sentence in given]


def check_equal(models: list[LanguageModel], folder: Path, tolerance: float = TOLERANCE) -> None:
    found = load(folder, threads=1).embed(SENTENCES)
    for ours, theirs in zip(found, torch_vectors(models, SENTENCES), strict=True):
        assert ours.dtype == np.float32
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("exported") / "fp32", golden_pair())


def test_a_pair_gives_the_vectors_of_torch(exported: Path) -> None:
    check_equal(golden_pair(), exported)
    assert load(exported).dimensions == 16


@pytest.mark.parametrize(
    "settings",
    [
        {"recurrent_type": "GRU", "nlayers": 2},
        {"nlayers": 2, "nout": 7, "is_forward_lm": False, "document_delimiter": "\n\n"},
        {"nlayers": 3, "hidden_size": 9, "tie_weights": True, "nout": None},
        {"unit": "byte"},
        {"unit": "byte", "is_forward_lm": False},
    ],
)
def test_every_architecture_that_is_written_gives_the_vectors_of_torch(settings: dict, tmp_path: Path) -> None:
    model = random_model(**settings)
    check_equal([model], export(tmp_path / "model", [model]))


def test_8_bits_change_the_vectors_little_and_say_how_much(tmp_path: Path) -> None:
    models = golden_pair()
    folder = export(tmp_path / "int8", models, "int8")
    loss = compare_vectors(models, load(folder), [" ".join(words) for words in SENTENCES])
    assert loss.median_cosine > 0.99
    assert 1e-5 < loss.greatest_difference < 0.2
    with pytest.raises(CorpusError, match="no words"):
        compare_vectors(models, load(folder), ["\n"])


def test_equal_models_give_equal_files(exported: Path, tmp_path: Path) -> None:
    again = export(tmp_path / "again", golden_pair())
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in exported.iterdir()
    }


def test_the_reader_in_the_folder_needs_nothing_of_charlm(exported: Path, tmp_path: Path) -> None:
    """It is run where neither torch nor charlm can be imported, and loads neither when charlm is there."""
    program = (
        "import sys\nfor name in ('torch', 'pyarrow', 'charlm'): sys.modules[name] = None\n"
        "from charlm_runtime import load\nprint(load('.').embed([['I', 'love', 'Berlin']])[0].shape)"
    )
    outcome = subprocess.run([sys.executable, "-c", program], cwd=exported, capture_output=True, text=True)
    assert outcome.stdout == "(3, 16)\n", outcome.stderr


@pytest.mark.parametrize(
    ("settings", "precision", "line"),
    [
        ({"recurrent_type": "GRU"}, "int8", "--int8 is for an LSTM, this model is a GRU"),
        ({"nlayers": 2, "projection": 4}, "fp32", "projection=4"),
    ],
)
def test_what_cannot_be_written_is_refused(settings: dict, precision: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=line):
        export(tmp_path / "model", [random_model(**settings)], precision)
    assert not any((tmp_path / "model").iterdir())


def damage(folder: Path, name: str) -> None:
    if name == "another version":
        settings = json.loads(OnnxFiles(folder).settings.read_text())
        OnnxFiles(folder).settings.write_text(json.dumps(settings | {"format": "charlm.onnx/9"}))
    elif name == "no settings":
        OnnxFiles(folder).settings.write_text("{")
    elif name == "another graph":
        OnnxFiles(folder).graph("forward").write_bytes(OnnxFiles(folder).graph("backward").read_bytes())
    elif name == "no graph":
        OnnxFiles(folder).graph("forward").unlink()
    else:
        settings = json.loads(OnnxFiles(folder).settings.read_text())
        del settings[name]
        OnnxFiles(folder).settings.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("another version", "has the format 'charlm.onnx/9', this program reads 'charlm.onnx/1'"),
        ("no settings", "is damaged"),
        ("another graph", "is not the file that the model was exported with"),
        ("no graph", "cannot read"),
        ("unit", "is damaged"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(exported: Path, what: str, line: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    damage(folder, what)
    with pytest.raises(FolderError, match=line) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("sentences", ["I love Berlin", ["I love Berlin"]])
def test_text_instead_of_words_is_refused(exported: Path, sentences: object) -> None:
    with pytest.raises(FolderError, match="a list of sentences, each a list of words"):
        load(exported).embed(sentences)


def test_no_sentence_has_no_vectors(exported: Path) -> None:
    assert load(exported).embed([]) == []
