"""The training engine: what it learns, what it refuses, and that it follows Flair's loop."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.artifacts import RunFiles
from charlm.data.dictionary import Dictionary
from charlm.distributed.group import ProcessGroup
from charlm.errors import (
    CharLMWarning,
    ConfigError,
    CorpusError,
    RunError,
)
from charlm.language_models.language_model import LanguageModel
from charlm.nn import precision
from charlm.nn.precision import instruction_set
from charlm.recipes import demo, find_recipe, flair_classic
from charlm.storage.locks import exclusive_lock
from charlm.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus
from charlm.trainers.lm.bptt import TruncatedBPTT
from charlm.trainers.lm.checkpoint import Checkpoint
from charlm.trainers.lm.optimization import Budget, learning_rate_at, shortened_sequence_length
from charlm.trainers.observer import LOSS_COLUMNS
from tests.charlm.trainers.runs import TINY, dictionary_of, train, write_corpus
from tests.conftest import ROOT
from tests.flair import train_steps

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpora") / "topics")


# ---- learning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forward", [True, False])
def test_training_learns_in_both_directions(corpus_dir, tmp_path, forward):
    result, recorder = train(corpus_dir, tmp_path, forward=forward)
    first, last = recorder.of("validation")[0], recorder.of("validation")[-1]
    assert last["bits_per_character"] < first["bits_per_character"] < math.log2(len(dictionary_of(corpus_dir)))
    assert result.test.characters > 3_000


def test_reported_scores_are_those_of_the_saved_best_model(corpus_dir, tmp_path):
    result, recorder = train(corpus_dir, tmp_path, dataclasses.replace(TINY, validations=4))
    model = LanguageModel.load_language_model(tmp_path / "best-lm.pt")
    assert result.valid.loss == min(event["loss"] for event in recorder.of("validation"))
    from charlm.evaluation.language_model import score_file

    assert score_file(model, corpus_dir / "test.txt").loss == result.test.loss


def test_run_folder_holds_table_log_and_journal(corpus_dir, tmp_path):
    _, recorder = train(corpus_dir, tmp_path)
    rows = (tmp_path / "loss.tsv").read_text().splitlines()
    assert rows[0].split("\t") == list(LOSS_COLUMNS)
    assert len(rows) - 1 == len(recorder.of("validation")) == TINY.validations
    assert [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()] == recorder.events
    assert "bits per character" in (tmp_path / "training.log").read_text()


def test_budget_is_spent_and_not_exceeded_by_more_than_a_step(corpus_dir, tmp_path):
    result, _ = train(corpus_dir, tmp_path)
    assert 40_000 <= result.characters < 40_000 + TINY.sequence_length * TINY.mini_batch_size


def test_an_epoch_reads_every_stream_of_every_shard_once(corpus_dir, tmp_path):
    config = dataclasses.replace(TINY, max_characters=None, max_epochs=1, mini_batch_size=10)
    result, recorder = train(corpus_dir, tmp_path, config)
    corpus = TextCorpus(corpus_dir, dictionary_of(corpus_dir), True)
    assert result.characters == sum((info.units // 10 - 1) * 10 for info in corpus.infos)
    assert sorted(corpus.shard_order(1, 0)) == [0, 1, 2]
    assert {event["split"] for event in recorder.of("train")} == {0, 1, 2}


def test_max_minutes_ends_the_training_with_a_validation(corpus_dir, tmp_path):
    config = dataclasses.replace(TINY, max_characters=None, max_minutes=0.02)
    result, recorder = train(corpus_dir, tmp_path, config)
    assert 1.2 <= result.seconds < 10
    assert recorder.of("train")[-1]["learning_rate"] < 0.5 * config.learning_rate
    assert recorder.of("validation")[-1]["characters"] == result.characters


def test_validations_wait_where_they_would_take_too_much_of_the_minutes(corpus_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("charlm.trainers.lm.validation.VALIDATION_SHARE", 0.0)  # one is too much already
    config = dataclasses.replace(TINY, max_characters=None, max_minutes=0.02, validations=10)
    result, recorder = train(corpus_dir, tmp_path / "minutes", config)
    first, last = recorder.of("validation")
    assert first["characters"] < 0.5 * result.characters
    assert last["characters"] == result.characters
    _, recorder = train(corpus_dir, tmp_path / "characters", dataclasses.replace(TINY, validations=10))
    assert len(recorder.of("validation")) == 10


def test_gradient_accumulation_reads_several_sequences_a_step(corpus_dir, tmp_path):
    _, plain = train(corpus_dir, tmp_path / "plain")
    _, accumulated = train(corpus_dir, tmp_path / "accumulated", dataclasses.replace(TINY, gradient_accumulation=2))
    assert plain.events[-1]["step"] == pytest.approx(250, abs=3)  # a shard's last sequence may be short
    assert accumulated.events[-1]["step"] == pytest.approx(125, abs=3)


def test_what_a_shard_has_left_is_averaged_over_what_is_left(corpus_dir):
    streams = np.random.default_rng(1).integers(1, 20, (11, 2)).astype(np.uint8)  # two sequences of 5 rows
    losses = []
    for accumulation in (2, 4):
        torch.manual_seed(1)
        config = dataclasses.replace(TINY, optimizer="sgd", mini_batch_size=2, gradient_accumulation=accumulation)
        model = LanguageModel.from_config(config, dictionary_of(corpus_dir), is_forward_lm=True)
        bptt = TruncatedBPTT(model, config, ProcessGroup(), "fp32")
        assert bptt.step(bptt.prepare(streams), 0, sequence_length=5, learning_rate=0.5) == 10
        losses.append(model.decoder.bias)
    assert torch.equal(*losses)


def test_learning_rate_warms_up_and_falls_to_zero():
    config = dataclasses.replace(TINY, learning_rate=1.0, warmup_share=0.1)
    assert [learning_rate_at(config, progress) for progress in (0, 0.05, 0.1, 0.55, 1)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0]
    )


def test_budget_is_the_tightest_limit():
    config = dataclasses.replace(TINY, max_characters=1_000, max_epochs=2, max_minutes=1)
    budget = Budget.of(config, units_per_epoch=400)
    assert budget == Budget(units=800, seconds=60)
    assert budget.progress(200, 45) == 0.75


def test_a_budget_of_few_steps_is_spent_in_shorter_sequences(corpus_dir, tmp_path):
    config = dataclasses.replace(TINY, sequence_length=20, min_steps=1_000)
    lengths = [shortened_sequence_length(config, steps) for steps in (0.5, 100, 250, 251, 500, 999, 1_000, 1e9)]
    assert lengths == [5, 5, 5, 8, 10, 20, 20, 20]
    assert shortened_sequence_length(dataclasses.replace(config, min_steps=None), 1) == 20
    # By characters the length is the same all along; by minutes it follows the speed.
    steps = 40_000 / (20 * TINY.mini_batch_size)
    result, recorder = train(corpus_dir, tmp_path / "characters", config)
    assert {event["sequence_length"] for event in recorder.of("train")} == {5}
    assert recorder.events[-1]["step"] == pytest.approx(4 * steps, rel=0.05)
    assert result.characters < 40_000 + 5 * TINY.mini_batch_size
    config = dataclasses.replace(config, max_characters=None, max_minutes=0.02)
    _, recorder = train(corpus_dir, tmp_path / "minutes", config)
    assert recorder.of("train")[-1]["sequence_length"] in {5, 8, 10, 13, 15, 18, 20}
    assert recorder.of("train")[-1]["progress"] > 0.9


def test_plateau_cuts_the_rate_after_patience_and_ends_when_it_is_gone(corpus_dir, tmp_path):
    # Every rate is hopeless, so each validation after the first is bad.
    config = dataclasses.replace(
        flair_classic(), hidden_size=8, embedding_size=4, sequence_length=50, mini_batch_size=8, dropout=0.0,
        learning_rate=1e-9, patience=0, anneal_factor=0.01, max_epochs=50,
    )  # fmt: skip
    result, recorder = train(corpus_dir, tmp_path, config)
    assert "annealed" in result.reason
    rates = [event["learning_rate"] for event in recorder.of("validation")]
    assert rates == pytest.approx([1e-9, 1e-9, 1e-11, 1e-13][: len(rates)])


# ---- Flair's loop --------------------------------------------------------------------------------------------------


GREATEST_DIFFERENCE = 1e-9
"""Of a loss in float64, where 3e-15 was seen between SSE4.1 and AVX2; tests/flair/train_steps.py has the reasons."""


@pytest.fixture
def in_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("in_float64")
def test_flair_classic_follows_flairs_loop_step_for_step(tmp_path):
    golden = json.loads((ROOT / "tests" / "golden" / "train_steps.json").read_text())["losses"]
    root = tmp_path / "corpus"
    train_steps.write_corpus(root)
    dictionary = Dictionary.load_from_file(root / "char_mappings")
    corpus = TextCorpus(root, dictionary, True, random_case_flip=False, shuffle=False)
    model = LanguageModel(dictionary, True, **train_steps.MODEL)
    train_steps.set_weights(model)
    LanguageModelTrainer(model, corpus).train(tmp_path / "run", **train_steps.SETTINGS)
    events = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "train"]
    assert losses == pytest.approx(golden, rel=0, abs=GREATEST_DIFFERENCE)


@pytest.mark.flair
def test_golden_losses_are_what_flair_computes_today(tmp_path):
    python = Path(os.environ.get("CHARLM_FLAIR_PYTHON", ".venv-flair/bin/python"))
    if not python.exists():
        pytest.skip(f"no Flair environment at {python}; make test-flair builds one")
    output = tmp_path / "losses.json"
    subprocess.run([python, train_steps.__file__, output], check=True, capture_output=True)
    golden = json.loads((ROOT / "tests" / "golden" / "train_steps.json").read_text())
    assert json.loads(output.read_text())["losses"] == pytest.approx(golden["losses"], rel=0, abs=GREATEST_DIFFERENCE)


# ---- precision -----------------------------------------------------------------------------------------------------


def test_the_journal_names_the_precision_and_the_instructions_that_are_used(corpus_dir, tmp_path):
    _, recorder = train(corpus_dir, tmp_path)
    (start,) = recorder.of("start")
    assert (start["precision"], start["instruction_set"]) == ("fp32", instruction_set(torch.device("cpu")))
    assert recorder.of("guard") == []


def test_where_bf16_is_not_possible_a_training_is_the_one_in_fp32_and_says_so(corpus_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "_cpu_computes_bf16", lambda: False)
    with pytest.warns(CharLMWarning, match="precision=bf16 is not possible"):
        found, recorder = train(corpus_dir, tmp_path / "bf16", dataclasses.replace(TINY, precision="bf16"))
    expected, _ = train(corpus_dir, tmp_path / "fp32")
    assert found.test == expected.test
    assert recorder.of("start")[0]["precision"] == "fp32"
    assert ["precision=bf16 is not possible" in event["reason"] for event in recorder.of("guard")] == [True]


def test_a_training_that_goes_on_in_another_precision_says_so(corpus_dir, tmp_path):
    files = RunFiles(tmp_path)
    train(corpus_dir, tmp_path, dataclasses.replace(TINY, precision="auto", max_characters=20_000))
    checkpoint = Checkpoint.load(files.checkpoint)
    before = {"fp32": "bf16", "bf16": "fp32"}[checkpoint.precision]
    dataclasses.replace(checkpoint, precision=before).save(files.checkpoint)
    with pytest.warns(CharLMWarning, match=f"was in {before} so far"):
        train(corpus_dir, tmp_path, dataclasses.replace(TINY, precision="auto", max_characters=20_000), resume=True)
    assert f"was in {before} so far" in files.training_log.read_text()


# ---- mistakes ------------------------------------------------------------------------------------------------------


def test_corpus_too_small_for_the_mini_batch_says_what_is_needed(corpus_dir, tmp_path):
    config = dataclasses.replace(TINY, mini_batch_size=15_000)
    with pytest.raises(CorpusError, match="mini_batch_size=15000 needs at least 30000"):
        train(corpus_dir, tmp_path, config)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "run_dir"),
        ("[1]", "no JSON object"),
        ("{", "damaged"),
        ('{"run_dir": "r", "corpus_dir": "nowhere", "direction": "forward", "training": {"hidden": 1}}', "hidden"),
        ('{"run_dir": "r", "corpus_dir": "nowhere", "direction": "forward", "training": {"max_epochs": 1}}', "nowhere"),
    ],
)
def test_process_entry_says_what_is_wrong_in_one_line(tmp_path, content, said):
    (tmp_path / "config.json").write_text(content)
    command = [sys.executable, "-m", "charlm.trainers.run", str(tmp_path / "config.json")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert len(process.stderr.strip().splitlines()) == 1
    assert said in process.stderr
    assert not (tmp_path / "r").exists()


def test_unknown_recipe_lists_the_known_ones():
    with pytest.raises(ConfigError, match="demo"):
        find_recipe("fast")
    assert find_recipe("demo") == demo()


def test_trainer_refuses_a_corpus_of_the_other_direction(corpus_dir):
    dictionary = dictionary_of(corpus_dir)
    model = LanguageModel(dictionary, True, hidden_size=8, nlayers=1)
    with pytest.raises(ConfigError, match="same way"):
        LanguageModelTrainer(model, TextCorpus(corpus_dir, dictionary, False))
    with pytest.raises(ConfigError, match=r"a line is a document here: document_delimiter is '\\n', got '\\t'"):
        TextCorpus(corpus_dir, dictionary, document_delimiter="\t")


def test_trainer_draws_the_same_dropout_for_the_same_seed(corpus_dir, tmp_path):
    dictionary = dictionary_of(corpus_dir)
    weights = []
    for number in range(2):
        torch.manual_seed(1)
        model = LanguageModel(dictionary, True, hidden_size=8, nlayers=1, dropout=0.5)
        torch.manual_seed(number)  # what a program has drawn before does not matter
        trainer = LanguageModelTrainer(model, TextCorpus(corpus_dir, dictionary, True))
        trainer.train(tmp_path / str(number), sequence_length=50, mini_batch_size=8, max_epochs=1, seed=7)
        weights.append(model.decoder.weight)
    assert torch.equal(*weights)


def test_two_trainers_never_write_one_folder(corpus_dir, tmp_path):
    dictionary = dictionary_of(corpus_dir)
    model = LanguageModel(dictionary, True, hidden_size=8, nlayers=1)
    trainer = LanguageModelTrainer(model, TextCorpus(corpus_dir, dictionary, True))
    with exclusive_lock(RunFiles(tmp_path).lock, busy="busy"), pytest.raises(RunError, match="another process"):
        trainer.train(tmp_path, sequence_length=50)


def test_a_plain_folder_of_text_stays_as_it_is(tmp_path):
    root = tmp_path / "corpus"
    train_steps.write_corpus(root)
    before = sorted(root.rglob("*"))
    corpus = TextCorpus(root, Dictionary.load_from_file(root / "char_mappings"), True)
    assert corpus.num_units > 0
    assert sorted(root.rglob("*")) == before


def test_projection_layers_and_gru_train_too(corpus_dir, tmp_path):
    config = dataclasses.replace(TINY, nlayers=2, nout=24, dropout=0.1, max_characters=10_000)
    result, _ = train(corpus_dir, tmp_path, config)
    assert math.isfinite(result.test.loss)
    dictionary = dictionary_of(corpus_dir)
    model = LanguageModel(dictionary, True, hidden_size=16, nlayers=1, recurrent_type="GRU", dropout=0.0)
    trainer = LanguageModelTrainer(model, TextCorpus(corpus_dir, dictionary, True))
    assert math.isfinite(
        trainer.train(tmp_path / "gru", sequence_length=20, mini_batch_size=8, max_epochs=1).valid.loss
    )
