"""One vector for each frequent word of a text: the mean of its contextual vectors, as a file of word2vec.

Bommasani et al. 2020, "Interpreting Pretrained Contextualized Representations via Reductions to Static Embeddings":
the mean over contexts is the best of such vectors.

Writes OUTPUT    number of words and width, then a word and its numbers a line, the most frequent word first
"""

# U = words, D = width of a vector

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from charlm.data.sentence import Sentence
from charlm.embeddings.base import TokenEmbeddings
from charlm.errors import ConfigError, CorpusError
from charlm.storage.atomic import atomic_write
from charlm.tokenization import AnyTokenizer

ENOUGH_CONTEXTS = 100
"""The mean of a word changes little after so many."""


def frequent_words(texts: Iterable[str], number: int, *, tokenizer: AnyTokenizer = True) -> list[str]:
    """The most frequent words of texts, the most frequent first, then by code point.

    Words with blanks in them, which a file of word2vec cannot hold, are left out. Raises ConfigError for a number below
    one, CorpusError where there is no word.
    """
    if number < 1:
        raise ConfigError(f"the number of words is at least 1, got {number}")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(Sentence(text, use_tokenizer=tokenizer).words)
    words = sorted((word for word in counts if not any(map(str.isspace, word))), key=lambda word: (-counts[word], word))
    if not words:
        raise CorpusError("the text has no words to give vectors to")
    return words[:number]


def static_vectors(
    embeddings: TokenEmbeddings,
    texts: Iterable[str],
    words: list[str],
    *,
    tokenizer: AnyTokenizer = True,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The mean vector of each of `words` over its first contexts in the texts, (U, D), and how many there were, (U,).

    Texts without a word that still needs contexts are not embedded. `on_progress` gets the number of texts that were
    read.
    """
    rows = {word: row for row, word in enumerate(words)}
    sums = np.zeros((len(words), embeddings.embedding_length))
    counts, waiting = np.zeros((2, len(words)), dtype=np.int64)  # contexts that were added up, and that are on the way

    def needed() -> Iterator[Sentence]:
        for number, text in enumerate(texts, start=1):
            sentence = Sentence(text, use_tokenizer=tokenizer)
            found = [rows[word] for word in sentence.words if word in rows]
            if any(waiting[row] < ENOUGH_CONTEXTS for row in found):
                np.add.at(waiting, found, 1)
                yield sentence
            if on_progress is not None:
                on_progress(number)

    for sentence in embeddings.embed_stream(needed()):
        matrix = sentence.get_token_embeddings().double().cpu().numpy()  # (N, D)
        places = [(place, rows[word]) for place, word in enumerate(sentence.words) if word in rows]
        np.add.at(sums, [row for _, row in places], matrix[[place for place, _ in places]])
        np.add.at(counts, [row for _, row in places], 1)
        sentence.clear_embeddings()
    return sums / np.maximum(counts, 1)[:, None], counts


def write_word_vectors(path: Path, words: list[str], vectors: np.ndarray) -> None:
    """Write words and their vectors (U, D) in the text format of word2vec."""
    with atomic_write(path) as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, vector in zip(words, vectors.tolist(), strict=True):
            file.write(f"{word} {' '.join(f'{number:.6g}' for number in vector)}\n".encode())
