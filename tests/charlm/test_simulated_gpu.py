"""The GPU path on machines without a GPU: nothing mixes devices, what is computed is right, and no step waits."""

import dataclasses
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from charlm.artifacts import RunFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.distributed.group import ProcessGroup
from charlm.errors import CharLMWarning, ConfigError, RunError, TrainingInterruptedError
from charlm.evaluation.language_model import score_file
from charlm.language_models.language_model import LanguageModel
from charlm.nn.mixed_precision import LOSS_SCALE
from charlm.trainers.language_model_trainer import LanguageModelTrainer
from charlm.trainers.lm.build import build_engine
from charlm.trainers.lm.checkpoint import Checkpoint
from charlm.trainers.lm.engine import StopSignal, TrainingEngine
from charlm.trainers.lm.manifest import RunManifest, create_run
from charlm.trainers.lm.text_corpus import TextCorpus
from charlm.trainers.lm.training import run_training
from tests.charlm.trainers.runs import Recorder, dictionary_of, write_corpus
from tests.simulated_cuda import simulated_cuda

pytestmark = pytest.mark.numeric

TINY = TrainingConfig(
    hidden_size=16, embedding_size=8, sequence_length=20, mini_batch_size=8, max_characters=6_400, validations=1
)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpora") / "topics")


@pytest.fixture(autouse=True)
def short_samples(monkeypatch) -> None:
    """A sample of text after each validation is the most that a small training computes."""
    monkeypatch.setattr("charlm.trainers.lm.reporting._SAMPLE_CHARACTERS", 3)


def new_run(corpus_dir: Path, run_dir: Path, device: str = "auto", **changes: object) -> RunFiles:
    config = RunConfig(
        run_dir=str(run_dir), corpus_dir=str(corpus_dir), direction="forward", device=device, num_threads=1,
        training=dataclasses.replace(TINY, **changes),
    )  # fmt: skip
    return create_run(config, dictionary_of(corpus_dir))


def trained(run: RunFiles, *, resume: bool = False, stop: StopSignal | None = None):
    recorder = Recorder()
    result = run_training(run, resume=resume, stop=stop or StopSignal(), observers=(recorder,))
    return result, recorder


