"""Every word of some sentences with its vector, for a look at its neighbours."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from charlm.data.sentence import Sentence
from charlm.embeddings.of_model import embeddings_of
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.evaluation.neighbours import Context, EmbeddedWord

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel


def embed_words(models: "Iterable[LanguageModel]", sentences: Sequence[Sequence[str]]) -> list[EmbeddedWord]:
    """Every word of `sentences` (each a sequence of words) with its embedding by all of `models`, in order."""
    embeddings = StackedEmbeddings([embeddings_of(lm) for lm in models])
    embedded = [Sentence(list(words)) for words in sentences]
    embeddings.embed(embedded)
    return [
        EmbeddedWord(token.text, Context.of(words, position), token.embedding.cpu().numpy())
        for words, sentence in zip(sentences, embedded, strict=True)
        for position, token in enumerate(sentence)
    ]
