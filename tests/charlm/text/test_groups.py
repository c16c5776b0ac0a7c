"""Several processes read the sources, and the corpus has the bytes that one process makes."""

import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import CharLMError, CorpusError, SourceError
from charlm.text.corpus import committing, groups
from charlm.text.corpus.batches import Batch, read_batch, write_batch
from charlm.text.corpus.groups import in_groups
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.splitting import SplitResult, split_corpus
from charlm.text.sources import raw
from charlm.text.sources.raw import Source
from tests.charlm.text.corpora import CONFIG, content, lines, write


@dataclass(frozen=True)
class Pool:
    """Workers of an executor."""

    executor: Executor
    groups_ahead: int = 3
    are_here: bool = True

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.executor.submit(function, *args, **kwargs)


@pytest.fixture(scope="module", params=["processes", "threads"])
def workers(request: pytest.FixtureRequest) -> Iterator[Pool]:
    with (
        ProcessPoolExecutor(2, get_context("spawn")) if request.param == "processes" else ThreadPoolExecutor(2)
    ) as executor:
        yield Pool(executor, are_here=request.param == "processes")


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP_BYTES", 20_000)
    monkeypatch.setattr(committing, "_MEASURED_BYTES", 20_000)


def write_texts(folder: Path) -> str:
    """Twenty files of several formats and sizes, and two that are equal."""
    for number in range(16):
        write(folder / f"{number:02d}.txt", lines(1_000 * number, 1_000 * number + 97 * number))
    write(folder / "same.txt", lines(2_000, 2_194))  # as 02.txt
    (folder / "empty.txt").write_bytes(b"")
    records = [json.dumps({"text": line}, ensure_ascii=False) for line in lines(50_000, 50_800)]
    write(folder / "records.jsonl", [record + "\n" for record in records])
    (folder / "packed.txt.gz").write_bytes(gzip.compress("".join(lines(60_000, 61_000)).encode(), mtime=0))
    return str(folder)


def split(
    corpus: CorpusFiles, folder: str, workers: Pool | None, reading: ReadConfig | None = None, **changes: Any
) -> SplitResult:
    reading = reading or ReadConfig()
    return split_corpus([folder], corpus, SplitConfig(**CONFIG | changes), reading, workers=workers)


def both(tmp_path: Path, workers: Pool, reading: ReadConfig, *folders: str, **changes: Any) -> CorpusFiles:
    """A corpus with a revision for each folder, made by several processes; it is checked against that of one."""
    corpora = [CorpusFiles(tmp_path / place / "news") for place in ("one", "several")]
    results = [
        [split(corpus, folder, pool, reading, **changes) for folder in folders]
        for corpus, pool in zip(corpora, (None, workers), strict=True)
    ]
    assert results[0] == results[1]
    assert content(corpora[0]) == content(corpora[1])
    assert not corpora[1].groups_dir.exists()
    return corpora[1]


READINGS = [
    ReadConfig(),
    ReadConfig(deduplicate=True),
    ReadConfig(deduplicate=True, near_threshold=0.8),
]


@pytest.mark.parametrize("reading", READINGS, ids=["as it is", "deduplicated", "near"])
@pytest.mark.parametrize("document", ["line", "file"])
def test_several_processes_make_the_bytes_of_one(
    reading: ReadConfig, document: str, workers: Pool, tmp_path: Path
) -> None:
    first, second = write_texts(tmp_path / "first"), str(tmp_path / "second")
    write(tmp_path / "second" / "new.txt", lines(0, 30_000)[::3])
    shutil.copytree(first, tmp_path / "second", dirs_exist_ok=True)
    corpus = both(tmp_path, workers, reading, first, second, first, document=document, shard_size=30_000)
    assert load_manifest(corpus).revision == 2
    assert len(in_groups([Source(name="", address="", size=path.stat().st_size) for path in Path(first).iterdir()])) > 5
    assert len(corpus.shards()) > 10


def test_given_held_out_text_goes_where_it_belongs(workers: Pool, tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "text")
    valid = [write(tmp_path / f"valid-{number}.txt", lines(70_000 + number, 70_400 + number)) for number in (0, 1_000)]
    corpus = both(tmp_path, workers, ReadConfig(valid_text=tuple(valid)), folder)
    assert corpus.valid.read_text() == "".join([*lines(70_000, 70_400), *lines(71_000, 71_400)])


@pytest.mark.parametrize("known_first", [False, True])
def test_the_first_error_in_the_order_of_the_sources_is_raised_and_leaves_the_corpus_as_it_was(
    known_first: bool, workers: Pool, tmp_path: Path
) -> None:
    corpus, folder = CorpusFiles(tmp_path / "corpora" / "news"), write_texts(tmp_path / "text")
    if known_first:
        split(corpus, folder, None)
    before = content(corpus) if known_first else {}
    (tmp_path / "text" / "03-bad.txt").write_bytes("".join(lines(90_000, 91_000)).encode() + b"\xff\n")
    (tmp_path / "text" / "15-bad.txt").write_bytes(b"\xff\n")
    with pytest.raises(SourceError, match=r"03-bad\.txt, line 1001"):
        split(corpus, folder, workers)
    assert (content(corpus) if known_first else {}) == before
    assert known_first or not corpus.root.exists()


