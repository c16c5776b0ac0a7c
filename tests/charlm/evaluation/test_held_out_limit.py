"""A score reads no more held-out text than the limit, spread over domains and documents."""

import numpy as np
import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import SplitConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError
from charlm.evaluation.domains import score_documents_by_domain, score_domains, score_since, write_domains
from charlm.evaluation.held_out_limit import choose_documents, held_out_limit
from charlm.evaluation.language_model import score_file
from charlm.language_models.language_model import LanguageModel
from charlm.text.corpus.held_out import HeldOutDocuments, held_out_documents
from charlm.text.corpus.splitting import split_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> CorpusFiles:
    """Two domains of paragraphs with Windows line ends and empty lines, a fifth of them held out for test."""
    root = tmp_path_factory.mktemp("limit")
    corpus = CorpusFiles(root / "corpus")
    for domain, count in (("large", 300), ("small", 60)):
        paragraphs = [f"{domain} {number} begins\r\nand ends\r\n" for number in range(count)]
        (root / f"{domain}.txt").write_text("\r\n".join(paragraphs), newline="")
        split_corpus([str(root / f"{domain}.txt")], corpus, SplitConfig(test_share=0.2, valid_share=0.2), domain=domain)
    return corpus


def model_of() -> LanguageModel:
    return LanguageModel(Dictionary.from_items([*" \nabcdefgilmnrs0123456789"]), True, 8, 1, 4, dropout=0.0).eval()


def test_small_text_is_read_as_a_whole(corpus, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("CHARLM_HELD_OUT_LIMIT", raising=False)
    assert held_out_limit() == 20_000_000
    whole = write_domains(corpus, "test", tmp_path)
    assert sum(path.stat().st_size for path in whole.values()) == corpus.test.stat().st_size


def test_large_text_is_read_in_part_and_every_score_reads_the_same(corpus, tmp_path, monkeypatch) -> None:
    documents = held_out_documents(corpus, "test")
    monkeypatch.setenv("CHARLM_HELD_OUT_LIMIT", "600")
    paths = write_domains(corpus, "test", tmp_path)
    texts = {domain: path.read_text() for domain, path in paths.items()}
    assert 400 < sum(map(len, texts.values())) < 800
    assert set(texts) == {"large", "small"}
    assert all(text and "\n\n" not in text and text.endswith("ends\n") for text in texts.values())
    model = model_of()
    by_document, by_domain = score_documents_by_domain(model, corpus), score_domains(model, corpus)
    for domain, scores in by_document.items():
        assert 0 < len(scores.keys) < len(documents[domain])
        assert int(scores.units.sum()) == len(texts[domain])
        assert scores.nats.sum() == pytest.approx(by_domain[domain].nats, rel=1e-5)
    new, old = score_since(model, corpus, 1)
    assert set(new) == {"small"}
    assert len(old.keys) == len(by_document["large"].keys)


def test_documents_are_chosen_at_random_but_always_the_same() -> None:
    keys = np.random.default_rng(1).integers(0, 2**63, size=1000).astype(np.uint64)
    sizes = np.full(1000, 10)
    documents = {"a": HeldOutDocuments(keys, sizes, sizes, sizes), "b": HeldOutDocuments(keys[:5], *[sizes[:5]] * 3)}
    chosen = choose_documents(documents, 1_000)
    assert chosen["a"].sum() == 100
    assert chosen["b"].sum() == 5  # a small domain is not lost
    assert np.abs(np.flatnonzero(chosen["a"]).mean() - 500) < 100
    assert all((chosen[name] == again).all() for name, again in choose_documents(documents, 1_000).items())


def test_a_file_is_scored_at_the_beginning_of_each_stream(tmp_path, monkeypatch) -> None:
    (tmp_path / "text.txt").write_text("abc def\n" * 10_000)
    monkeypatch.setenv("CHARLM_HELD_OUT_LIMIT", "8000")
    assert score_file(model_of(), tmp_path / "text.txt").characters == 8_000
    monkeypatch.setenv("CHARLM_HELD_OUT_LIMIT", "none")
    assert score_file(model_of(), tmp_path / "text.txt").characters == 80_000


@pytest.mark.parametrize("value", ["0", "-1", "much", "1e6"])
def test_a_limit_that_makes_no_sense_is_refused(monkeypatch, value) -> None:
    monkeypatch.setenv("CHARLM_HELD_OUT_LIMIT", value)
    with pytest.raises(ConfigError, match="CHARLM_HELD_OUT_LIMIT is a number of characters"):
        held_out_limit()
