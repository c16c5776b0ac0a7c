"""What is nearest to a word in its contexts, in a text: whether a model tells the meanings of a word apart.

Reads  a text file
"""

from dataclasses import dataclass
from typing import TypedDict

from charlm.artifacts import Workspace
from charlm.errors import ConfigError, CorpusError, SourceError, known_names
from charlm.evaluation.neighbours import WordNeighbours, different_contexts, neighbours_of
from charlm.storage.user_paths import user_path
from tasks.registry.download import open_model
from tasks.terminal import counted, terminal

_LONGEST = 60  # words of a sentence; longer lines are cut there
_MOST_OCCURRENCES, _MOST_LINES = 200, 200_000


class NeighbourJson(TypedDict):
    """What `--json` shows of a neighbour."""

    context: str
    cosine: float


class ContextJson(TypedDict):
    """What `--json` shows of a context of the word."""

    context: str
    neighbours: list[NeighbourJson]


@dataclass(frozen=True)
class WordLook:
    """A word in its most different contexts, each with its neighbours."""

    word: str
    occurrences: int
    """In the sentences that were embedded."""

    contexts: list[WordNeighbours]

    def to_json(self) -> dict[str, object]:
        contexts: list[ContextJson] = [
            {
                "context": str(one.place),
                "neighbours": [
                    {"context": str(near.place), "cosine": round(near.cosine, 6)} for near in one.neighbours
                ],
            }
            for one in self.contexts
        ]
        return {"word": self.word, "occurrences": self.occurrences, "contexts": contexts}

    def lines(self) -> list[str]:
        """For the terminal."""
        lines = []
        for one in self.contexts:
            lines += ["", f"  {one.place}"]
            lines += [f"      {near.cosine:.3f}  {near.place}" for near in one.neighbours]
        return lines[1:]


def find_neighbours(
    workspace: Workspace,
    model: str,
    word: str,
    text: str,
    *,
    num: int = 5,
    num_contexts: int = 2,
    max_sentences: int = 2_000,
    only_others: bool = False,
) -> WordLook:
    """The `num` nearest words to `word` in each of its `num_contexts` most different contexts in a text.

    Of a text with more than `max_sentences` lines, those with the word and an even share of the others are embedded;
    of one with more than 200,000, the first of them are looked at.
    Raises SourceError or CorpusError for the text, ConfigError where it lacks the word, ModelFileError or RegistryError
    for the model.
    """
    for name, value in (("num", num), ("contexts", num_contexts), ("max-sentences", max_sentences)):
        if value < 1:
            raise ConfigError(f"--{name} is a number of at least 1, got {value}")
    sentences = _sentences(text, word, max_sentences)
    opened = open_model(model, workspace)
    from charlm.embeddings.words_in_context import embed_words

    with terminal.step("embed") as bar:
        words = embed_words(opened.models.values(), sentences)
        bar.finish(f"{counted(len(words), 'word')} of {counted(len(sentences), 'sentence')}")
    found = [one for one in words if one.word == word]
    candidates = [one for one in words if any(map(str.isalnum, one.word)) and not (only_others and one.word == word)]
    chosen = different_contexts(found, num=num_contexts)
    return WordLook(word, len(found), [neighbours_of(one, candidates, num=num) for one in chosen])


def _sentences(text: str, word: str, most: int) -> list[list[str]]:
    """The lines of a text as words: those with the word, and others evenly from the whole text, in its order."""
    from charlm.data.sentence import Sentence

    path = user_path(text)
    if not path.is_file():
        raise SourceError(f"there is no text file {text!r} to look for {word!r} in")
    with_word: list[tuple[int, list[str]]] = []
    others: list[tuple[int, str]] = []
    known: set[str] = set()
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in zip(range(_MOST_LINES), lines, strict=False):
            if word in line and len(with_word) < _MOST_OCCURRENCES:
                words = Sentence(line).words
                if word in words:
                    start = max(0, words.index(word) - _LONGEST // 2)
                    with_word.append((number, words[start : start + _LONGEST]))
                    continue
            if not with_word:
                known.update(line.split())
            if line.strip():
                others.append((number, line))
    if not (with_word or others):
        raise CorpusError(f"{path} is empty; give a text in which {word!r} occurs")
    if not with_word:
        raise ConfigError(f"{path} has no word {word!r}; {known_names(word, sorted(known))}")
    room = max(0, most - len(with_word))
    kept = [others[round(place * len(others) / room)] for place in range(room)] if len(others) > room else others
    chosen = [*with_word, *((number, Sentence(line).words[:_LONGEST]) for number, line in kept)]
    return [words for _, words in sorted(chosen) if words]
