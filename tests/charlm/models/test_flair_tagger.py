"""Taggers that Flair has written: read without executing anything, they find the tags that they found there."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from charlm.data import Sentence
from charlm.errors import ModelFileError
from charlm.models import DownstreamModel, SequenceTagger
from charlm.storage.plain_pickle import Call, Name, PickledObject
from charlm.storage.torch_file import write_torch_file
from tests.flair.tagger_files import KINDS, SENTENCES

GOLDEN = Path(__file__).parents[2] / "golden" / "flair"


def tags(tagger: DownstreamModel) -> list[list[list[str]]]:
    sentences = [Sentence(text, use_tokenizer=False) for text in SENTENCES]
    tagger.predict(sentences, force_token_predictions=True)
    return [[[label.data_point.text, label.value] for label in sentence.get_labels("ner")] for sentence in sentences]


@pytest.mark.numeric
def test_a_tagger_of_flair_finds_what_it_found_there(tmp_path):
    tagger = SequenceTagger.load(GOLDEN / "tagger.pt")
    expected = json.loads((GOLDEN / "tagger.json").read_text())
    assert tags(tagger) == expected
    assert tagger.tags == ["O", *(f"{prefix}-{value}" for value in ("LOC", "PER") for prefix in "SBEI")]
    tagger.save(tmp_path / "ours.pt")
    assert tags(DownstreamModel.load(tmp_path / "ours.pt")) == expected


@pytest.mark.flair
def test_taggers_of_every_kind_find_what_they_find_in_flair(tmp_path):
    python = Path(os.environ.get("CHARLM_FLAIR_PYTHON", ".venv-flair/bin/python"))
    if not python.exists():
        pytest.skip("Flair's environment is not installed: make test-flair")
    subprocess.run([python, "tests/flair/tagger_files.py", GOLDEN / "forward.pt", tmp_path], check=True, timeout=300)
    for kind in KINDS:
        tagger = SequenceTagger.load(tmp_path / f"{kind}.pt")
        assert tags(tagger) == json.loads((tmp_path / f"{kind}.json").read_text()), kind


def tagger_file(path: Path, **changes: object) -> Path:
    """What Flair saves of a tagger, but for its weights."""
    state: dict[str, object] = {
        "__cls__": "SequenceTagger",
        "state_dict": {},
        "tag_dictionary": PickledObject(Name("flair.data", "Dictionary"), state={"idx2item": ["O"]}),
        "embeddings": {"__cls__": "WordEmbeddings", "vocab": {}, "name": "words"},
        "hidden_size": 4,
        "tag_type": "ner",
        "use_crf": False,
        "use_rnn": False,
        "rnn_layers": 1,
    }
    write_torch_file(path, state | changes)
    return path


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"__cls__": "TextClassifier"}, "holds TextClassifier; of Flair's taggers and classifiers charlm reads"),
        ({"embeddings": {"__cls__": "TransformerWordEmbeddings"}}, "is built on TransformerWordEmbeddings"),
        ({"embeddings": [1]}, "is built on embeddings as an object of Python"),
        ({"embeddings": Call(Name("os", "system"), ("true",))}, "asks to import os.system, which is refused"),
        ({"train_initial_hidden_state": True}, "a trained initial state"),
        ({}, "it has no weights embeddings.embedding.weight"),
        ({"state_dict": {"a": 1}}, "holds something that is not a tensor"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(changes, line, tmp_path):
    with pytest.raises(ModelFileError, match=line) as refusal:
        SequenceTagger.load(tagger_file(tmp_path / "model.pt", **changes))
    assert "model.pt" in str(refusal.value)
    assert "\n" not in str(refusal.value)
