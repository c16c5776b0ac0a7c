"""The vectors that embeddings give to texts, as answers to a program (data/answers.py)."""

import numpy as np
import numpy.typing as npt

from charlm.data.answers import AnswerForm
from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings


def answer(texts: list[str], embeddings: TokenEmbeddings, form: AnswerForm) -> list[dict[str, object]]:
    """One entry per text, in their order."""
    sentences = [Sentence(text) for text in texts]
    embeddings.embed(sentences)
    return [form.write(sentence.words, matrix_of(sentence, embeddings.embedding_length)) for sentence in sentences]


def matrix_of(sentence: Sentence, width: int) -> npt.NDArray[np.float32]:
    """The vectors of the tokens, (N, D)."""
    if not len(sentence):
        return np.zeros((0, width), np.float32)
    return np.asarray(sentence.get_token_embeddings().float().cpu().numpy())
