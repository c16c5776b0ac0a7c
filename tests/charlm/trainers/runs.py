"""Small trainings for tests: a corpus of real text, and trainings of it in this process or in another one."""

import dataclasses
import pydoc_data.topics
import time
from collections import Counter
from pathlib import Path

import torch

from charlm.artifacts import CorpusFiles, RunFiles
from charlm.config import RunConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.language_models.language_model import LanguageModel
from charlm.trainers.events import Event
from charlm.trainers.language_model_trainer import TextCorpus
from charlm.trainers.lm.engine import TrainingEngine
from charlm.trainers.lm.manifest import create_run
from charlm.trainers.lm.reporting import TrainingResult
from charlm.trainers.observer import open_run_files
from tests.command_server import TRAINER, ForkedProgram
from tests.conftest import start_program

TINY = TrainingConfig(
    hidden_size=32, embedding_size=16, sequence_length=20, mini_batch_size=8, max_characters=40_000, precision="fp32"
)


LONG = dataclasses.replace(TINY, max_characters=1_000_000_000)


def write_corpus(root: Path) -> Path:
    """Real English text in three train shards of 20,000 characters, with its dictionary."""
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


def start_run(corpus_dir: Path, run_dir: Path, config: TrainingConfig) -> RunFiles:
    run = RunConfig(
        run_dir=str(run_dir), corpus_dir=str(corpus_dir), direction="forward", training=config, num_threads=1
    )
    return create_run(run, dictionary_of(corpus_dir))


def trainer_process(files: RunFiles, *arguments: str) -> ForkedProgram:
    """`python -m charlm.trainers.run`, which has loaded torch already."""
    return start_program(TRAINER, files.manifest, *arguments)


def wait_for_event(files: RunFiles, kind: str, count: int = 1, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if files.journal.exists() and files.journal.read_text().count(f'"event": "{kind}"') >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {kind} within {seconds} s")