class StopAfter(StopSignal):
    """A request to stop that comes after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @property
    def reason(self) -> str | None:
        self.steps -= 1
        return "the test" if self.steps <= 0 else None

    def clear(self) -> None: ...


def engine_on_gpu(corpus_dir: Path, run_dir: Path, config: TrainingConfig = TINY) -> TrainingEngine:
    dictionary = dictionary_of(corpus_dir)
    torch.manual_seed(config.seed)
    model = LanguageModel.from_config(config, dictionary, is_forward_lm=True).to("cuda")
    return TrainingEngine(model, TextCorpus(corpus_dir, dictionary, True), config, RunFiles(run_dir))


# ---- the device itself ---------------------------------------------------------------------------------------------


def test_devices_do_not_mix_and_what_waits_is_counted() -> None:
    with simulated_cuda(devices=2, memory_bytes=2**20) as ledger:
        x = torch.arange(3.0, device="cuda")
        assert (x + 1).device == torch.device("cuda", 0)
        for other in (torch.zeros(3), torch.zeros(3, device="cuda:1")):
            with pytest.raises(RuntimeError, match="at least two devices"):
                x + other
        with pytest.raises(TypeError, match="host memory"):
            x.numpy()
        assert not ledger.waits
        assert x.sum().item() == 3
        assert x.cpu().tolist() == [0, 1, 2]
        assert ledger.waits.total() == 2
        torch.ones(2).to("cuda")
        torch.ones(2).pin_memory().to("cuda", non_blocking=True)
        assert (ledger.uploads.total(), ledger.pinned_uploads.total()) == (1, 1)
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(2**20, device="cuda")
        assert torch.cuda.memory_allocated(1) == 12
        del other
        assert torch.cuda.memory_allocated(1) == 0
        torch.cuda.manual_seed_all(1)
        torch.manual_seed(5)
        assert not torch.equal(torch.rand(3, device="cuda").cpu(), torch.manual_seed(5) and torch.rand(3))


# ---- precision -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"precision": "fp32"}, {"nlayers": 2, "dropout": 0.1}])
def test_a_training_on_a_gpu_learns_what_one_on_the_cpu_learns(corpus_dir, tmp_path, changes) -> None:
    on_cpu, _ = trained(new_run(corpus_dir, tmp_path / "cpu", "cpu", **{**changes, "precision": "fp32"}))
    with simulated_cuda():
        on_gpu, recorder = trained(new_run(corpus_dir, tmp_path / "gpu", **changes))
    assert on_gpu.test.loss == pytest.approx(on_cpu.test.loss, abs=0.001 if "dropout" not in changes else 0.1)
    start, end = recorder.of("start")[0], recorder.of("end")[0]
    assert start["device"] == "cuda:0"
    assert start["precision"] == ("fp32" if changes.get("precision") == "fp32" else "fp16")
    assert start["tf32"] is torch.backends.cudnn.allow_tf32
    assert end["peak_gpu_memory_bytes"] > 10_000


def test_bf16_on_a_gpu_is_fp16_and_one_line_says_so(corpus_dir, tmp_path) -> None:
    with simulated_cuda(), pytest.warns(CharLMWarning, match="precision=bf16 is fp16 with a scaled loss"):
        _, recorder = trained(new_run(corpus_dir, tmp_path / "run", precision="bf16"))
    assert recorder.of("start")[0]["precision"] == "fp16"
    assert "fp16" in recorder.of("guard")[0]["reason"]


def gradients(corpus_dir: Path, run_dir: Path, share: float, *, precision: str) -> torch.Tensor:
    """The gradient of the recurrent weights, of a loss as small as that of a batch `1 / share` times as large."""
    engine = engine_on_gpu(corpus_dir, run_dir, dataclasses.replace(TINY, precision=precision))
    ids = engine.bptt.load(engine.bptt.prepare(engine.corpus.streams(0, 8, seed=1, epoch=0))).ids
    with engine.bptt.mixed.autocast():
        loss, _ = engine.model.loss(ids[:20].long(), ids[1:21].long())
    engine.bptt.mixed.backward(loss * share)
    engine.bptt.mixed._scaler.unscale_(engine.bptt.optimizer)
    return engine.model.rnn.weight_hh_l0.grad.cpu().flatten() / share


def test_the_gradient_of_a_large_batch_does_not_vanish_in_fp16(corpus_dir, tmp_path, monkeypatch) -> None:
    share = 160 / 400_000
    with simulated_cuda():
        exact = gradients(corpus_dir, tmp_path / "a", share, precision="fp32")
        scaled = gradients(corpus_dir, tmp_path / "b", share, precision="auto")
        monkeypatch.setattr("charlm.trainers.lm.bptt.MixedPrecision", unscaled)
        lost = gradients(corpus_dir, tmp_path / "c", share, precision="auto")
    assert torch.cosine_similarity(scaled, exact, dim=0) > 0.9999
    assert scaled.norm() / exact.norm() == pytest.approx(1, abs=1e-3)
    assert torch.cosine_similarity(lost, exact, dim=0) < 0.99


def unscaled(device: torch.device, precision: str):
    from charlm.nn.mixed_precision import MixedPrecision

    return MixedPrecision(device, precision, loss_scale=1.0)


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_is_halved(corpus_dir, tmp_path) -> None:
    with simulated_cuda():
        engine = engine_on_gpu(corpus_dir, tmp_path / "run")
        mixed, weight = engine.bptt.mixed, engine.model.decoder.weight
        before = weight.detach().clone()
        mixed.backward(weight.sum() * torch.tensor(float("inf"), device="cuda"))
        mixed.step(engine.bptt.optimizer, engine.model.parameters(), 1.0)
        assert torch.equal(weight, before)
        assert mixed.loss_scale == LOSS_SCALE / 2
        engine.bptt.optimizer.zero_grad()
        mixed.backward(weight.sum())
        mixed.step(engine.bptt.optimizer, engine.model.parameters(), 1.0)
        assert not torch.equal(weight, before)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_fifty_steps_wait_for_nothing_and_upload_nothing(corpus_dir, tmp_path, optimizer) -> None:
    config = dataclasses.replace(TINY, optimizer=optimizer, learning_rate=0.01, dropout=0.1)
    with simulated_cuda() as ledger:
        engine = engine_on_gpu(corpus_dir, tmp_path / "run", config)
        streams = engine.bptt.load(engine.bptt.prepare(engine.corpus.streams(0, 8, seed=1, epoch=0)))
        assert not ledger.uploads or "prepare" not in "".join(ledger.uploads)
        engine._step(streams)  # makes the optimizer's state
        ledger.clear()
        for _ in range(50):
            engine._step(streams)
            assert not engine._is_stop_requested()
    assert not ledger.waits
    assert not ledger.uploads
    assert not ledger.pinned_uploads
    assert engine.progress.step == 51


@pytest.mark.parametrize("changes", [{}, {"embedding_dropout": 0.1, "weight_dropout": 0.1, "activation_penalty": 1.0}])
def test_steps_of_a_clustered_softmax_wait_for_nothing_either(corpus_dir, tmp_path, changes) -> None:
    config = dataclasses.replace(
        TINY, embedding_size=16, tie_weights=True, softmax="clustered", dropout=0.1, locked_dropout=True, **changes
    )
    dictionary = Dictionary.from_items([*dictionary_of(corpus_dir).get_items()[1:], *map(str, range(10, 4_000))])
    torch.manual_seed(config.seed)
    with simulated_cuda() as ledger:
        model = LanguageModel.from_config(config, dictionary, is_forward_lm=True).to("cuda")
        assert model.cutoffs
        engine = TrainingEngine(model, TextCorpus(corpus_dir, dictionary, True), config, RunFiles(tmp_path / "run"))
        streams = engine.bptt.load(engine.bptt.prepare(engine.corpus.streams(0, 8, seed=1, epoch=0)))
        engine._step(streams)
        ledger.clear()
        for _ in range(50):
            engine._step(streams)
        assert [ledger.waits, ledger.uploads, ledger.pinned_uploads] == [Counter()] * 3
        targets = streams.ids[1:21].long().flatten()
        cluster = torch.bucketize(targets, model.decoder._bounds, right=True)
        sizes = torch.bincount(cluster, minlength=len(model.cutoffs) + 1)
        assert streams.cluster_sizes(1, 21) == sizes.tolist()


# ---- a whole training ----------------------------------------------------------------------------------------------


def test_a_shard_comes_from_pinned_memory_and_the_loss_is_read_by_time(corpus_dir, tmp_path) -> None:
    with simulated_cuda() as ledger:
        engine = engine_on_gpu(corpus_dir, tmp_path / "run")
        recorder = Recorder()
        engine.reporter.observers.append(recorder)
        engine.train()
        loads = sum(count for line, count in ledger.pinned_uploads.items() if "bptt.py" in line)
    assert loads == engine.progress.splits_read + bool(engine.progress.row)
    # The first one tells that it learns; by characters there would be one at every step.
    assert 1 <= len(recorder.of("train")) <= 1 + engine.progress.seconds / 0.5
    assert 0 <= recorder.of("train")[-1]["waiting_share"] <= 1


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_a_training_goes_from_the_cpu_to_a_gpu_and_back(corpus_dir, tmp_path, precision) -> None:
    whole, _ = trained(new_run(corpus_dir, tmp_path / "whole", "cpu", precision="fp32"))
    run = new_run(corpus_dir, tmp_path / "run", precision=precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CharLMWarning)  # bf16, fp16, bf16
        with pytest.raises(TrainingInterruptedError):
            trained(run, stop=StopAfter(15))
        assert Checkpoint.load(run.checkpoint).progress["step"] == 15
        with simulated_cuda(), pytest.raises(TrainingInterruptedError):
            trained(run, resume=True, stop=StopAfter(15))
        checkpoint = Checkpoint.load(run.checkpoint)
        assert checkpoint.progress["step"] == 30
        assert checkpoint.precision == ("fp32" if precision == "fp32" else "fp16")
        assert all(state.device.type == "cpu" for state in checkpoint.hidden)
        result, recorder = trained(run, resume=True)
    assert recorder.of("resume")[0]["step"] == 30
    assert recorder.events[-1]["step"] == 40
    assert result.test.loss == pytest.approx(whole.test.loss, abs=1e-4 if precision == "fp32" else 5e-3)


def test_a_resumed_training_draws_from_the_generator_of_the_gpu(corpus_dir, tmp_path) -> None:
    losses = []
    with simulated_cuda():
        losses.append(trained(new_run(corpus_dir, tmp_path / "whole", dropout=0.2, precision="fp32"))[0].test.loss)
    with simulated_cuda():
        run = new_run(corpus_dir, tmp_path / "run", dropout=0.2, precision="fp32")
        with pytest.raises(TrainingInterruptedError):
            trained(run, stop=StopAfter(20))
    with simulated_cuda():
        torch.cuda.manual_seed_all(99)
        losses.append(trained(run, resume=True)[0].test.loss)
    assert losses[0] == losses[1]


def test_a_gpu_that_is_too_small_is_one_line_and_the_run_goes_on_with_more(corpus_dir, tmp_path) -> None:
    run = new_run(corpus_dir, tmp_path / "run")
    with simulated_cuda(memory_bytes=60_000), pytest.raises(RunError) as failure:
        trained(run)
    message = str(failure.value)
    assert "\n" not in message
    assert "the memory of cuda:0 is full" in message
    assert "mini_batch_size" in message
    with simulated_cuda():
        assert trained(run, resume=True)[0].test.loss < 5


def test_flairs_trainer_moves_a_new_model_to_the_gpu(corpus_dir, tmp_path) -> None:
    dictionary = dictionary_of(corpus_dir)
    with simulated_cuda():
        model = LanguageModel(dictionary, True, hidden_size=16, nlayers=1)
        corpus = TextCorpus(corpus_dir, dictionary, True)
        trainer = LanguageModelTrainer(model, corpus)
        trainer.train(
            tmp_path / "run",
            sequence_length=50,
            mini_batch_size=20,
            max_characters=4_000,
            validation_characters=1_000,
            checkpoint=True,
        )
        assert model.device.type == "cuda"
        again = LanguageModelTrainer.load_checkpoint(tmp_path / "run" / "checkpoint.pt", corpus)
        assert again.model.device.type == "cuda"
        loaded = LanguageModel.load_language_model(tmp_path / "run" / "best-lm.pt")
        assert loaded.device.type == "cuda"


# ---- scores and generated text -------------------------------------------------------------------------------------


def test_scores_and_generated_text_are_those_of_the_cpu(corpus_dir) -> None:
    torch.manual_seed(1)
    model = LanguageModel(dictionary_of(corpus_dir), True, hidden_size=16, nlayers=1, dropout=0.1).eval()
    expected = score_file(model, corpus_dir / "test.txt")
    text = model.generate_text("The ", 30, seed=1)
    with simulated_cuda() as ledger:
        model.to("cuda")
        ledger.clear()
        found = score_file(model, corpus_dir / "test.txt")
        assert not ledger.uploads
        assert model.generate_text("The ", 30, seed=1)[0] == text[0]
        assert model.calculate_perplexity("The text") > 1
    assert found.nats == pytest.approx(expected.nats, rel=1e-6)
    assert found.characters == expected.characters


# ---- several processes ---------------------------------------------------------------------------------------------


class Sent:
    """A message that has arrived."""

    def wait(self) -> None:
        pass


def test_each_process_of_a_group_computes_on_the_gpu_of_its_rank(corpus_dir, tmp_path, monkeypatch) -> None:
    """NCCL needs GPUs, so messages are answered by a peer that always has what this process has."""
    sent: list[str] = []

    def all_reduce(value: torch.Tensor, op: object = dist.ReduceOp.SUM, *, async_op: bool = False) -> object:
        sent.append(value.device.type)
        if op == dist.ReduceOp.SUM:
            value.mul_(2)
        return Sent() if async_op else None

    def all_gather(parts: list[torch.Tensor], value: torch.Tensor) -> None:
        for part in parts:
            part.copy_(value)

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    monkeypatch.setattr(dist, "all_gather", all_gather)
    monkeypatch.setattr(dist, "broadcast", lambda value, src: None)
    run = new_run(corpus_dir, tmp_path / "run", precision="fp32")
    manifest = RunManifest.load(run)
    dataclasses.replace(manifest, config=dataclasses.replace(manifest.config, num_processes=2)).save(run)
    with simulated_cuda(devices=2), torch.random.fork_rng(devices=[]):
        for rank in (1, 0):
            engine = build_engine(run, ProcessGroup(rank, 2, rank, local_world_size=2), StopSignal(), ())
            assert engine.device == torch.device("cuda", rank)
        with pytest.raises(ConfigError, match="num_processes=2 needs a GPU for each process, torch finds 2"):
            build_engine(run, ProcessGroup(0, 2, 2, local_world_size=2), StopSignal(), ())
        engine = build_engine(run, ProcessGroup(0, 2, 0, local_world_size=2), StopSignal(), ())
        result = engine.train()
    assert result.test.loss < 5
    assert {"cpu", "cuda"} <= set(sent)  # clocks and signals go through gloo, gradients through NCCL
    assert Checkpoint.load(run.checkpoint).num_processes == 2
