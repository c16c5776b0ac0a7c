"""Texts are scored row by row; a cache and an n-gram model change the probabilities, and nothing else."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from charlm.artifacts import OutputFiles, Workspace
from charlm.config import BaselineConfig, CacheConfig, DictionaryConfig, ReadConfig, SplitConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import CharLMError, SourceError
from charlm.evaluation.baseline import open_ngrams, score_baseline
from charlm.evaluation.language_model import score_file, score_text
from charlm.evaluation.rows import AloneScorer
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.serialization.bundle import write_bundle
from charlm.text.sources import rows as rows_of_sources
from charlm.trainers.lm.manifest import corpus_identity
from flows.cli.app import main
from tasks.corpus.prepare import prepare_corpus
from tasks.inference.scoring import Mixing, score_texts
from tests.conftest import ROOT, write_sentences

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the corpora `words` and `characters`, and an untrained pair of models of each."""
    tmp_path = tmp_path_factory.mktemp("scoring")
    torch.manual_seed(1)
    space = Workspace(tmp_path / "workspace")
    text = write_sentences(tmp_path / "text.txt", num_lines=600)
    for name, unit in (("words", "word"), ("characters", "char")):
        split = SplitConfig(unit=unit, valid_share=0.1, test_share=0.1)  # type: ignore[arg-type]
        corpus = prepare_corpus(space, [str(text)], name, split, DictionaryConfig(), reading=ReadConfig()).files
        dictionary = Dictionary.load_from_file(corpus.dictionary)
        models = {
            direction: LanguageModel(dictionary, direction == "forward", 8, 1, embedding_size=8).eval()
            for direction in ("forward", "backward")
        }
        states = {direction: model.language_model_state() for direction, model in models.items()}
        write_bundle(tmp_path / name, states, {})
    (tmp_path / "new.txt").write_text("the list of an object.\n\n \nunheard-of value call.\nlast", encoding="utf-8")
    return tmp_path


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Workspace(tmp_path / "workspace")


