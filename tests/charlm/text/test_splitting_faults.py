"""A mistake leaves the corpus as it was, and a killed run is continued."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from charlm.artifacts import CorpusFiles
from charlm.errors import CorpusError, RunError, SourceError
from charlm.storage.locks import exclusive_lock
from charlm.text.corpus.manifest import load_manifest
from tests.charlm.text.corpora import CONFIG, content, lines, split, write


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusFiles:
    return CorpusFiles(tmp_path / "corpora" / "news")


# ---- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_text_is_refused_and_leaves_no_corpus(text: str, corpus: CorpusFiles, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no text in .*a\.txt"):
        split(corpus, write(tmp_path / "a.txt", [text]))
    assert not corpus.root.exists()


def test_too_little_held_out_text_is_refused_with_the_option_to_change(corpus: CorpusFiles, tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"valid\.txt would be empty: 0\.1 of 2 documents with 4 characters.*valid-share"
    ):
        split(corpus, write(tmp_path / "a.txt", ["a\n", "b\n"]))
    assert not corpus.root.exists()


def test_text_that_leaves_nothing_to_train_on_is_refused(corpus: CorpusFiles, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="none is left to train on; give more text"):
        split(corpus, write(tmp_path / "a.txt", lines(0, 4)), valid_share=0.49, test_share=0.5)
    assert not corpus.root.exists()


def test_a_file_name_that_is_not_utf8_is_no_obstacle(corpus: CorpusFiles, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("".join(lines(0, 1000)))
    assert split(corpus, str(path)).manifest.revisions[0].sources[0].name == "caf�.txt"


def test_a_mistake_in_a_later_revision_leaves_the_corpus_as_it_was(corpus: CorpusFiles, tmp_path: Path) -> None:
    split(corpus, write(tmp_path / "a.txt", lines(0, 1000)))
    before = content(corpus)
    bad = tmp_path / "b.txt"
    bad.write_bytes("".join(lines(1000, 2000)).encode() + b"\xff\n")
    with pytest.raises(SourceError, match=r"b\.txt, line 1001"):
        split(corpus, write(tmp_path / "ok.txt", lines(3000, 4000)), str(bad))
    assert content(corpus) == before


def test_what_is_skipped_is_counted_in_the_manifest(corpus: CorpusFiles, tmp_path: Path) -> None:
    bad = tmp_path / "b.txt"
    bad.write_bytes("".join(lines(0, 1000)).encode() + b"\xff\n\xfe\n")
    assert split(corpus, str(bad), bad_bytes="skip").skipped == {"bad_documents": 2}
    assert load_manifest(corpus).revisions[0].skipped == {"bad_documents": 2}


def test_a_full_disk_is_one_line_and_leaves_the_corpus_as_it_was(corpus: CorpusFiles, tmp_path: Path) -> None:
    split(corpus, write(tmp_path / "a.txt", lines(0, 1000)))
    before = content(corpus)
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from charlm.artifacts import CorpusFiles; from charlm.config import SplitConfig\n"
        "from charlm.text.corpus.splitting import split_corpus\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: split_corpus([sys.argv[1]], CorpusFiles(Path(sys.argv[2])), SplitConfig(**eval(sys.argv[3])))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    raw = write(tmp_path / "b.txt", lines(1000, 9000))
    shown = subprocess.run(
        [sys.executable, "-c", script, raw, str(corpus.root), repr(CONFIG)], capture_output=True, text=True, check=True
    ).stdout
    assert shown.startswith("CorpusError cannot write")
    assert "File too large; fix that and run again" in shown
    assert shown.count("\n") == 1
    assert content(corpus) == before


def test_a_missing_or_changed_file_of_the_corpus_is_named(corpus: CorpusFiles, tmp_path: Path) -> None:
    raw = write(tmp_path / "a.txt", lines(0, 1000))
    split(corpus, raw)
    with corpus.valid.open("ab") as file:
        file.write(b"more\n")
    with pytest.raises(CorpusError, match=r"valid\.txt has \d+ bytes instead of \d+; restore it"):
        split(corpus, raw)
    corpus.valid.unlink()
    with pytest.raises(CorpusError, match=r"valid\.txt is missing; restore it"):
        split(corpus, raw)


def test_two_processes_cannot_prepare_one_corpus_at_once(corpus: CorpusFiles, tmp_path: Path) -> None:
    raw = write(tmp_path / "a.txt", lines(0, 1000))
    with exclusive_lock(corpus.lock, busy="held"), pytest.raises(RunError, match="being prepared by another process"):
        split(corpus, raw)


# ---- kills ---------------------------------------------------------------------------------------------------------

# Checkpoints every few kilobytes, so that a kill falls between and among them.
_PREPARE = (
    "import sys; from pathlib import Path\n"
    "from charlm.artifacts import CorpusFiles; from charlm.config import ReadConfig, SplitConfig\n"
    "from charlm.text.corpus import revision, splitting; from charlm.text.sources import raw\n"
    "raw.BLOCK_BYTES = 10_000; revision.CHECKPOINT_BYTES = 60_000\n"
    "print('ready', flush=True)\n"
    "config, reading = SplitConfig(shard_size=50_000, document='line'), ReadConfig(deduplicate=True)\n"
    "splitting.split_corpus(sys.argv[2:], CorpusFiles(Path(sys.argv[1])), config, reading)\n"
)


def _start(corpus: CorpusFiles, raw: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PREPARE, str(corpus.root), *raw], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _finish(corpus: CorpusFiles, raw: list[str]) -> float:
    started = time.perf_counter()
    _, errors = (process := _start(corpus, raw)).communicate()
    assert process.returncode == 0, errors.decode()
    return time.perf_counter() - started


def _kill_twenty_times(tmp_path: Path, num_kills: int) -> None:
    raw = [write(tmp_path / f"{name}.txt", lines(10_000 * name, 10_000 * name + 12_000)) for name in range(3)]
    undisturbed = CorpusFiles(tmp_path / "undisturbed" / "news")
    seconds = _finish(undisturbed, raw)
    expected = content(undisturbed)
    chance = random.Random(1)
    num_continued = 0
    for attempt in range(num_kills):
        corpus = CorpusFiles(tmp_path / f"killed-{attempt}" / "news")
        process = _start(corpus, raw)
        time.sleep(chance.random() * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        num_continued += (corpus.staging_dir / "state.json").exists()
        _finish(corpus, raw)
        assert content(corpus) == expected, f"attempt {attempt}"
        shutil.rmtree(corpus.root.parent)
    assert num_continued > 0


def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    _kill_twenty_times(tmp_path, 4)


@pytest.mark.slow
def test_twenty_killed_runs_continue_to_the_same_bytes(tmp_path: Path) -> None:
    _kill_twenty_times(tmp_path, 20)


def test_a_run_killed_among_the_moves_of_its_commit_is_completed_by_the_next(
    corpus: CorpusFiles, tmp_path: Path
) -> None:
    first, second = write(tmp_path / "a.txt", lines(0, 1000)), write(tmp_path / "b.txt", lines(1000, 2000))
    undisturbed = CorpusFiles(tmp_path / "undisturbed" / "news")
    split(undisturbed, first)
    replace, num_moves = Path.replace, 0

    def replace_twice(self: Path, target: Path) -> Path:
        nonlocal num_moves
        num_moves += corpus.staging_dir in self.parents and corpus.staging_dir not in target.parents
        if num_moves > 2:
            os._exit(9)
        return replace(self, target)

    if (child := os.fork()) == 0:
        with patch.object(Path, "replace", replace_twice):
            split(corpus, first)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not corpus.manifest.exists()
    assert split(corpus, first).is_new_revision is False  # the commit was completed before the sources were looked at
    assert content(corpus) == content(undisturbed)
    assert split(corpus, second).revision == 2
