"""A registered pair is served by MLflow itself, and answers as docs/serving.md says."""

import json
import re
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charlm.artifacts import RunFiles
from charlm.data import Sentence
from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
from tests.conftest import ROOT, TrainedWorkspace
from tests.model_server import ask, model_server

pytestmark = pytest.mark.service
SHOWN = re.search(r"-d '(.+)'", (ROOT / "docs" / "serving.md").read_text())
assert SHOWN is not None
SHOWN_REQUEST = json.loads(SHOWN[1])


@pytest.fixture(scope="module")
def server(trained_workspace: TrainedWorkspace) -> Iterator[str]:
    """The address of a real server of the pair `tiny`."""
    with model_server("models:/tiny@challenger", trained_workspace.root, PYTHONPATH="") as address:
        yield address


def test_the_shown_request_gets_the_vectors_that_the_library_gives(
    server: str, trained_workspace: TrainedWorkspace
) -> None:
    predictions = ask(server, SHOWN_REQUEST)["predictions"]
    runs = trained_workspace.trained["runs"]
    embeddings = StackedEmbeddings(
        [FlairEmbeddings(RunFiles(Path(runs[direction]["run_dir"])).best_lm) for direction in ("forward", "backward")]
    )
    assert len(predictions) == len(SHOWN_REQUEST["inputs"])
    for text, entry in zip(SHOWN_REQUEST["inputs"], predictions, strict=True):
        sentence = Sentence(text)
        embeddings.embed(sentence)
        assert entry["tokens"] == [token.text for token in sentence]
        for token, vector in zip(sentence, entry["embeddings"], strict=True):
            assert vector == pytest.approx(token.embedding.tolist(), abs=1e-5)


@pytest.mark.parametrize("request_body", [{"inputs": [1, 2]}, {"inputs": {"text": 3}}, {"texts": ["a"]}, []])
def test_anything_but_a_list_of_texts_is_a_bad_request(server: str, request_body: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, request_body)
    assert refused.value.code == 400


def test_parameters_make_the_answer_small(server: str) -> None:
    texts = SHOWN_REQUEST["inputs"]
    (full, *_), (small, *_) = (
        ask(server, {"inputs": texts, "params": params})["predictions"]
        for params in ({}, {"pooling": "mean", "dtype": "float16", "base64": True})
    )
    assert small["shape"] == [len(full["embeddings"][0])]
    assert small["dtype"] == "float16"
    assert len(json.dumps(small)) < len(json.dumps(full)) / 10


def test_an_unknown_way_of_pooling_is_a_bad_request(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, {"inputs": ["a"], "params": {"pooling": "max"}})
    assert refused.value.code == 400
    assert "pooling is token or mean or first_last, got 'max'" in refused.value.read().decode()


def test_an_empty_text_has_no_tokens(server: str) -> None:
    assert ask(server, {"inputs": ["", "a set"]})["predictions"][0] == {"tokens": [], "embeddings": []}
