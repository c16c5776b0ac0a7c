"""Trainings by words: shared weights, every kind of dropout, penalties, random lengths and averaged weights."""

import dataclasses
import json
import math
import pydoc_data.topics
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from charlm.artifacts import BundleFiles, CorpusFiles, RunFiles
from charlm.config import DictionaryConfig, RunConfig, SplitConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.distributed.group import ProcessGroup
from charlm.errors import ConfigError, ModelFileError, TrainingInterruptedError
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.nn.penalties import activation_penalties
from charlm.recipes import RECIPES, changed_recipe
from charlm.serialization.bundle import write_bundle
from charlm.serialization.flair_file import write_flair_file
from charlm.storage.torch_file import read_torch_file
from charlm.text.corpus.counting import build_dictionary, count_shard
from charlm.text.corpus.encoding import encoded_info
from charlm.text.corpus.splitting import split_corpus
from charlm.trainers.events import Event
from charlm.trainers.lm.averaging import WeightAverage, note_loss
from charlm.trainers.lm.build import item_counts
from charlm.trainers.lm.checkpoint import Checkpoint, Progress
from charlm.trainers.lm.engine import StopSignal
from charlm.trainers.lm.optimization import Budget, learning_rate_at, sequence_length_at
from charlm.trainers.lm.planning import plan_training
from charlm.trainers.lm.text_corpus import TextCorpus
from charlm.trainers.lm.training import run_training
from charlm.trainers.lm.validation import reason_to_stop_early, validate
from tests.charlm.trainers.runs import start_run, trainer_process, wait_for_event

pytestmark = pytest.mark.numeric

