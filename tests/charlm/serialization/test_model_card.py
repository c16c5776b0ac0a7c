"""The model card says what the manifest knows, and admits what it does not."""

import re

from charlm.data import Sentence
from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
from charlm.serialization.bundle import write_bundle
from charlm.serialization.model_card import model_card
from tests.charlm.serialization.test_serialization import make_state

INFO = {
    "corpus": {"name": "laws", "characters": 1_234_567, "domains": ["law", "a|b"]},
    "scores": {"forward": {"test": {"bits_per_character": 2.25, "unk_rate": 0.0123}}},
    "recipe": "demo",
    "licence": "CC BY 4.0",
    "library_versions": {"torch": "2.13.0"},
}


def test_the_card_states_corpus_recipe_scores_and_licence(tmp_path):
    write_bundle(tmp_path, {"forward": make_state()}, INFO)
    card = (tmp_path / "README.md").read_text()
    assert "# Character language models of laws" in card
    assert "Licence: CC BY 4.0" in card
    assert "| characters | 1,234,567 |" in card
    assert "| domains | law, a\\|b |" in card
    assert "| recipe | demo |" in card
    assert "| torch version | 2.13.0 |" in card
    assert "| forward | test | 2.250 | not recorded | not recorded | 1.230% |" in card
    assert "| forward | 1 × 4 LSTM | char | 8 |" in card


def test_the_code_on_the_card_runs(tmp_path, monkeypatch):
    states = {"forward": make_state(), "backward": make_state(is_forward_lm=False)}
    write_bundle(tmp_path, states, INFO)
    code = re.search(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    names = {"Sentence": Sentence, "StackedEmbeddings": StackedEmbeddings, "FlairEmbeddings": FlairEmbeddings}
    exec(code[1].replace("BUNDLE", str(tmp_path)), names)
    assert names["sentence"][0].embedding.shape == (8,)


def test_an_empty_manifest_still_has_a_card():
    card = model_card({})
    assert "Licence: not recorded\n\nLanguages: not recorded\n" in card
    assert "Not recorded." in card


def test_a_byte_model_is_not_offered_to_flair(tmp_path):
    write_bundle(tmp_path, {"forward": make_state(unit="byte")}, INFO)
    assert "Flair cannot load them" in (tmp_path / "README.md").read_text()