def test_a_bad_source_that_is_known_is_not_read_again(workers: Pool, tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "text")
    (tmp_path / "text" / "03-bad.txt").write_bytes("".join(lines(90_000, 91_000)).encode() + b"\xff\n")
    corpus = CorpusFiles(tmp_path / "corpora" / "news")
    split(corpus, folder, workers, ReadConfig(bad_bytes="skip"))
    assert split(corpus, folder, workers).num_known_sources == 21


def test_a_disk_without_room_for_what_is_read_ahead_is_one_line(workers: Pool, tmp_path: Path) -> None:
    class NoRoom(Pool):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            shutil.rmtree(args[0].path.parent)
            return super().submit(function, *args, **kwargs)

    corpus = CorpusFiles(tmp_path / "corpora" / "news")
    with pytest.raises(CharLMError, match=r"cannot write .*/news: No such file or directory; fix that and run again"):
        split(corpus, write_texts(tmp_path / "text"), NoRoom(workers.executor))
    assert not corpus.root.exists()


def test_groups_are_sources_in_a_row_and_a_large_one_stands_alone() -> None:
    sources = [Source(name="", address="", size=size) for size in (9_000, 9_000, 9_000, 90_000, 1, 1, 1)]
    assert in_groups(sources) == [range(2), range(2, 3), range(3, 4), range(4, 7)]
    assert in_groups([]) == []


# ---- kills ---------------------------------------------------------------------------------------------------------

_PREPARE = (
    "import sys; from pathlib import Path\n"
    "from charlm.artifacts import CorpusFiles; from charlm.config import ReadConfig, SplitConfig\n"
    "from charlm.text.corpus import groups, revision, splitting; from charlm.text.sources import raw\n"
    "from tasks.corpus.steps import reading_processes\n"
    "raw.BLOCK_BYTES = 10_000; revision.CHECKPOINT_BYTES = 60_000; groups.GROUP_BYTES = 100_000\n"
    "config, reading = SplitConfig(shard_size=50_000, document='line'), ReadConfig(deduplicate=True)\n"
    "with reading_processes(2) as workers:\n"
    "    print('ready', flush=True)\n"
    "    splitting.split_corpus(sys.argv[2:], CorpusFiles(Path(sys.argv[1])), config, reading, workers=workers)\n"
)


def run_when_free(command: list[str]) -> None:
    """Run it, as soon as the processes that a killed one has started have ended, which hold its lock until then."""
    deadline = time.monotonic() + 60
    while True:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if "is being prepared by another process" not in result.stderr or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert result.returncode == 0, result.stderr


def test_a_killed_run_continues_to_the_bytes_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [write(tmp_path / f"{name:02d}.txt", lines(2_000 * name, 2_000 * name + 2_500)) for name in range(16)]
    undisturbed = CorpusFiles(tmp_path / "undisturbed" / "news")
    with monkeypatch.context() as patch:
        patch.setattr(raw, "BLOCK_BYTES", 10_000)
        split_corpus(texts, undisturbed, SplitConfig(shard_size=50_000, document="line"), ReadConfig(deduplicate=True))
    chance, num_continued = random.Random(1), 0
    for attempt in range(4):
        corpus = CorpusFiles(tmp_path / f"killed-{attempt}" / "news")
        command = [sys.executable, "-c", _PREPARE, str(corpus.root), *texts]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not (corpus.staging_dir / "state.json").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(0.1 * chance.random())
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        process.wait()
        num_continued += (corpus.staging_dir / "state.json").exists()
        run_when_free(command)
        assert content(corpus) == content(undisturbed), f"attempt {attempt}"
    assert num_continued > 0


def test_settings_of_another_corpus_are_refused_before_anything_is_read(workers: Pool, tmp_path: Path) -> None:
    corpus, folder = CorpusFiles(tmp_path / "corpora" / "news"), write_texts(tmp_path / "text")
    split(corpus, folder, workers)
    with pytest.raises(CorpusError, match="was prepared with shard_size=3000, got 4000"):
        split(corpus, folder, workers, shard_size=4_000)


@pytest.mark.parametrize("missing", [1, 40, 60])
def test_what_a_worker_has_read_is_never_taken_in_part(missing: int, tmp_path: Path) -> None:
    sizes, text = np.array([5, 6]), b"Aye.\nNever\n"
    batch = Batch(keys=sizes.astype(np.uint64), places=sizes, sizes=sizes, text=text, near=None, num_stored=11)
    path = tmp_path / "group"
    with path.open("wb") as file:
        write_batch(file, batch)
    with path.open("rb") as file:
        assert [*read_batch(file)] == [b"Aye.\n", b"Never\n"]
    path.write_bytes(path.read_bytes()[:-missing])  # of the text, of the sizes, of the hashes
    with path.open("rb") as file, pytest.raises(CorpusError, match="ends too early"):
        read_batch(file)
