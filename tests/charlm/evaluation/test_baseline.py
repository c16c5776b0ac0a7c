"""The n-gram model of a corpus is scored as its language models are, kept, and made again when the text is another."""

from pathlib import Path

import numpy as np
import pytest

from charlm.artifacts import CorpusFiles, Workspace
from charlm.config import BaselineConfig, ReadConfig, SplitConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError
from charlm.evaluation import baseline as baselines
from charlm.evaluation.baseline import known_baseline, open_ngrams, score_baseline, score_baseline_by_domain
from charlm.language_models.ngrams import NgramModel
from charlm.text.corpus.encoding import ensure_encoded, read_ids
from tasks.corpus.prepare import prepare_corpus
from tests.conftest import write_sentences


@pytest.fixture(params=["char", "byte"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> CorpusFiles:
    text = write_sentences(tmp_path / "text.txt", num_lines=1_500)
    space = Workspace(tmp_path / "workspace")
    split = SplitConfig(unit=request.param, shard_size=20_000, valid_share=0.1, test_share=0.1)
    return prepare_corpus(space, [str(text)], "tiny", split, None, reading=ReadConfig()).files


def test_scores_are_the_mean_over_every_unit_of_the_held_out_text(corpus: CorpusFiles) -> None:
    scores = score_baseline(corpus)
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    encoded = ensure_encoded(corpus, dictionary)
    train = np.concatenate([read_ids(encoded[shard.name]) for shard in corpus.shards()])
    assert len(corpus.shards()) > 1
    assert (scores.units, scores.share, scores.ngrams[0]) == (len(train), 1.0, len(dictionary))
    nats = open_ngrams(corpus, BaselineConfig()).nats(read_ids(encoded["test"]))
    assert scores.test["loss"] == pytest.approx(nats.mean(dtype=np.float64))
    assert scores.test["bits_per_byte"] == pytest.approx(scores.test["loss"] / np.log(2))  # all of it is ASCII
    assert scores.valid["loss"] != scores.test["loss"]
    by_domain = score_baseline_by_domain(corpus)
    assert by_domain["tiny"].to_json() == pytest.approx(scores.test)


def test_a_higher_order_predicts_better(corpus: CorpusFiles) -> None:
    losses = [score_baseline(corpus, BaselineConfig(order=order)).test["loss"] for order in (1, 2, 4)]
    assert losses == sorted(losses, reverse=True)


def test_a_known_model_is_kept_and_another_text_or_a_damaged_file_makes_a_new_one(
    corpus: CorpusFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = score_baseline(corpus)
    with monkeypatch.context() as patch:
        patch.setattr(NgramModel, "train", None)
        assert score_baseline(corpus) == scores
        corpus.baseline(5).unlink()
        assert score_baseline(corpus) == scores
    corpus.baseline(5).unlink()
    corpus.ngrams(5, "forward").write_bytes(b"damaged")
    assert score_baseline(corpus) == scores
    with monkeypatch.context() as patch:
        patch.setattr(baselines, "_source", lambda *_: "another text")
        assert open_ngrams(corpus, BaselineConfig()).config.source == "another text"


def test_of_a_long_text_the_first_lines_of_each_shard_are_counted(corpus: CorpusFiles) -> None:
    config = BaselineConfig(order=3, max_units=5_000)
    scores = score_baseline(corpus, config)
    assert 4_000 < scores.units <= 5_000
    assert scores.share == pytest.approx(scores.units / score_baseline(corpus).units)
    assert scores.test["loss"] > score_baseline(corpus, BaselineConfig(order=3)).test["loss"]
    with pytest.raises(CorpusError, match="max_units=10 holds no whole line"):
        score_baseline(corpus, BaselineConfig(order=2, max_units=10))


def test_a_short_training_is_shown_beside_a_part_of_the_text_until_all_of_it_was_counted(
    corpus: CorpusFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known_baseline(corpus) is None
    short = score_baseline(corpus, BaselineConfig.beside(0.01))
    assert short.units <= 15_001
    assert short.share < 1
    assert known_baseline(corpus) == short
    whole = score_baseline(corpus)
    assert whole.share == 1
    monkeypatch.setattr(NgramModel, "train", None)
    assert score_baseline(corpus, BaselineConfig.beside(0.01)) == whole  # which costs nothing
    assert known_baseline(corpus) == whole
    monkeypatch.setattr(baselines, "_FORMAT", "of another text")
    assert known_baseline(corpus) is None


@pytest.mark.parametrize(("minutes", "units"), [(None, 10_000_000), (0.5, 750_001), (2, 3_000_001), (60, 10_000_000)])
def test_what_is_counted_beside_a_training_grows_with_its_minutes(minutes: float | None, units: int) -> None:
    assert BaselineConfig.beside(minutes).max_units == units
