"""What one GPU does: training beside Flair's loop, the gradient in low precision, embedding, a tagger, and scores.

Runs from a bare checkout with torch, numpy, pyarrow, safetensors and xxhash; charlm need not be installed. Made for a
machine that is lent for minutes: every row is in the table as soon as it is measured, a measurement that fails is a row
that says so, and what no time is left for is left out.

Usage: python benchmarks/gpu.py [--minutes 4.5] [--output gpu-results.md]
Writes OUTPUT   a table in Markdown

Ends with exit code 2 where there is no GPU; `--device cpu --quick` tries the benchmark itself.
"""

# T = sequence length, B = mini-batch size, E = embedding size, H = hidden size, V = dictionary size

import argparse
import pydoc_data.topics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # a bare checkout

import torch
from gpu_flair_loop import flair_step
from torch import Tensor

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import TrainingConfig
from charlm.data.corpus import Corpus
from charlm.data.dictionary import Dictionary
from charlm.data.sentence import Sentence
from charlm.distributed.group import ProcessGroup
from charlm.embeddings.flair import FlairEmbeddings
from charlm.evaluation.language_model import score_encoded
from charlm.language_models.language_model import LanguageModel
from charlm.models.sequence_tagger import SequenceTagger
from charlm.nn.precision import can_compute_bf16, resolve_training_precision
from charlm.recipes import gpu_base
from charlm.text.corpus.encoding import encoded_info
from charlm.trainers.events import Event
from charlm.trainers.lm.bptt import ShardStreams, TruncatedBPTT
from charlm.trainers.lm.engine import TrainingEngine
from charlm.trainers.lm.text_corpus import TextCorpus
from charlm.trainers.model_trainer import ModelTrainer

WARM_UP_STEPS = 5
Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Sizes:
    """What is measured, and for how long."""

    hidden: tuple[int, ...] = (1024, 2048)
    batches: tuple[int, ...] = (100, 128, 256, 384, 768)
    length: int = 250
    seconds: float = 4.0
    """Of each measurement; a whole training takes twice as long."""

    characters: int = 60_000_000
    sentences: int = 4_000
    matrix: int = 8192


QUICK = Sizes(
    hidden=(16,), batches=(4, 8), length=20, seconds=0.3, characters=40_000, sentences=20, matrix=256
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=4.5, help="what has not begun by then is left out")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the benchmark itself")
    parser.add_argument("--output", type=Path, default=Path("gpu-results.md"))
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured", file=sys.stderr)
        return 2
    sizes = QUICK if options.quick else Sizes()
    table = Table(options.output, device, deadline=time.monotonic() + 60 * options.minutes)
    with tempfile.TemporaryDirectory(prefix="charlm-gpu-") as folder:
        files = write_corpus(Path(folder) / "corpus", sizes.characters)
        Benchmark(table, sizes, device, files, Path(folder)).run()
    print(options.output.read_text())
    return 0


class Table:
    """Rows of Markdown, in the file as soon as they are known."""

    def __init__(self, path: Path, device: torch.device, *, deadline: float) -> None:
        self._path, self._deadline = path, deadline
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU, which says nothing"
        head = f"`benchmarks/gpu.py` on {name}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}\n\n"
        path.write_text(f"{head}| measured | value | unit | remark |\n| --- | ---: | --- | --- |\n")

    def measure(self, name: str, measurement: Callable[[], tuple[float, str, str]]) -> float | None:
        """Add the row of a measurement, which returns value, unit and remark; None where it fails or is left out."""
        if time.monotonic() > self._deadline:
            self.leave_out(name, "no time")
            return None
        started = time.monotonic()
        try:
            value, unit, remark = measurement()
        except Exception as error:
            traceback.print_exc()
            reason = " ".join(str(error).split())[:100]
            self._add(name, "", "", f"failed: {type(error).__name__} {reason}".replace("|", "/"))
            return None
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self._add(name, f"{value:,.5g}" if value < 1000 else f"{value:,.0f}", unit, remark)
        print(f"{time.monotonic() - started:6.1f} s  {name}: {value:,.5g} {unit}", file=sys.stderr, flush=True)
        return value

    def leave_out(self, name: str, reason: str) -> None:
        self._add(name, "", "", f"left out: {reason}")

    def _add(self, *cells: str) -> None:
        with self._path.open("a") as file:
            file.write(f"| {' | '.join(cells)} |\n")


