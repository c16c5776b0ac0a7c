"""Any file, whole or damaged: read or refused in one line, and what goes in comes out or is counted."""

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlm.data.sentence import Sentence
from charlm.datasets.inputs import read_inputs
from charlm.datasets.opening import open_data, read_labelled
from charlm.datasets.summary import summarize
from charlm.errors import CharLMError

SHORT = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=3_000, deadline=None, suppress_health_check=list(HealthCheck))

SUFFIXES = st.sampled_from([".txt", ".csv", ".TSV", ".tsv", ".jsonl", ".conllu", ".conll", ""])
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\n")
WORDS = st.one_of(
    st.sampled_from(
        ["#", "#tag", "O", "B-X", "-", "__label__x", "{", '"', ",", "Ann", "\u00a0", "\r", "\u2028", "\x1c"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\t \r"), min_size=1, max_size=5),
)
VALUES = st.sampled_from(["PER", "LOC", "a", "1"])


@st.composite
def tagged_sentences(draw: st.DrawFn) -> list[list[tuple[str, str]]]:
    """Words with tags in BIO; the first sentence shows what tags there are."""
    sentences = [[("Ann", "B-PER"), ("left", "O"), ("her", "O")]]
    for _ in range(draw(st.integers(0, 4))):
        words, previous = [], "O"
        for word in draw(st.lists(WORDS, min_size=1, max_size=5)):
            value = draw(VALUES)
            tags = ["O", f"B-{value}"] + ([f"I-{previous[2:]}"] if previous != "O" else [])
            previous = draw(st.sampled_from(tags))
            words.append((word, previous))
        sentences.append(words)
    return sentences


def write(folder: Path, content: bytes, suffix: str, name: str = "train") -> Path:
    path = folder / f"{name}{suffix}"
    path.write_bytes(content)
    return path


def check_columns(folder: Path, sentences: list[list[tuple[str, str]]], delimiter: str) -> None:
    """Every word and every span comes back, or the file is refused."""
    lines = ["".join(f"{word}{delimiter}{tag}\n" for word, tag in words) for words in sentences]
    path = write(folder, "\n".join(lines).encode(), ".txt")
    try:
        (read,), layer = read_labelled([path])
    except CharLMError as error:
        check_line(error)
        return
    assert [sentence.words for sentence in read] == [[word for word, _ in words] for words in sentences]
    expected = Counter(tag[2:] for words in sentences for _, tag in words if tag.startswith("B-"))
    assert Counter(label.value for sentence in read for label in sentence.get_labels(layer)) == expected


def check_texts(folder: Path, rows: list[tuple[str, str]], form: str) -> None:
    """Every text comes back with its label, or the file is refused."""
    if form == "jsonl":
        content = "".join(json.dumps({"text": text, "label": label}) + "\n" for label, text in rows)
    elif form == "csv":
        stream = io.StringIO(newline="")
        csv.writer(stream, lineterminator="\n").writerows(rows)
        content = stream.getvalue()
    else:
        content = "".join(f"__label__{label} {text}\n" for label, text in rows)
    try:
        (read,), _ = read_labelled([write(folder, content.encode(), f".{form}")])
    except CharLMError as error:
        check_line(error)
        return
    assert [(label.value, s.words) for s in read for label in s.labels] == [
        (label, Sentence(text).words) for label, text in rows
    ]


def check_damaged(folder: Path, content: bytes, suffix: str) -> None:
    """A file of any bytes gives sentences or one line; nothing else is raised, by no reader."""
    path = write(folder, content, suffix)
    for read in (
        lambda: read_labelled([path]),
        lambda: read_labelled([path], None, "text,label"),
        lambda: list(read_inputs(path)),
        lambda: [summarize(data.corpus, data.label_type).lines() for data in [open_data([str(folder)])]],
    ):
        try:
            read()
        except CharLMError as error:
            check_line(error)


def check_line(error: CharLMError) -> None:
    str(error).encode()
    assert "\n" not in str(error)


PIECES = st.sampled_from(
    [b"", b"\n", b"\r", b"\t", b" ", b",", b'"', b"\xff", b"\0", b"#", b"{", b"__label__", b"\xef\xbb\xbf"]
)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A good file of some format with pieces put in, or any bytes at all."""
    good = [
        b"Ann\tB-PER\nleft\tO\n\nRome\tB-LOC\n",
        b"-DOCSTART- -X- O O\n\nAnn NNP I-NP I-PER\nleft V O O\n",
        b"# id = 1\n1-2\tIm" + b"\t_" * 8 + b"\n1\tIn\tin\tADP\t_\t_\t0\tx\t_\t_\n2\tdem\tder\tDET\t_\t_\t1\tx\t_\t_\n",
        b"__label__a Go on\n__label__b\tStay\n",
        b'label,text\na,"Go, on"\nb,Stay\n',
        b'{"text": "Go on", "label": "a"}\n{"text": "Stay", "label": ["b", 1]}\n',
        b'{"text": "Ann left.", "label": [[0, 3, "PER"]]}\n',
        "Zürich\tB-LOC\n".encode("utf-16"),
    ]
    content = draw(st.one_of(st.sampled_from(good), st.binary(max_size=60)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        content = content[:start] + draw(PIECES) + content[start + draw(st.integers(0, 4)) :]
    return content


LABELS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=4)
TEXTS = st.text(CHARACTERS, min_size=1, max_size=12).filter(
    lambda text: "__label__" not in text and len(Sentence(text)) > 0
)
ROWS = st.lists(st.tuples(LABELS, TEXTS), min_size=1, max_size=5)
FORMS = st.sampled_from(["jsonl", "csv", "txt"])
DELIMITERS = st.sampled_from(["\t", " "])


@given(tagged_sentences(), DELIMITERS)
@SHORT
def test_words_and_spans_come_back(tmp_path_factory, sentences, delimiter):
    check_columns(tmp_path_factory.mktemp("f"), sentences, delimiter)


@given(ROWS, FORMS)
@SHORT
def test_texts_and_labels_come_back(tmp_path_factory, rows, form):
    check_texts(tmp_path_factory.mktemp("f"), rows, form)


@given(damaged_files(), SUFFIXES)
@SHORT
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, content, suffix):
    check_damaged(tmp_path_factory.mktemp("f"), content, suffix)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(tagged_sentences(), DELIMITERS)
@LONG
def test_words_and_spans_come_back_at_length(tmp_path_factory, sentences, delimiter):
    check_columns(tmp_path_factory.mktemp("f"), sentences, delimiter)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(ROWS, FORMS)
@LONG
def test_texts_and_labels_come_back_at_length(tmp_path_factory, rows, form):
    check_texts(tmp_path_factory.mktemp("f"), rows, form)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(damaged_files(), SUFFIXES)
@LONG
def test_any_bytes_are_read_or_refused_in_one_line_at_length(tmp_path_factory, content, suffix):
    check_damaged(tmp_path_factory.mktemp("f"), content, suffix)