EVERYTHING = dataclasses.replace(
    changed_recipe("awd_lstm_lm_600", []),
    hidden_size=24,
    embedding_size=16,
    nlayers=2,
    softmax="clustered",
    optimizer="adamw",
    learning_rate=0.3,  # high enough for a validation to be worse than those before
    schedule="linear",
    sequence_length=12,
    mini_batch_size=4,
    averaging_patience=1,
    validations=12,
    max_epochs=None,
    max_words=5_000,
)
"""All that word recipes use, in one."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    """Real English by words: 10,000 of them, a dictionary of some 600."""
    root = tmp_path_factory.mktemp("corpora")
    raw = root / "raw.txt"
    raw.write_text("".join(pydoc_data.topics.topics[topic] for topic in sorted(pydoc_data.topics.topics))[:70_000])
    corpus = CorpusFiles(root / "topics")
    config = SplitConfig(unit="word", tokenizer="whitespace", document="line", valid_share=0.1, test_share=0.1)
    split_corpus([str(raw)], corpus, config)
    for shard in corpus.shards():
        count_shard(shard, corpus.counts(shard.name), "word")
    build_dictionary(corpus, DictionaryConfig(coverage=1.0, min_count=3), "word")
    return corpus.root


@pytest.fixture(scope="module")
def undisturbed(corpus_dir, tmp_path_factory) -> RunFiles:
    files = start_run(corpus_dir, tmp_path_factory.mktemp("runs") / "undisturbed", EVERYTHING)
    run_training(files, resume=False, stop=StopSignal())
    return files


class StopAfter:
    """Requests a stop at a number of `train` events."""

    def __init__(self, stop: StopSignal, number: int) -> None:
        self.stop, self.left = stop, number

    def on_event(self, event: Event) -> None:
        self.left -= event["event"] == "train"
        if not self.left:
            self.stop.request("enough")


def assert_same_end(files: RunFiles, undisturbed: RunFiles) -> None:
    assert files.best_lm.read_bytes() == undisturbed.best_lm.read_bytes()
    own, other = Checkpoint.load(files.checkpoint), Checkpoint.load(undisturbed.checkpoint)
    for tensors, expected in ((own.model, other.model), (own.average, other.average)):
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], expected[name]) for name in tensors)


# ---- trainings -----------------------------------------------------------------------------------------------------


def test_a_training_with_everything_learns_and_averages(undisturbed):
    events = [json.loads(line) for line in undisturbed.journal.read_text().splitlines()]
    perplexities = [event["perplexity"] for event in events if event["event"] == "validation"]
    model = LanguageModel.load_language_model(undisturbed.best_lm)
    assert perplexities[-1] < 0.5 * len(model.dictionary)
    assert min(perplexities) == perplexities[-1] or len(set(perplexities)) > 1
    assert len(model.cutoffs) > 0
    assert model.rnn.state_sizes == [24, 16]
    checkpoint = Checkpoint.load(undisturbed.checkpoint)
    assert checkpoint.average is not None
    assert any(not torch.equal(checkpoint.model[name], checkpoint.average[name]) for name in checkpoint.model)
    end = events[-1]
    per_word = end["characters"] / checkpoint.progress["characters"]
    assert end["characters_per_second"] == pytest.approx(end["units_per_second"] * per_word, rel=1e-3)
    assert end["characters"] > 4 * 5_000


def test_a_stopped_and_resumed_training_ends_with_the_same_weights(undisturbed, corpus_dir, tmp_path):
    files, stop = start_run(corpus_dir, tmp_path / "run", EVERYTHING), StopSignal()
    with pytest.raises(TrainingInterruptedError):
        run_training(files, resume=False, stop=stop, observers=(StopAfter(stop, 60),))
    run_training(files, resume=True, stop=stop)
    assert_same_end(files, undisturbed)


def test_a_killed_training_ends_with_the_same_weights(undisturbed, corpus_dir, tmp_path):
    files = start_run(corpus_dir, tmp_path / "run", dataclasses.replace(EVERYTHING, checkpoint_minutes=0.0005))
    process = trainer_process(files)
    wait_for_event(files, "checkpoint", 4)
    process.kill()
    process.wait()
    if json.loads(files.manifest.read_text())["state"] != "finished":
        run_training(files, resume=True, stop=StopSignal())
    assert_same_end(files, undisturbed)


def test_a_plan_has_memory_and_speed_of_a_model_of_words(corpus_dir):
    plan = plan_training(CorpusFiles(corpus_dir), EVERYTHING, num_threads=1, calibration_seconds=1)
    assert plan.memory_bytes > 100e6
    assert plan.characters > 4 * 5_000  # characters of the text, not words


# ---- files ---------------------------------------------------------------------------------------------------------


def test_bundles_and_model_files_give_the_same_model_and_flair_refuses_them(undisturbed, tmp_path):
    model = LanguageModel.load_language_model(undisturbed.best_lm)
    write_bundle(tmp_path / "bundle", {"forward": model.language_model_state()}, {})
    files = BundleFiles(tmp_path / "bundle")
    assert not files.best_lm("forward").exists()
    settings = json.loads(files.config("forward").read_text())
    assert settings["tie_weights"] is True
    assert settings["cutoffs"] == list(model.cutoffs)
    again = load_language_models(tmp_path / "bundle")["forward"]
    assert "decoder.weight" not in again.state_dict()
    ids = torch.randint(len(model.dictionary), (9, 2))
    for other in (again, LanguageModel.load_language_model(undisturbed.best_lm)):
        assert other.config == model.config
        assert torch.equal(other.loss(ids[:-1], ids[1:])[0], model.loss(ids[:-1], ids[1:])[0])
    with pytest.raises(ModelFileError, match=r"charlm\.data\.dictionary"):  # what Flair's own reader does not know
        read_torch_file(undisturbed.best_lm, classes=frozenset())


def test_shared_weights_of_a_character_model_are_kept_from_flair_too(tmp_path):
    model = LanguageModel(Dictionary.from_items("abc \n"), True, 8, 1, embedding_size=8, tie_weights=True)
    write_flair_file(model.language_model_state(), tmp_path / "tied.pt")
    assert b"charlm.data.dictionary" in (tmp_path / "tied.pt").read_bytes()
    assert LanguageModel.load_language_model(tmp_path / "tied.pt").config == model.config
    plain = LanguageModel(Dictionary.from_items("abc \n"), True, 8, 1, embedding_size=8)
    write_flair_file(plain.language_model_state(), tmp_path / "plain.pt")
    assert b"charlm.data.dictionary" not in (tmp_path / "plain.pt").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoffs": [4, 2]}, "ascending"),
        ({"cutoffs": [600_000]}, "a cluster begins at 600000 in a dictionary of"),
        ({"cutoffs": "many"}, "cutoffs are whole numbers"),
        ({"tie_weights": False}, "needs tie_weights"),
        ({"weight_dropout": 2.0}, "weight_dropout must be in"),
        ({"projection": 16}, "tensor"),
        ({"recurrent_type": "GRU"}, "for an LSTM only"),
        ({"embedding_size": 10**6}, "shape"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(undisturbed, tmp_path, changes, message):
    model = LanguageModel.load_language_model(undisturbed.best_lm)
    write_bundle(tmp_path / "bundle", {"forward": model.language_model_state()}, {})
    path = BundleFiles(tmp_path / "bundle").config("forward")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelFileError, match=message) as caught:
        load_language_models(tmp_path / "bundle")
    assert "\n" not in str(caught.value)


# ---- settings ------------------------------------------------------------------------------------------------------


def test_recipes_of_characters_have_no_new_fields_in_their_fingerprint():
    known = set(TrainingConfig.names()) - TrainingConfig.OMITTED_AT_DEFAULT
    for name in ("demo", "cpu_small", "gpu_base", "gpu_large", "finetune", "flair_classic"):
        assert RECIPES[name]().to_json().keys() == known
        run = RunConfig(run_dir=".", corpus_dir=".", direction="forward", training=RECIPES[name]())
        assert run.to_json()["training"].keys() == known
    for recipe in RECIPES.values():
        assert TrainingConfig.from_json(json.loads(json.dumps(recipe().to_json()))) == recipe()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["softmax=clustered"], "tie_weights=true"),
        (["tie_weights=true", "nlayers=1"], "embedding_size="),
        (["projection=9999"], "smaller than hidden_size"),
        (["weight_dropout=1"], "weight_dropout must be in"),
        (["softmax=fast"], "softmax is one of"),
        (["activation_penalty=-1"], "activation_penalty must be 0 or more"),
        (["max_words=0"], "max_words must be a number greater than 0"),
        (["max_epochs=none", "max_characters=none"], "set max_epochs, max_characters, max_words or max_minutes"),
    ],
)
def test_a_mistake_in_settings_is_one_line(settings, message):
    with pytest.raises(ConfigError, match=message):
        changed_recipe("demo", settings)


@pytest.mark.parametrize("name", [name for name in RECIPES if "lstm" in name or name.startswith("word")])
def test_every_recipe_of_words_makes_a_model_with_shared_weights(name):
    config = RECIPES[name]()
    model = LanguageModel.from_config(config, Dictionary.from_items("ab \n"), is_forward_lm=True)
    assert isinstance(model.encoder, nn.Embedding)
    assert model.output_size == config.embedding_size
    assert "decoder.weight" not in model.state_dict()
    assert len(list(model.parameters())) == len(model.state_dict())


def test_a_budget_in_characters_of_text_is_converted_to_words():
    config = TrainingConfig(max_characters=1_000, max_words=900)
    assert Budget.of(config, units_per_epoch=10, characters_per_unit=5.0).units == 200
    assert Budget.of(config, units_per_epoch=10).units == 900


def test_settings_in_characters_are_characters_of_the_text(corpus_dir, tmp_path):
    dictionary = Dictionary.load_from_file(CorpusFiles(corpus_dir).dictionary)
    corpus = TextCorpus(corpus_dir, dictionary, True)
    assert 4 < corpus.characters_per_unit < 8
    config = TrainingConfig(stop_characters=1_000, patience_characters=1_000, validation_characters=2_000, max_words=1)
    progress = Progress(units=150, validations=1)
    assert reason_to_stop_early(config, progress, corpus) is None
    progress.units = 250
    assert "not improved for 1," in reason_to_stop_early(config, progress, corpus)

    model = LanguageModel.from_config(EVERYTHING, dictionary, is_forward_lm=True)
    plateau = dataclasses.replace(config, schedule="plateau", validations=None)
    for units, factor in ((200, 1.0), (100, 1.0), (350, 0.25)):  # the first one is an improvement
        progress = Progress(units=units, patient_since=100, best_loss=math.inf if units == 200 else 0.0)
        validation = validate(model, corpus, plateau, progress, ProcessGroup())
        assert progress.rate_factor == factor
    assert 1_000 < validation.score.characters < 4_000 < encoded_info(corpus.valid, dictionary).characters


def test_lengths_are_random_but_the_same_for_a_seed_and_a_step():
    config = dataclasses.replace(EVERYTHING, sequence_length=70)
    lengths = [sequence_length_at(config, 0, step) for step in range(400)]
    assert lengths == [sequence_length_at(config, 3, step) for step in range(400)]
    assert lengths != [sequence_length_at(dataclasses.replace(config, seed=2), 0, step) for step in range(400)]
    assert np.median(lengths) == pytest.approx(70, abs=2)
    assert 0.02 < np.mean(np.array(lengths) < 50) < 0.09  # one of twenty around 35
    assert min(lengths) >= 5
    assert learning_rate_at(config, 0.5) > 0


def test_counts_of_words_start_the_biases_of_the_softmax(corpus_dir):
    dictionary = TextCorpus(corpus_dir, Dictionary.load_from_file(CorpusFiles(corpus_dir).dictionary), True).dictionary
    run = RunConfig(run_dir=".", corpus_dir=str(corpus_dir), direction="forward", training=EVERYTHING)
    counts = item_counts(run, dictionary)
    assert counts[dictionary.get_idx_for_item("the")] > 100
    assert counts[0] > 1_000  # all that is rarer than three
    config = dataclasses.replace(EVERYTHING, initialization="gatewise")
    model = LanguageModel.from_config(config, dictionary, is_forward_lm=True, counts=counts).eval()
    predicted = model(torch.zeros(1, 1, dtype=torch.long))[0][0, 0].softmax(0)
    shares = torch.from_numpy(counts / counts.sum()).float()
    assert float((predicted.log() - shares.log()).detach()[counts > 0].abs().max()) < 0.5


# ---- averages and penalties ----------------------------------------------------------------------------------------


def test_averaging_begins_when_a_validation_is_worse_than_the_best_but_the_last_few():
    progress = Progress()
    for step, loss in enumerate([5.0, 4.0, 4.5, 4.2, 3.9, 3.95]):
        progress.step = step
        note_loss(progress, loss, 2)
        assert progress.averaging_since == -1
    progress.step = 9
    note_loss(progress, 4.1, 2)  # worse than 4.0, which came before the last two
    assert progress.averaging_since == 9


def test_the_average_is_the_mean_of_the_weights_after_each_step():
    model = nn.Linear(2, 1)
    average, seen = WeightAverage(model), []
    for number in range(4):
        nn.init.constant_(model.weight, float(number**2))
        average.add(model)
        seen.append(model.weight.detach().clone())
    mean = torch.stack(seen).mean(0)
    again = WeightAverage.restored(average.state(), nn.Linear(2, 1))
    with again.applied(model):
        torch.testing.assert_close(model.weight, mean)
    assert torch.equal(model.weight, seen[-1])
    assert again.steps == 4


def test_penalties_are_means_of_squares():
    output = torch.tensor([[[1.0]], [[3.0]], [[0.0]]])  # (T, B, H)
    assert float(activation_penalties(output, 2 * output, activation=2.0, slowness=0.0)) == pytest.approx(2 * 40 / 3)
    assert float(activation_penalties(output, output, activation=0.0, slowness=1.0)) == pytest.approx((4 + 9) / 2)
    assert math.isfinite(activation_penalties(output[:1], output[:1], activation=1.0, slowness=1.0))