class Benchmark:
    """All measurements on one corpus, which is encoded once."""

    def __init__(self, table: Table, sizes: Sizes, device: torch.device, files: CorpusFiles, folder: Path) -> None:
        self.table, self.sizes, self.device, self.folder = table, sizes, device, folder
        self.dictionary = Dictionary.load_from_file(files.dictionary)
        self.corpus = TextCorpus(files.root, self.dictionary, True)
        self.precision = resolve_training_precision("auto", device)

    def run(self) -> None:
        peak = self.table.measure("matrix products", self.products)
        for hidden in self.sizes.hidden:
            smallest = self.sizes.batches[0]
            self.table.measure(f"hidden {hidden}, gradient in {self.precision}", lambda h=hidden: self.gradient(h))
            for use_amp in (False, True):
                name = f"hidden {hidden}, B={smallest}, Flair's loop, {'autocast' if use_amp else 'fp32'}"
                if use_amp and not can_compute_bf16(self.device):
                    self.table.leave_out(name, "no bf16 here")
                    continue
                self.table.measure(name, lambda h=hidden, amp=use_amp: self.flair(h, use_amp=amp))
            speeds = {
                batch: self.table.measure(
                    f"hidden {hidden}, B={batch}, steps alone", lambda h=hidden, b=batch: self.steps(h, b, peak)
                )
                for batch in self.sizes.batches
            }
            best = max(speeds, key=lambda batch: speeds[batch] or 0.0)
            for batch in sorted({smallest, best}):
                name = f"hidden {hidden}, B={batch}, the whole training"
                self.table.measure(name, lambda h=hidden, b=batch: self.training(h, b))
            self.table.measure(f"hidden {hidden}, scores", lambda h=hidden: self.scores(h))
        for precision in ("fp32", "bf16"):
            hidden = self.sizes.hidden[0]
            name = f"hidden {hidden}, embedding in {precision}"
            self.table.measure(name, lambda h=hidden, p=precision: self.embedding(h, p))
        self.table.measure("an epoch of a tagger", self.tagger)

    # ---- training ----------------------------------------------------------------------------------------------

    def products(self) -> tuple[float, str, str]:
        """Large matrix products, which nothing on this device goes beyond."""
        size = self.sizes.matrix
        dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        matrix = torch.randn(size, size, device=self.device, dtype=dtype)
        product = matrix @ matrix
        self.wait()
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < self.sizes.seconds / 4:
            for _ in range(10):
                torch.matmul(matrix, matrix, out=product)
            self.wait()
            count += 10
        return count * 2e-12 * size**3 / (time.perf_counter() - started), "TFLOP/s", str(dtype).removeprefix("torch.")

    def gradient(self, hidden: int) -> tuple[float, str, str]:
        """Cosine of the recurrent weights' gradient to that in fp32, after a few steps: underflow would show."""
        batch = self.sizes.batches[-1]
        trained = self.bptt(hidden, batch)
        streams = self.streams(batch).to(self.device)
        for number in range(20):
            trained.step(ShardStreams(streams), 10 * number, sequence_length=10, learning_rate=1e-3)
        found = []
        for precision in ("fp32", self.precision):
            bptt = self.bptt(hidden, batch, precision=precision)
            bptt.model.load_state_dict(trained.model.state_dict())
            ids = streams[: self.sizes.length + 1].long()
            with bptt.mixed.autocast():
                loss, _ = bptt.model.eval().loss(ids[:-1], ids[1:])
            bptt.mixed.backward(loss)
            gradient = bptt.model.rnn.weight_hh_l0.grad
            assert gradient is not None
            found.append(gradient.flatten().double() / (bptt.mixed.loss_scale or 1.0))
        exact, low = found
        return (
            float(torch.cosine_similarity(exact, low, dim=0)),
            "cosine to fp32",
            f"{float(low.norm() / exact.norm()):.4f} of its length, {batch * self.sizes.length:,} characters a step",
        )

    def flair(self, hidden: int, *, use_amp: bool) -> tuple[float, str, str]:
        step = flair_step(len(self.dictionary), hidden, self.device, use_amp=use_amp)
        return self.time_steps(step, self.streams(self.sizes.batches[0]))

    def steps(self, hidden: int, batch: int, peak: float | None) -> tuple[float, str, str]:
        bptt = self.bptt(hidden, batch)
        streams = self.streams(batch).to(self.device)
        length, row, nats = self.sizes.length, 0, 0.0
        for _ in range(WARM_UP_STEPS):
            row += bptt.step(ShardStreams(streams), row, sequence_length=length, learning_rate=1e-3)
        first = bptt.take_nats() / (WARM_UP_STEPS * length * batch)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < self.sizes.seconds:
            for _ in range(10):
                row = 0 if row + length >= len(streams) else row
                count += bptt.step(ShardStreams(streams), row, sequence_length=length, learning_rate=1e-3) * batch
                row += length
            nats = bptt.take_nats()
            last = nats / max(1, 10 * length * batch)
        speed = count / (time.perf_counter() - started)
        done = speed * operations(bptt.config, len(self.dictionary)) / 1e12
        share = "" if peak is None else f", {done / peak:.1%} of peak"
        return speed, "characters/s", f"{fell(first, last)}{share}"

    def training(self, hidden: int, batch: int) -> tuple[float, str, str]:
        """The engine with all that it does besides: reading shards, events, checkpoints."""
        config = replace(self.config(hidden, batch), max_minutes=2 * self.sizes.seconds / 60)
        recorder = Recorder()
        files = RunFiles(self.folder / f"run-{hidden}-{batch}")
        files.root.mkdir(exist_ok=True)
        engine = TrainingEngine(self.model(config), self.corpus, config, files, observers=[recorder])
        engine.reporter.sample = lambda model: ""  # type: ignore[method-assign]  # a text takes longer than all steps
        engine.train()
        events = [event for event in recorder.events if event["event"] == "train"]
        later = events[1:] or events
        waiting = sum(event["waiting_share"] for event in later) / len(later)
        end = recorder.events[-1]
        memory = f", {end.get('peak_gpu_memory_bytes', 0) / 1e9:.1f} GB" if self.device.type == "cuda" else ""
        speed = sorted(event["characters_per_second"] for event in later)[len(later) // 2]
        return speed, "characters/s", f"{fell(events[0]['loss'], events[-1]['loss'])}, waits {waiting:.1%}{memory}"

    def time_steps(self, step: Step, streams: Tensor) -> tuple[float, str, str]:
        length, row, count = self.sizes.length, 0, 0
        started, first, loss = time.perf_counter(), None, torch.zeros(())
        for number in range(10**9):
            if number == WARM_UP_STEPS:
                self.wait()
                started, first, count = time.perf_counter(), float(loss), 0
            if number > WARM_UP_STEPS and time.perf_counter() - started > self.sizes.seconds:
                break
            row = 0 if row + length >= len(streams) else row
            loss = step(streams[row : row + length], streams[row + 1 : row + length + 1])
            row += length
            count += length * streams.shape[1]
        self.wait()
        return count / (time.perf_counter() - started), "characters/s", fell(first or 0.0, float(loss))

    # ---- what is trained ---------------------------------------------------------------------------------------

    def config(self, hidden: int, batch: int) -> TrainingConfig:
        return replace(
            gpu_base(), hidden_size=hidden, sequence_length=self.sizes.length, mini_batch_size=batch, dropout=0.0,
            learning_rate=1e-3, validations=1, validation_characters=10_000, max_epochs=100, max_characters=None,
        )  # fmt: skip

    def model(self, config: TrainingConfig) -> LanguageModel:
        torch.manual_seed(1)
        return LanguageModel.from_config(config, self.dictionary, is_forward_lm=True).to(self.device)

    def bptt(self, hidden: int, batch: int, *, precision: str | None = None) -> TruncatedBPTT:
        config = self.config(hidden, batch)
        return TruncatedBPTT(self.model(config), config, ProcessGroup(), precision or self.precision)

    def streams(self, batch: int) -> Tensor:
        """A shard as streams, (rows, B) int64."""
        return torch.from_numpy(self.corpus.streams(0, batch, seed=1, epoch=0).astype("int64"))

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    # ---- scores, embeddings, taggers ---------------------------------------------------------------------------

    def scores(self, hidden: int) -> tuple[float, str, str]:
        model = self.model(self.config(hidden, 8)).eval()
        info = encoded_info(self.corpus.test, self.dictionary)
        score_encoded(model, self.corpus.test, info, max_units=1_000)
        started = time.perf_counter()
        score = score_encoded(model, self.corpus.test, info)
        return score.characters / (time.perf_counter() - started), "characters/s", "20 streams, fp32"

    def embedding(self, hidden: int, precision: str) -> tuple[float, str, str]:
        model = self.model(self.config(hidden, 8)).eval()
        embeddings = FlairEmbeddings(model, precision="bf16" if precision == "bf16" else "fp32")
        sentences = self.sentences()
        embeddings.embed(sentences[:8])
        started = time.perf_counter()
        embeddings.embed(sentences)
        self.wait()
        return sum(map(len, sentences)) / (time.perf_counter() - started), "words/s", f"{len(sentences)} sentences"

    def tagger(self) -> tuple[float, str, str]:
        sentences = self.sentences()
        for sentence in sentences:
            for token in sentence:
                token.add_label("case", "upper" if token.text[0].isupper() else "lower")
        dev = sentences[:8]
        corpus = Corpus(sentences[8:], dev, dev, "case", sample_missing_splits=False)
        embeddings = FlairEmbeddings(self.model(self.config(self.sizes.hidden[0], 8)).eval())
        tagger = SequenceTagger(256, embeddings, corpus.make_tag_dictionary("case"), "case").to(self.device)
        result = ModelTrainer(tagger, corpus).train(
            self.folder / "tagger", max_epochs=2, embeddings_storage_mode="none", show_progress=False
        )
        return result.seconds / 2, "seconds", f"{len(corpus.train)} sentences, {fell(*result.train_losses[:2])}"

    def sentences(self) -> list[Sentence]:
        text = " ".join(pydoc_data.topics.topics.values()).split()
        return [Sentence(text[start : start + 20]) for start in range(0, 20 * self.sizes.sentences, 20) if text[start:]]


class Recorder:
    """Keeps the events of a training."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


def fell(first: float, last: float) -> str:
    return f"loss {first:.2f} to {last:.2f}" + ("" if last < first else ": IT DID NOT FALL")


def operations(config: TrainingConfig, dictionary_size: int) -> float:
    """Multiplications and additions that training spends on a character; backward costs twice what forward does."""
    hidden, inputs = config.hidden_size, config.embedding_size
    weights = 4 * hidden * (inputs + hidden) + hidden * dictionary_size
    return 3 * 2 * weights


def write_corpus(root: Path, characters: int) -> CorpusFiles:
    """A corpus of about so many characters: the interpreter's documentation again and again, in two shards."""
    text = "".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    corpus = CorpusFiles(root)
    corpus.train_dir.mkdir(parents=True)
    for number in (1, 2):
        repeated = text * (characters // 2 // len(text) + 1)
        (corpus.train_dir / f"train_split_{number:04d}").write_text(repeated[: characters // 2], encoding="utf-8")
    for path in (corpus.valid, corpus.test):
        path.write_text(text[: min(400_000, characters)], encoding="utf-8")
    Dictionary.from_items(character for character, _ in Counter(text).most_common()).save(corpus.dictionary)
    return corpus


if __name__ == "__main__":
    sys.exit(main())
