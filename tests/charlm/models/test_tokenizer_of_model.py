"""Tokenizers are chosen by name or given as functions, and models remember theirs."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from charlm.artifacts import Workspace
from charlm.config import DownstreamConfig
from charlm.data import Sentence
from charlm.datasets.lines import ReadingRules
from charlm.datasets.opening import read_labelled
from charlm.embeddings.export import embed_file
from charlm.errors import ConfigError, SourceError
from charlm.language_models.language_model import LanguageModel
from charlm.models import DownstreamModel
from charlm.tokenization import TokenizerIdentity, tokenizer_name
from charlm.trainers.downstream.build import build_downstream_model
from charlm.units.word_tokenizers import register_tokenizer
from tasks.downstream.prediction import label_text
from tests.toy import GOLDEN, toy_corpus, toy_embeddings

pytestmark = pytest.mark.numeric

TEXT = "I love-it, Berlin."
AT_SPACES = ["I", "love-it,", "Berlin."]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    model = build_downstream_model("tagger", toy_corpus(), "kind", toy_embeddings(), DownstreamConfig(hidden_size=4))
    model.tokenizer = TokenizerIdentity.of("whitespace")
    path = tmp_path_factory.mktemp("model") / "best-model.pt"
    model.save(path)
    return path


def test_names_and_functions_cut_a_text() -> None:
    assert Sentence(TEXT).words == Sentence(TEXT, use_tokenizer="rules").words != AT_SPACES
    for tokenizer in ("whitespace", "SpaceTokenizer", str.split, False):
        assert Sentence(TEXT, use_tokenizer=tokenizer).words == AT_SPACES
    assert tokenizer_name("whitespace") == "whitespace 1"
    assert tokenizer_name(str.split) == "TokenizerWrapper_split"
    with pytest.raises(ConfigError, match="a tokenizer is one of rules, whitespace, unicode, moses"):
        Sentence(TEXT, use_tokenizer="nothing")


def test_a_model_cuts_texts_as_it_was_trained_to(model_file: Path, tmp_path: Path) -> None:
    model = DownstreamModel.load(model_file)
    assert model.tokenizer == TokenizerIdentity("whitespace", "1")
    assert model.sentence(TEXT).words == AT_SPACES
    (tmp_path / "text.txt").write_text(f"{TEXT}\n")
    texts = (Workspace(tmp_path / "workspace"), str(model_file), str(tmp_path / "text.txt"))
    assert label_text(*texts).predictions[0]["tokens"] == AT_SPACES
    assert label_text(*texts, tokenizer="rules").predictions[0]["tokens"] == Sentence(TEXT).words


def test_another_version_of_its_tokenizer_is_refused(model_file: Path) -> None:
    model = DownstreamModel.load(model_file)
    model.tokenizer = TokenizerIdentity("whitespace", "0")
    with pytest.raises(ConfigError, match="the tokenizer whitespace, version '0', here is '1'"):
        model.sentence(TEXT)


def test_files_are_cut_by_the_tokenizer_that_is_named(tmp_path: Path) -> None:
    models = {"forward": LanguageModel.load_language_model(GOLDEN / "forward.pt")}
    (tmp_path / "text.txt").write_text(f"{TEXT}\n")
    for tokenizer, words in (("whitespace", AT_SPACES), ("rules", Sentence(TEXT).words)):
        result = embed_file(
            models, tmp_path / "text.txt", tmp_path / "out.parquet", rules=ReadingRules(tokenizer=tokenizer)
        )
        table = pq.read_table(result.output).to_pydict()
        assert table["token"] == words
        spans = zip(table["start"], table["end"], strict=True)
        assert [TEXT[start:end] for start, end in spans] == words
    (tmp_path / "train.jsonl").write_text(f'{{"text": "{TEXT}", "label": "a"}}\n' * 2)
    (sentences,), _ = read_labelled([tmp_path / "train.jsonl"], None, None, None, ReadingRules(tokenizer=str.split))
    assert sentences[0].words == AT_SPACES


def test_a_tokenizer_that_changes_the_text_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    register_tokenizer("shouting", lambda text: text.upper().split(), loses_text=True)
    models = {"forward": LanguageModel.load_language_model(GOLDEN / "forward.pt")}
    (tmp_path / "text.txt").write_text(f"{TEXT}\n")
    with pytest.raises(SourceError, match="'LOVE-IT,', which is not in the text"):
        embed_file(models, tmp_path / "text.txt", tmp_path / "out.parquet", rules=ReadingRules(tokenizer="shouting"))
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
