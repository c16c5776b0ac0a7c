"""The vectors of texts as answers: what each form holds."""

import json
from base64 import b64decode

import numpy as np
import pytest
import torch

from charlm.data.answers import AnswerForm
from charlm.data.sentence import Sentence
from charlm.embeddings.answers import matrix_of
from charlm.errors import ConfigError

VECTORS = [[1.0, 0.5, -2.0], [3.0, 0.0, 0.25]]


@pytest.fixture
def sentence() -> Sentence:
    sentence = Sentence("a b")
    for token, vector in zip(sentence, VECTORS, strict=True):
        token.set_embedding("given", torch.tensor(vector))
    return sentence


def test_by_default_every_token_has_its_vector_as_numbers(sentence: Sentence) -> None:
    assert AnswerForm().write(sentence.words, matrix_of(sentence, 3)) == {"tokens": ["a", "b"], "embeddings": VECTORS}


def test_the_mean_is_one_vector_without_the_tokens(sentence: Sentence) -> None:
    assert AnswerForm(pooling="mean").write(sentence.words, matrix_of(sentence, 3)) == {
        "embedding": [2.0, 0.25, -0.875]
    }


def test_first_and_last_are_joined(sentence: Sentence) -> None:
    assert AnswerForm(pooling="first_last").write(sentence.words, matrix_of(sentence, 3)) == {
        "embedding": VECTORS[0] + VECTORS[1]
    }


def test_base64_holds_the_same_numbers_row_by_row(sentence: Sentence) -> None:
    answer = AnswerForm(base64=True, dtype="float16").write(sentence.words, matrix_of(sentence, 3))
    assert answer == {"tokens": ["a", "b"], "embeddings": answer["embeddings"], "shape": [2, 3], "dtype": "float16"}
    found = np.frombuffer(b64decode(str(answer["embeddings"])), "<f2").reshape(2, 3)
    assert found.tolist() == VECTORS


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (AnswerForm(), {"tokens": [], "embeddings": []}),
        (AnswerForm(pooling="mean"), {"embedding": [0.0, 0.0]}),
        (AnswerForm(pooling="first_last"), {"embedding": [0.0, 0.0, 0.0, 0.0]}),
        (AnswerForm(base64=True), {"tokens": [], "embeddings": "", "shape": [0, 2], "dtype": "float32"}),
    ],
)
def test_a_text_without_tokens_has_zeros_as_its_one_vector(form: AnswerForm, expected: dict[str, object]) -> None:
    assert form.write([], matrix_of(Sentence(""), 2)) == expected


def test_every_answer_is_plain_json(sentence: Sentence) -> None:
    for form in (AnswerForm(dtype="float16"), AnswerForm(base64=True), AnswerForm(pooling="mean", base64=True)):
        json.dumps(form.write(sentence.words, matrix_of(sentence, 3)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pooling": "max"}, "pooling is token or mean or first_last, got 'max'"),
        ({"dtype": "int8"}, "dtype is float32 or float16, got 'int8'"),
        ({"base64": "yes"}, "base64 is True or False, got 'yes'"),
        ({"pool": "mean"}, "there is no parameter pool; there are pooling, dtype, base64"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_one_line(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AnswerForm.from_params(params)
