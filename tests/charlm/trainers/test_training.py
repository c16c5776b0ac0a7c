"""The training engine: what it learns, how it resumes, what it refuses, and that it follows Flair's loop."""

import dataclasses
import json
import math
import os
import pydoc_data.topics
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.distributed.group import ProcessGroup
from charlm.errors import (
    CharLMWarning,
    ConfigError,
    CorpusError,
    ModelFileError,
    RunError,
    TrainingInterruptedError,
)
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.nn import precision
from charlm.nn.precision import instruction_set
from charlm.recipes import demo, find_recipe, flair_classic
from charlm.storage.fingerprints import sha256_of
from charlm.storage.locks import exclusive_lock
from charlm.trainers.events import Event
from charlm.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus
from charlm.trainers.lm.bptt import TruncatedBPTT
from charlm.trainers.lm.checkpoint import Checkpoint
from charlm.trainers.lm.engine import StopSignal, TrainingEngine
from charlm.trainers.lm.manifest import RunManifest, create_run
from charlm.trainers.lm.optimization import Budget, learning_rate_at
from charlm.trainers.lm.reporting import Reporter, TrainingResult
from charlm.trainers.observer import LOSS_COLUMNS, open_run_files
from tests.conftest import ROOT
from tests.flair import train_steps

pytestmark = pytest.mark.numeric