def scored_rows(path: Path) -> dict[str, list]:
    return pq.read_table(path).to_pydict()


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_rows_in_context_add_up_to_the_score_of_the_text(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    text = tmp_path / "new.txt"
    mixing = Mixing(cache=CacheConfig(weight=0.0))  # a cache that counts nothing: the text is read as one
    scored = score_texts(
        workspace,
        str(tmp_path / kind),
        [str(text)],
        output=tmp_path / "rows.parquet",
        per="line",
        mixing=mixing,
        with_nats=True,
    )
    rows = scored_rows(tmp_path / "rows.parquet")
    assert rows["index"] == [0, 1, 2]  # blank lines belong to the first
    assert rows["source"] == [str(text)] * 3
    assert sum(rows["bytes"]) == len(text.read_bytes())  # an empty line less, the last newline more
    assert scored.rows == 3
    for direction, model in load_language_models(tmp_path / kind).items():
        whole = score_file(model, text)
        assert scored.scores[direction].to_json() == pytest.approx(whole.to_json(), rel=1e-5)
        assert sum(rows[f"{direction}_nats"]) == pytest.approx(whole.nats, rel=1e-5)
        bits = np.dot(rows[f"{direction}_bits_per_byte"], rows["bytes"])
        assert bits / whole.bytes == pytest.approx(whole.bits_per_byte, rel=1e-5)
    mean = (np.array(rows["forward_bits_per_byte"]) + rows["backward_bits_per_byte"]) / 2
    assert rows["bits_per_byte"] == pytest.approx(mean)


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_a_row_has_the_score_of_a_file_with_its_text(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    """Also a text of several streams, and whatever is scored beside it."""
    long = write_sentences(tmp_path / "long.txt", seed=3, num_lines=200).read_text()
    documents = ["one line.\n", long, "two\nlines, é.\n\n", "x\n"]
    records = [json.dumps({"text": text}) for text in [*documents[:2], "", *documents[2:]]]
    (tmp_path / "records.jsonl").write_text("\n".join(records), encoding="utf-8")
    scored = score_texts(
        workspace, str(tmp_path / kind), [str(tmp_path / "records.jsonl")], output=tmp_path / "r.parquet", per="record"
    )
    rows = scored_rows(tmp_path / "r.parquet")
    assert rows["index"] == [0, 1, 3, 4]  # the empty record has none
    models = load_language_models(tmp_path / kind)
    for number, document in enumerate(documents):
        scores = [score_text(model, document) for model in models.values()]
        assert rows["forward_bits_per_byte"][number] == pytest.approx(scores[0].bits_per_byte, rel=1e-5)
        assert rows["backward_bits_per_byte"][number] == pytest.approx(scores[1].bits_per_byte, rel=1e-5)
        assert rows["bytes"][number] == scores[0].bytes
        assert rows["characters"][number] == scores[0].characters
        assert rows["unk_rate"][number] == pytest.approx(scores[0].unk_rate)
    assert sum(rows["bytes"]) == scored.scores["forward"].bytes


def test_the_columns_are_those_that_are_promised(workspace: Workspace, tmp_path: Path) -> None:
    forward = load_language_models(tmp_path / "characters")["forward"]
    write_bundle(tmp_path / "alone", {"forward": forward.language_model_state()}, {})
    score_texts(workspace, str(tmp_path / "alone"), [str(tmp_path / "new.txt")], output=tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.column_names == [
        *("source", "index", "characters", "bytes", "forward_bits_per_byte", "backward_bits_per_byte"),
        *("bits_per_byte", "unk_rate", "percentile"),
    ]
    rows = table.to_pydict()
    assert rows["bits_per_byte"] == rows["forward_bits_per_byte"]
    assert rows["backward_bits_per_byte"] == rows["percentile"] == [None] * table.num_rows  # there is no such model


def test_percentiles_are_those_among_the_held_out_documents(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = workspace.corpus("characters")
    states = {name: lm.language_model_state() for name, lm in load_language_models(tmp_path / "characters").items()}
    write_bundle(tmp_path / "own", states, {"corpus": corpus_identity(corpus)})
    (tmp_path / "odd.txt").write_text("ÀÁÂÃÄ ÅÆÇÈÉ\n")
    texts = [str(corpus.test), str(tmp_path / "odd.txt")]
    scored = score_texts(workspace, str(tmp_path / "own"), texts, output=tmp_path / "rows.parquet", per="line")
    rows = scored_rows(tmp_path / "rows.parquet")
    assert scored.held_out_documents == scored.rows - 1
    expected = 100 * (np.argsort(np.argsort(rows["bits_per_byte"][:-1])) + 0.5) / scored.held_out_documents
    distinct = len(set(rows["bits_per_byte"])) == scored.rows
    assert not distinct or rows["percentile"][:-1] == pytest.approx(expected)
    assert rows["percentile"][-1] == 100
    assert len(list(corpus.held_out_scores_dir.iterdir())) == 1
    known = corpus.held_out_scores_dir / next(corpus.held_out_scores_dir.iterdir())
    before = known.stat().st_mtime_ns
    score_texts(workspace, str(tmp_path / "own"), texts, per="line")
    assert known.stat().st_mtime_ns == before  # read, not computed again
    write_bundle(tmp_path / "other", states, {"corpus": corpus_identity(corpus) | {"fingerprint": "another text"}})
    assert score_texts(workspace, str(tmp_path / "other"), texts, per="line").held_out_documents is None
    assert "no percentiles: the corpus that" in capsys.readouterr().err


def test_an_interrupted_call_is_continued_and_gives_the_same_bytes(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_of_sources, "BLOCK_BYTES", 300)
    texts = [str(write_sentences(tmp_path / f"{seed}.txt", seed=seed, num_lines=20)) for seed in range(3)]
    arguments = (workspace, str(tmp_path / "characters"), texts)
    whole = score_texts(*arguments, output=tmp_path / "whole.parquet", per="line")
    (tmp_path / "2.txt").write_bytes(b"one line\n" * 60 + b"\xff\n")  # bad bytes after some windows
    output, good = tmp_path / "scores.parquet", Path(texts[2])
    with pytest.raises(SourceError, match=r"2\.txt, line 61.*not UTF-8"):
        score_texts(*arguments, output=output, per="line")
    assert not output.exists()
    num_parts = len(OutputFiles(output).parts())
    assert num_parts > 3
    write_sentences(good, seed=2, num_lines=20)  # corrected
    scored: list[int] = []
    real = AloneScorer.score
    monkeypatch.setattr(AloneScorer, "score", lambda self, rows: scored.append(len(rows)) or real(self, rows))
    again = score_texts(*arguments, output=output, per="line")
    assert sum(scored) < 2 * 60 / 2  # only what had changed, in both directions
    assert (again.rows, again.scores) == (whole.rows, whole.scores)
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not OutputFiles(output).parts_dir.exists()


def test_a_row_may_be_a_whole_text(workspace: Workspace, tmp_path: Path) -> None:
    texts = [str(tmp_path / "new.txt"), str(write_sentences(tmp_path / "more.txt", seed=2, num_lines=30))]
    scored = score_texts(
        workspace, str(tmp_path / "words"), texts, output=tmp_path / "texts.parquet", per="text", with_nats=True
    )
    rows = scored_rows(tmp_path / "texts.parquet")
    assert rows["source"] == texts
    assert scored.rows == 2
    assert sum(rows["forward_nats"]) == pytest.approx(scored.scores["forward"].nats)


def test_the_mixture_is_the_n_gram_model_where_that_alone_counts(workspace: Workspace, tmp_path: Path) -> None:
    corpus = workspace.corpus("words")
    arguments = (workspace, str(tmp_path / "words"), [str(corpus.test)])
    alone = score_texts(*arguments, per="text", mixing=Mixing(corpus="words", weight=1.0))
    assert alone.scores["forward"].to_json() == pytest.approx(score_baseline(corpus).test)
    backward = open_ngrams(corpus, BaselineConfig(), "backward")
    assert not backward.config.is_forward
    mixed = score_texts(*arguments, per="text", mixing=Mixing(corpus="words"))
    plain = score_texts(*arguments, per="text")
    for direction, weight in mixed.mixture_weights.items():
        assert 0.5 < weight < 1  # the language model is untrained
        assert mixed.scores[direction].loss < min(plain.scores[direction].loss, 1.001 * alone.scores[direction].loss)
        assert mixed.scores[direction].unknown_bits == plain.scores[direction].unknown_bits


def test_the_n_gram_model_of_a_corpus_is_mixed_in_the_ids_of_the_model(workspace: Workspace, tmp_path: Path) -> None:
    model = load_language_models(tmp_path / "words")["forward"]
    smaller = Dictionary.from_items(model.dictionary.get_items()[1:8], unit=model.dictionary.unit_of)
    other = LanguageModel(smaller, True, 8, 1, embedding_size=8).eval()
    write_bundle(tmp_path / "other", {"forward": other.language_model_state()}, {})
    corpus = workspace.corpus("words")
    score_baseline(corpus)
    stored = corpus.ngrams(5, "forward").read_bytes()
    scored = score_texts(
        workspace, str(tmp_path / "other"), [str(corpus.test)], mixing=Mixing(corpus="words", weight=1.0)
    )
    assert scored.scores["forward"].loss < score_baseline(corpus).test["loss"]  # more is <unk>
    assert corpus.ngrams(5, "forward").read_bytes() == stored


def test_the_command_shows_scores_and_writes_rows(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.parquet"
    arguments = ["score", str(tmp_path / "words"), str(tmp_path / "new.txt"), "--output", str(output), "--json"]
    arguments += ["--per", "line", "--with-nats"]
    arguments += ["--cache", "100", "--mix", "words", "--mix-weight", "0.5", "--workspace", str(workspace.root)]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["output"] == str(output)
    assert shown["mixture_weights"] == {"forward": 0.5, "backward": 0.5}
    assert shown["rows"] == pq.read_table(output).num_rows == 3
    assert shown["scores"]["forward"]["perplexity"] == pytest.approx(math.exp(shown["scores"]["forward"]["loss"]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per": "word"}, "--per is document, line, record or text"),
        ({"per": "record"}, "is plain text, which has no records"),
        ({"mixing": {"weight": 0.5}}, "--mix-weight is a share"),
        ({"mixing": {"corpus": "words", "weight": 1.5}}, "--mix-weight is a share"),
        ({"mixing": {"corpus": "missing"}}, "no corpus named 'missing'"),
        ({"texts": ["missing.txt"]}, "no file or folder 'missing.txt'"),
        ({"output": "new.txt"}, "is one of the texts"),
        ({"output": "words"}, "is a folder"),
        ({"texts": ["blank.txt"]}, "hold nothing to score"),
        ({"texts": ["latin.txt"]}, "latin.txt, line 2, byte 9: 0xe9 is not UTF-8"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    changes: dict[str, Any], message: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blank.txt").write_text("\n \n\n")
    (tmp_path / "latin.txt").write_bytes("naïve\ncafé\n".encode("cp1252").replace(b"\xef", b"i"))
    before = sorted(tmp_path.rglob("*"))
    arguments = {"texts": ["new.txt"], "output": "rows.parquet"} | changes
    arguments = {name: Path(value) if name == "output" else value for name, value in arguments.items()}
    mixing = arguments.pop("mixing", {})
    with pytest.raises(CharLMError, match=message):
        score_texts(workspace, str(tmp_path / "words"), mixing=Mixing(**mixing), **arguments)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cache_without_memory_settings_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--cache-weight", "0.1"], ["--cache", "0"]):
        with pytest.raises(SystemExit) as end:
            main(["score", "model", "text.txt", *arguments])
        assert end.value.code == 2
    assert "give --cache STATES too" in capsys.readouterr().err
    assert CacheConfig().window == 2_000


@pytest.mark.slow
def test_a_process_that_was_killed_is_continued_to_the_same_file(workspace: Workspace, tmp_path: Path) -> None:
    text, output = write_sentences(tmp_path / "many.txt", num_lines=3_000), tmp_path / "scores.parquet"
    program = f"""
from pathlib import Path
from charlm.artifacts import Workspace
from charlm.text.sources import rows
from tasks.inference.scoring import score_texts
rows.BLOCK_BYTES = 3_000
score_texts(Workspace(Path({str(workspace.root)!r})), {str(tmp_path / "characters")!r}, [{str(text)!r}],
            output=Path({str(output)!r}), per="line")
"""
    kills = 0
    while not output.exists():
        before = len(OutputFiles(output).parts())
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        while process.poll() is None and not before + 15 < len(OutputFiles(output).parts()):
            time.sleep(0.01)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_of_sources, "BLOCK_BYTES", 3_000)
        torch.set_num_threads(1)
        score_texts(workspace, str(tmp_path / "characters"), [str(text)], output=tmp_path / "whole.parquet", per="line")
    assert scored_rows(output)["index"] == list(range(3_000))
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
