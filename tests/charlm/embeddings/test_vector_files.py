"""Files of word vectors: every word keeps its own numbers, or the file is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data import Sentence
from charlm.embeddings import WordEmbeddings
from charlm.embeddings.vector_files import word_vectors
from charlm.errors import CharLMError, ModelFileError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(path: Path, content: bytes | str) -> dict[str, list[float]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    words, vectors = word_vectors(path)
    return dict(zip(words, vectors.tolist(), strict=True))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("3 2\nNew York 1 1\nb 2 2\nc 4 4\n", {"New York": [1, 1], "b": [2, 2], "c": [4, 4]}),
        ("2\t2\nNew York\t1\t1\nb\t2\t2\n", {"New York": [1, 1], "b": [2, 2]}),
        ("New York\t1 1\nb\t2 2\n", {"New York": [1, 1], "b": [2, 2]}),
        ("\ufeffa 1 1\nb 2 2\n", {"a": [1, 1], "b": [2, 2]}),
        ("\ufeff1 2\na 1 1\n", {"a": [1, 1]}),
        ("a 1 1\nb 2 2\n\n \n", {"a": [1, 1], "b": [2, 2]}),
        ("2 2 \r\na 1 1 \r\nb 2 2 \r\n", {"a": [1, 1], "b": [2, 2]}),
        ("a\r 1 1\na 2 2\n\rb\r\rc 3 3\n", {"a\r": [1, 1], "a": [2, 2], "\rb\r\rc": [3, 3]}),
        ("a\u00a0b 1 1\n\u2028 2 2\n\u0085 3 3\n", {"a\u00a0b": [1, 1], "\u2028": [2, 2], "\u0085": [3, 3]}),
        ("\x1c 1 1\n\x0b 2 2\n\x0c 3 3\n", {"\x1c": [1, 1], "\x0b": [2, 2], "\x0c": [3, 3]}),
        ("1 0.5 1\n2 2 2\n", {"1": [0.5, 1], "2": [2, 2]}),
        ("2 2\nwindows 95 1 1\nb 2 2\n", {"windows 95": [1, 1], "b": [2, 2]}),
        (". . 1 1\na 2 2\n", {". .": [1, 1], "a": [2, 2]}),
        ("a 1\nb 2\n", {"a": [1], "b": [2]}),
    ],
)
def test_a_word_may_hold_everything_but_a_line_feed(tmp_path, content, expected):
    assert read(tmp_path / "v.vec", content) == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1000 3\na 1 1 1\n", "announces 1000 words in its first line and holds 1"),
        ("1 2\na 1 1\nb 2 2\n", "announces 1 words in its first line and holds 2"),
        ("2 3\na 1 1\nb 2 2\n", "line 2 .* it has 2 numbers, and the header says 3"),
        ("2 1\na 1 1\nb 2 2\n", "announces 1 numbers a word in its first line, and every row has more"),
        ("a 1\nb 2 2\nc 3 3\n", "line 2 .* it has 2 numbers, and the first row has 1"),
        ("a 1 1\nb 2 2\nc 3\n", "line 3 .* it has 1 numbers, and the first row has 2"),
        ("a 1 1\nb nan 2\n", "line 2 .* not finite"),
        ("a 1 1\nb 1e99 2\n", "line 2 .* not finite"),
        ("a  1 1\nb 2 2\n", "line 1 .* its word begins or ends with a blank"),
        ("a 1 1\rb 2 2\r", "carriage returns where its lines should end"),
        ("2 2\ra 1 1\rb 2 2\r", "carriage returns where its lines should end"),
        ("a\nb\n", "line 1 is not a word and its numbers: no number ends 'a'"),
        (" a 1 1\nb 2 2\n", "line 1 .* its word begins or ends with a blank"),
        ("a 1_0 2\nb 1 2\n", "line 2 .* it has 2 numbers, and the first row has 1"),
        ("2 2\n 1 1\nb 2 2\n", "line 2 .* it has no word"),
        ("2 2\na \0\0\nb \0\0\n", "line 2 .* the file is binary: save it as text"),
        (b"\x1f\x8b\x08\0ab", "line 1 .* the file is compressed: unpack it"),
        ("word\tx\ty\na\t1\t1\n", "line 1 .* no number ends 'word"),
        ("a 1 1\n".encode("utf-16"), "is UTF-16 text by its byte order mark; convert it to UTF-8"),
    ],
)
def test_rows_that_do_not_agree_with_the_header_or_each_other_are_refused(tmp_path, cache, content, reason):
    with pytest.raises(ModelFileError, match=reason) as error:
        read(tmp_path / "v.vec", content)
    assert "\n" not in str(error.value)
    assert not list(cache.rglob("vectors.npy"))


def test_the_first_row_of_a_repeated_word_counts_and_the_others_are_reported(tmp_path, caplog):
    (tmp_path / "v.vec").write_text("a 1 1\nb 2 2\na 3 3\n")
    sentence = Sentence(["a"])
    WordEmbeddings(tmp_path / "v.vec").embed(sentence)
    assert sentence[0].embedding.tolist() == [1, 1]
    assert "v.vec: 1 rows are left out, for their words have one already, such as 'a'" in caplog.text


def test_words_that_end_with_a_blank_are_reported(tmp_path, cache, caplog):
    (tmp_path / "v.vec").write_text("2 1\na  1\nb 2\n")
    assert list(WordEmbeddings(tmp_path / "v.vec").vocab) == ["a ", "b"]
    assert "1 words end with a blank, such as 'a ', and are found with it only" in caplog.text


def test_a_copy_that_was_cut_is_refused(tmp_path, cache):
    read(tmp_path / "v.vec", "a 1 1\nb 2 2\n")
    (words,) = cache.rglob("words.txt")
    words.write_text("a")
    with pytest.raises(ModelFileError, match="holds 1 words and 2 vectors; delete it, to convert again"):
        word_vectors(tmp_path / "v.vec")


# ---- any words, any damage -----------------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=6)
NUMBERS = st.integers(-1000, 1000).map(lambda number: number / 8)


@st.composite
def vector_tables(draw: st.DrawFn) -> tuple[dict[str, list[float]], bytes]:
    """Words with their vectors, and the file that word2vec would write of them."""
    width = draw(st.integers(1, 4))
    rows = draw(st.dictionaries(WORDS, st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=6))
    lines = [f"{len(rows)} {width}", *(" ".join([word, *map(str, numbers)]) for word, numbers in rows.items())]
    return rows, "".join(f"{line}\n" for line in lines).encode()


def check_any_words(folder: Path, table: tuple[dict[str, list[float]], bytes]) -> None:
    """All words come back with their own numbers, or the file is refused."""
    rows, content = table
    try:
        assert read(folder / "v.vec", content) == rows
    except ModelFileError:
        assert all(word.rstrip(" \t\r")[-1:].isdecimal() or not word.strip(" \t\r") for word in rows) or (
            len(rows) == 1 and "\r" in next(iter(rows))
        )


def check_damage(folder: Path, table: tuple[dict[str, list[float]], bytes], place: float, piece: bytes) -> None:
    """A damaged file is refused, or gives each word that it still has its own numbers or those that stand there."""
    content = table[1]
    start = int(place * len(content))
    damaged = content[:start] + piece + content[start + 1 :]
    try:
        found = read(folder / "v.vec", damaged)
    except CharLMError:
        return
    lines = damaged.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for word, numbers in found.items():
        width = len(numbers)
        standing = [line.split()[-width:] for line in lines if line.startswith(word.encode())]
        assert numbers in [np.array(row, dtype=np.float32).tolist() for row in standing if len(row) == width]


@given(vector_tables())
@settings(max_examples=60, deadline=None)
def test_every_word_keeps_its_own_vector(tmp_path_factory, table):
    check_any_words(tmp_path_factory.mktemp("v"), table)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(vector_tables())
@settings(max_examples=2_000, deadline=None)
def test_every_word_keeps_its_own_vector_at_length(tmp_path_factory, table):
    check_any_words(tmp_path_factory.mktemp("v"), table)


PIECES = st.sampled_from([b"", b"\n", b"\r", b" ", b"\t", b"\xff", b"9", b"x", b"\n\n", b"nan", b"-"])


@given(vector_tables(), st.floats(0, 1), PIECES)
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_gives_no_word_anothers_vector(tmp_path_factory, table, place, piece):
    check_damage(tmp_path_factory.mktemp("v"), table, place, piece)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(vector_tables(), st.floats(0, 1), PIECES)
@settings(max_examples=2_000, deadline=None)
def test_a_damaged_file_gives_no_word_anothers_vector_at_length(tmp_path_factory, table, place, piece):
    check_damage(tmp_path_factory.mktemp("v"), table, place, piece)
