"""Fine-tuning, export and serving on a GPU, on machines without one: see tests/simulated_cuda.py."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from charlm.artifacts import RunFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.serialization.bundle import write_bundle
from charlm.trainers.lm.engine import StopSignal
from charlm.trainers.lm.finetuning import adapted
from charlm.trainers.lm.manifest import create_run
from charlm.trainers.lm.training import run_training
from tests.charlm.trainers.runs import dictionary_of, write_corpus
from tests.simulated_cuda import simulated_cuda

pytestmark = pytest.mark.numeric

TEXTS = ["I love Berlin", "", "grass"]


def model_of(dictionary: Dictionary, *, is_forward: bool = True, recurrent_type: str = "LSTM") -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(dictionary, is_forward, 12, 1, 8, dropout=0.0, recurrent_type=recurrent_type).eval()


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpora") / "topics")


@pytest.mark.parametrize("recurrent_type", ["LSTM", "GRU"])
def test_a_model_is_fine_tuned_on_a_gpu(corpus_dir, tmp_path, monkeypatch, recurrent_type) -> None:
    monkeypatch.setattr("charlm.trainers.lm.reporting._SAMPLE_CHARACTERS", 3)
    model = model_of(dictionary_of(corpus_dir), recurrent_type=recurrent_type)
    model.save(tmp_path / "lm.pt")
    training = TrainingConfig(
        sequence_length=20, mini_batch_size=8, max_characters=3_200, validations=1, learning_rate=0.01
    )
    config = RunConfig(
        run_dir=str(tmp_path / "run"), corpus_dir=str(corpus_dir), direction="forward", num_threads=1,
        initial_model=str(tmp_path / "lm.pt"), training=dataclasses.replace(adapted(training, model), dropout=0.0),
    )  # fmt: skip
    with simulated_cuda():
        run = create_run(config, model.dictionary)
        result = run_training(run, resume=False, stop=StopSignal())
    assert result.test.loss < 4.5  # from 4.6
    (tuned,) = load_language_models(RunFiles(run.root).root).values()
    assert not torch.equal(tuned.rnn.weight_hh_l0, model.rnn.weight_hh_l0)


def bundle_of(models: dict[str, LanguageModel], folder: Path) -> str:
    return write_bundle(folder, {name: model.language_model_state() for name, model in models.items()}, {})


def test_models_on_a_gpu_are_exported_as_those_of_the_cpu_and_served(corpus_dir, tmp_path) -> None:
    from tasks.registry.pyfunc_model import BundleModel

    dictionary = dictionary_of(corpus_dir)
    models = {name: model_of(dictionary, is_forward=name == "forward") for name in ("forward", "backward")}
    expected = bundle_of(models, tmp_path / "cpu")
    answers = {}
    for device in ("cpu", "cuda"):
        served = BundleModel()
        with simulated_cuda() as ledger, pytest.MonkeyPatch.context() as patch:
            patch.setenv("CHARLM_DEVICE", device)
            assert bundle_of({name: lm.to(device) for name, lm in models.items()}, tmp_path / device) == expected
            served.load_context(SimpleNamespace(artifacts={"bundle": tmp_path / device}))
            ledger.clear()
            answers[device] = served.predict(None, TEXTS)
            waits = [line for line in ledger.waits if "answers.py" in line]
            assert bool(waits) == (device == "cuda")
            assert sum(ledger.waits.values()) <= len(TEXTS)  # not one for each word
    for ours, theirs in zip(answers["cuda"], answers["cpu"], strict=True):
        assert ours["tokens"] == theirs["tokens"]
        assert torch.allclose(torch.tensor(ours["embeddings"]), torch.tensor(theirs["embeddings"]), atol=1e-6)
