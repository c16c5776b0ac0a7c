"""Neighbours of a word in a text, with a real model; mistakes are one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.errors import CharLMError
from tasks.inference.neighbours import find_neighbours
from tests.conftest import TrainedWorkspace, own_workspace

MODEL = "models:/tiny/1"


@pytest.fixture
def workspace(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[Workspace]:
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        yield workspace


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("open the file\n\nread the open list\nset open close\na value of the object\n" * 3 + "rare\n")
    return str(path)


def test_a_word_has_its_most_different_contexts_with_neighbours_elsewhere(workspace: Workspace, text: str) -> None:
    found = find_neighbours(workspace, MODEL, "open", text, num=3)
    assert found.occurrences == 9
    assert len({str(one.place) for one in found.contexts}) == 2
    for one in found.contexts:
        assert one.place.word == "open"
        assert len(one.neighbours) == 3
        assert str(one.place) not in {str(near.place) for near in one.neighbours}
        cosines = [near.cosine for near in one.neighbours]
        assert cosines == sorted(cosines, reverse=True)
    assert [line for line in found.lines() if line.startswith("  ") and "[open]" in line]


def test_the_word_itself_can_be_left_out(workspace: Workspace, text: str) -> None:
    found = find_neighbours(workspace, MODEL, "open", text, num_contexts=9, only_others=True)
    assert len(found.contexts) == 3
    assert "open" not in {near.place.word for one in found.contexts for near in one.neighbours}


def test_few_sentences_of_a_long_text_are_embedded_and_always_those_with_the_word(
    workspace: Workspace, text: str
) -> None:
    found = find_neighbours(workspace, MODEL, "rare", text, max_sentences=2)
    assert found.occurrences == 1
    (only,) = found.contexts
    assert 0 < len(only.neighbours) <= 5


@pytest.mark.parametrize(
    ("word", "file", "options", "said"),
    [
        ("opne", "text.txt", {}, "has no word 'opne'; did you mean 'open'"),
        ("open", "none.txt", {}, "there is no text file"),
        ("open", "empty.txt", {}, "is empty; give a text in which 'open' occurs"),
        ("open", "text.txt", {"num": 0}, "--num is a number of at least 1, got 0"),
        ("open", "text.txt", {"num_contexts": -1}, "--contexts is a number of at least 1, got -1"),
    ],
)
def test_a_mistake_is_one_line(
    workspace: Workspace, text: str, word: str, file: str, options: dict[str, int], said: str
) -> None:
    folder = Path(text).parent
    (folder / "empty.txt").touch()
    with pytest.raises(CharLMError, match=said) as caught:
        find_neighbours(workspace, MODEL, word, str(folder / file), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