TINY = TrainingConfig(
    hidden_size=32, embedding_size=16, sequence_length=20, mini_batch_size=8, max_characters=40_000, precision="fp32"
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    """Real English text in three train shards of 20,000 characters, with its dictionary."""
    root = tmp_path_factory.mktemp("corpora") / "topics"
    text = "".join(pydoc_data.topics.topics[topic] for topic in sorted(pydoc_data.topics.topics))
    (root / "train").mkdir(parents=True)
    for number in range(3):
        (root / "train" / f"train_split_{number + 1:04d}").write_text(text[number * 20_000 : (number + 1) * 20_000])
    (root / "valid.txt").write_text(text[60_000:64_000])
    (root / "test.txt").write_text(text[64_000:68_000])
    Dictionary.from_items(character for character, _ in Counter(text).most_common()).save(CorpusFiles(root).dictionary)
    return root


def dictionary_of(corpus_dir: Path) -> Dictionary:
    return Dictionary.load_from_file(CorpusFiles(corpus_dir).dictionary)


class Recorder:
    """Keeps every event of a training."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]


def train(
    corpus_dir: Path,
    run_dir: Path,
    config: TrainingConfig = TINY,
    *,
    forward: bool = True,
    resume: bool = False,
    **engine_arguments,
) -> tuple[TrainingResult, Recorder]:
    dictionary = dictionary_of(corpus_dir)
    torch.manual_seed(config.seed)
    model = LanguageModel.from_config(config, dictionary, is_forward_lm=forward)
    corpus = TextCorpus(corpus_dir, dictionary, forward)
    recorder, files = Recorder(), RunFiles(run_dir)
    engine = TrainingEngine(
        model, corpus, config, files, observers=[*open_run_files(files), recorder], **engine_arguments
    )
    return engine.train(resume=resume), recorder


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
        assert bptt.step(streams, 0, sequence_length=5, learning_rate=0.5) == 10
        losses.append(model.decoder.bias)
    assert torch.equal(*losses)


def test_learning_rate_warms_up_and_falls_to_zero():
    config = dataclasses.replace(TINY, learning_rate=1.0, warmup_share=0.1)
    assert [learning_rate_at(config, progress) for progress in (0, 0.05, 0.1, 0.55, 1)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0]
    )


def test_budget_is_the_tightest_limit():
    config = dataclasses.replace(TINY, max_characters=1_000, max_epochs=2, max_minutes=1)
    budget = Budget.of(config, characters_per_epoch=400)
    assert budget == Budget(characters=800, seconds=60)
    assert budget.progress(200, 45) == 0.75


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


# ---- stopping and going on -----------------------------------------------------------------------------------------


def start_run(corpus_dir: Path, run_dir: Path, config: TrainingConfig) -> RunFiles:
    run = RunConfig(
        run_dir=str(run_dir), corpus_dir=str(corpus_dir), direction="forward", training=config, num_threads=1
    )
    return create_run(run, dictionary_of(corpus_dir))


def trainer_process(files: RunFiles, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "charlm.trainers.run", str(files.manifest), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_event(files: RunFiles, kind: str, count: int = 1, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if files.journal.exists() and files.journal.read_text().count(f'"event": "{kind}"') >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {kind} within {seconds} s")


RESUMED = dataclasses.replace(TINY, dropout=0.2, max_characters=400_000, checkpoint_minutes=0.002)


@pytest.fixture(scope="module")
def undisturbed(corpus_dir, tmp_path_factory) -> RunFiles:
    """The run that killed ones must end like; its checkpoints come at other moments."""
    config = dataclasses.replace(RESUMED, checkpoint_minutes=60)
    files = start_run(corpus_dir, tmp_path_factory.mktemp("runs") / "undisturbed", config)
    assert trainer_process(files).wait() == 0
    return files


def assert_killed_run_ends_like(undisturbed: RunFiles, corpus_dir: Path, run_dir: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    files = start_run(corpus_dir, run_dir, RESUMED)
    seconds = RunManifest.load(undisturbed).result["seconds"]
    for _ in range(kills):
        process = trainer_process(files, "--resume")
        time.sleep(2.0 + draw.uniform(0, seconds))  # about two seconds go into imports
        process.kill()
        process.wait()
    process = trainer_process(files, "--resume")
    _, errors = process.communicate()
    # A kill may come after the end: then there is nothing to resume.
    assert process.returncode == 0 or "is finished" in errors
    assert sha256_of(files.best_lm) == sha256_of(undisturbed.best_lm)
    ours, theirs = Checkpoint.load(files.checkpoint), Checkpoint.load(undisturbed.checkpoint)
    assert all(torch.equal(ours.model[name], theirs.model[name]) for name in theirs.model)
    events = [json.loads(line) for line in files.journal.read_text().splitlines()]
    for kind in ("train", "validation"):
        steps = [event["step"] for event in events if event["event"] == kind]
        assert steps == sorted(set(steps)), f"a {kind} event stands twice or out of order"
    assert files.loss_tsv.read_text() == undisturbed.loss_tsv.read_text()


def test_a_run_killed_three_times_ends_with_the_same_weights(undisturbed, corpus_dir, tmp_path):
    assert_killed_run_ends_like(undisturbed, corpus_dir, tmp_path / "killed", kills=3, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_run_killed_at_random_ends_with_the_same_weights(undisturbed, corpus_dir, tmp_path, seed):
    assert_killed_run_ends_like(undisturbed, corpus_dir, tmp_path / "killed", kills=1 + seed % 2, seed=seed)


LONG = dataclasses.replace(TINY, max_characters=1_000_000_000)


def test_terminated_run_leaves_a_checkpoint_and_a_usable_model(corpus_dir, tmp_path):
    files = start_run(corpus_dir, tmp_path / "run", LONG)
    process = trainer_process(files)
    wait_for_event(files, "train")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 143
    assert len(errors.strip().splitlines()) == 1
    assert "resume" in errors
    assert RunManifest.load(files).state == "interrupted"
    assert list(load_language_models(files.root)) == ["forward"]
    assert Checkpoint.load(files.checkpoint).restored_progress().step > 0


def test_two_trainers_never_write_one_run(corpus_dir, tmp_path):
    files = start_run(corpus_dir, tmp_path / "run", LONG)
    first = trainer_process(files)
    wait_for_event(files, "start")
    second = trainer_process(files, "--resume")
    _, errors = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert "another process" in errors


def test_trainer_ends_when_its_parent_is_killed(corpus_dir, tmp_path):
    files = start_run(corpus_dir, tmp_path / "run", LONG)
    script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'charlm.trainers.run', {str(files.manifest)!r}])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    child = int(parent.stdout.readline())
    wait_for_event(files, "train")
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
    wait_for_event(files, "interrupted")


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_optimizers_without_the_compiler_take_the_same_steps(kind):
    program = f"""
import sys, torch
from charlm.config import TrainingConfig
from charlm.nn.compat import avoid_compiler
from charlm.trainers.lm.optimization import build_optimizer
if "spared" in sys.argv:
    avoid_compiler()
torch.manual_seed(1)
model = torch.nn.Linear(3, 2)
optimizer = build_optimizer(TrainingConfig(optimizer={kind!r}, max_epochs=1), model)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.ones(3)).square().sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules, model.weight.tolist())
"""
    answers = [
        subprocess.run([sys.executable, "-c", program, *spared], capture_output=True, text=True, check=True).stdout
        for spared in ([], ["spared"])
    ]
    assert answers[1].split(" ", 1)[0] == "False"
    assert answers[1].split(" ", 1)[1] == answers[0].split(" ", 1)[1]


def test_interruption_inside_the_program_can_be_resumed_to_the_same_weights(corpus_dir, tmp_path):
    result, _ = train(corpus_dir, tmp_path / "whole")

    class StopsAt(Recorder):
        def on_event(self, event: Event) -> None:
            if event["event"] == "train" and event["step"] == 100:
                stop.request("enough")

    stop = StopSignal()
    dictionary, files = dictionary_of(corpus_dir), RunFiles(tmp_path / "stopped")
    corpus = TextCorpus(corpus_dir, dictionary, True)

    def engine(*observers: Recorder) -> TrainingEngine:
        torch.manual_seed(TINY.seed)
        model = LanguageModel.from_config(TINY, dictionary, is_forward_lm=True)
        return TrainingEngine(model, corpus, TINY, files, observers=[*open_run_files(files), *observers], stop=stop)

    with pytest.raises(TrainingInterruptedError, match="enough"):
        engine(StopsAt()).train()
    resumed = engine().train(resume=True)
    assert resumed.test == result.test
    assert sha256_of(files.best_lm) == sha256_of(tmp_path / "whole" / "best-lm.pt")


def test_resume_with_other_settings_is_refused(corpus_dir, tmp_path):
    train(corpus_dir, tmp_path)
    dictionary = dictionary_of(corpus_dir)
    other = dataclasses.replace(TINY, learning_rate=1e-3)
    model = LanguageModel.from_config(other, dictionary, is_forward_lm=True)
    engine = TrainingEngine(model, TextCorpus(corpus_dir, dictionary, True), other, RunFiles(tmp_path))
    with pytest.raises(RunError, match="learning_rate"):
        engine.train(resume=True)


def test_hostile_checkpoint_is_refused_and_not_executed(tmp_path):
    import pickle

    class Exploit:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    for content in (pickle.dumps(Exploit()), b"PK\x03\x04 truncated", b""):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(ModelFileError, match=r"checkpoint\.pt"):
            Checkpoint.load(tmp_path / "checkpoint.pt")
    torch.save({"model": Exploit()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelFileError, match=r"checkpoint\.pt"):
        Checkpoint.load(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "executed").exists()


# ---- guards --------------------------------------------------------------------------------------------------------


def test_exploding_loss_goes_back_twice_and_then_says_why(corpus_dir, tmp_path):
    config = dataclasses.replace(TINY, learning_rate=1e6, clip=1e9, warmup_share=0.0)
    with pytest.raises(RunError, match="learning_rate"):
        train(corpus_dir, tmp_path, config)
    events = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("guard") == 2
    assert events[-1]["event"] == "end"
    assert Checkpoint.load(tmp_path / "checkpoint.pt").restored_progress().rate_factor == 0.25


def test_rollback_halves_the_rate_and_training_goes_on(corpus_dir, tmp_path, monkeypatch):
    """One window of poisoned losses, then honest ones: the training recovers by itself."""
    real = Reporter.train

    def report(reporter: Reporter, learning_rate: float) -> None:
        progress = reporter._progress
        if progress.step == 50 and progress.rollbacks == 0:
            progress.window_nats = math.nan
        real(reporter, learning_rate)

    monkeypatch.setattr(Reporter, "train", report)
    result, recorder = train(corpus_dir, tmp_path)
    assert len(recorder.of("guard")) == 1
    assert max(event["learning_rate"] for event in recorder.of("train")[-100:]) <= TINY.learning_rate / 2
    assert math.isfinite(result.test.loss)


def test_full_disk_is_one_clear_line_and_keeps_the_last_checkpoint(corpus_dir, tmp_path, monkeypatch):
    train(corpus_dir, tmp_path)
    before = sha256_of(tmp_path / "checkpoint.pt")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("charlm.trainers.lm.checkpoint.torch.save", full)
    with pytest.raises(RunError, match=r"disk .* is full"):
        train(corpus_dir, tmp_path)
    assert sha256_of(tmp_path / "checkpoint.pt") == before
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("where", ["model", "batch"])
def test_full_memory_is_one_clear_line(corpus_dir, tmp_path, where):
    large = {"model": {"hidden_size": 20_000, "nlayers": 2}, "batch": {"sequence_length": 1_000, "mini_batch_size": 20}}
    config = dataclasses.replace(TINY, **large[where])
    if where == "batch":
        config = dataclasses.replace(config, hidden_size=2_500, embedding_size=500)
    files = start_run(corpus_dir, tmp_path / "run", config)
    code = (
        "import resource, sys; import charlm.trainers.run as run; "
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096; "
        "resource.setrlimit(resource.RLIMIT_AS, (used + 1_000_000_000,) * 2); "
        f"sys.exit(run.main([{str(files.manifest)!r}]))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 2, process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    assert "memory is full; lower hidden_size" in process.stderr
    assert RunManifest.load(files).state == "failed"


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
