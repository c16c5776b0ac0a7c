"""Texts are scored line by line; a cache and an n-gram model change the probabilities, and nothing else."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from charlm.artifacts import Workspace
from charlm.config import BaselineConfig, CacheConfig, DictionaryConfig, ReadConfig, SplitConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import CharLMError
from charlm.evaluation.baseline import open_ngrams, score_baseline
from charlm.evaluation.language_model import score_file
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.serialization.bundle import write_bundle
from flows.cli.app import main
from tasks.corpus.prepare import prepare_corpus
from tasks.inference.scoring import score_texts
from tests.conftest import write_sentences

pytestmark = pytest.mark.numeric


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with the corpora `words` and `characters`, and an untrained pair of models of each."""
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
    return space


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_rows_add_up_to_the_score_of_the_text(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    text = tmp_path / "new.txt"
    scored = score_texts(workspace, str(tmp_path / kind), [str(text)], output=tmp_path / "rows.parquet")
    rows = pq.read_table(tmp_path / "rows.parquet").to_pydict()
    assert rows["line"] == [1, 3, 4, 5]  # the second one is empty
    assert rows["source"] == [str(text)] * 4
    assert sum(rows["bytes"]) == len(text.read_bytes())  # an empty line less, the last newline more
    assert scored.rows == 4
    for direction, model in load_language_models(tmp_path / kind).items():
        whole = score_file(model, text)
        assert scored.scores[direction].to_json() == pytest.approx(whole.to_json(), rel=1e-6)
        assert sum(rows[f"{direction}_nats"]) == pytest.approx(whole.nats)
        bits = np.dot(rows[f"{direction}_bits_per_byte"], rows["bytes"])
        assert bits / whole.bytes == pytest.approx(whole.bits_per_byte)
    mean = (np.array(rows["forward_bits_per_byte"]) + rows["backward_bits_per_byte"]) / 2
    assert rows["bits_per_byte"] == pytest.approx(mean)


def test_a_row_may_be_a_whole_text(workspace: Workspace, tmp_path: Path) -> None:
    texts = [str(tmp_path / "new.txt"), str(write_sentences(tmp_path / "more.txt", seed=2, num_lines=30))]
    by_line = score_texts(workspace, str(tmp_path / "words"), texts, output=tmp_path / "lines.parquet")
    by_text = score_texts(workspace, str(tmp_path / "words"), texts, output=tmp_path / "texts.parquet", per="text")
    rows = pq.read_table(tmp_path / "texts.parquet").to_pydict()
    assert rows["source"] == texts
    assert (by_line.rows, by_text.rows) == (34, 2)
    assert by_line.scores == by_text.scores
    assert sum(rows["forward_nats"]) == pytest.approx(by_line.scores["forward"].nats)


def test_the_mixture_is_the_n_gram_model_where_that_alone_counts(workspace: Workspace, tmp_path: Path) -> None:
    corpus = workspace.corpus("words")
    arguments = (workspace, str(tmp_path / "words"), [str(corpus.test)])
    alone = score_texts(*arguments, mix="words", mix_weight=1.0)
    assert alone.scores["forward"].to_json() == pytest.approx(score_baseline(corpus).test)
    backward = open_ngrams(corpus, BaselineConfig(), "backward")
    assert not backward.config.is_forward
    mixed = score_texts(*arguments, mix="words")
    plain = score_texts(*arguments)
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
    scored = score_texts(workspace, str(tmp_path / "other"), [str(corpus.test)], mix="words", mix_weight=1.0)
    assert scored.scores["forward"].loss < score_baseline(corpus).test["loss"]  # more is <unk>
    assert corpus.ngrams(5, "forward").read_bytes() == stored


def test_the_command_shows_scores_and_writes_rows(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.parquet"
    arguments = ["score", str(tmp_path / "words"), str(tmp_path / "new.txt"), "--output", str(output), "--json"]
    arguments += ["--cache", "100", "--mix", "words", "--mix-weight", "0.5", "--workspace", str(workspace.root)]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["output"] == str(output)
    assert shown["mixture_weights"] == {"forward": 0.5, "backward": 0.5}
    assert shown["rows"] == pq.read_table(output).num_rows == 4
    assert shown["scores"]["forward"]["perplexity"] == pytest.approx(math.exp(shown["scores"]["forward"]["loss"]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per": "word"}, "--per is line or text"),
        ({"mix_weight": 0.5}, "--mix-weight is a share"),
        ({"mix": "words", "mix_weight": 1.5}, "--mix-weight is a share"),
        ({"mix": "missing"}, "no corpus named 'missing'"),
        ({"texts": ["missing.txt"]}, "no text file 'missing.txt'"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    changes: dict[str, object], message: str, workspace: Workspace, tmp_path: Path
) -> None:
    arguments = {"texts": [str(tmp_path / "new.txt")], "output": tmp_path / "rows.parquet"} | changes
    with pytest.raises(CharLMError, match=message):
        score_texts(workspace, str(tmp_path / "words"), **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "rows.parquet").exists()


def test_a_cache_without_memory_settings_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--cache-weight", "0.1"], ["--cache", "0"]):
        with pytest.raises(SystemExit) as end:
            main(["score", "model", "text.txt", *arguments])
        assert end.value.code == 2
    assert "give --cache STATES too" in capsys.readouterr().err
    assert CacheConfig().window == 2_000
