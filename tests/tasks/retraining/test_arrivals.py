"""What is told of new text, and what a retraining takes in of it."""

import hashlib
from pathlib import Path

import pytest

from charlm.artifacts import CorpusFiles, Workspace
from charlm.config import ReadConfig
from charlm.errors import ConfigError, SourceError
from tasks.corpus.prepare import corpus_settings, prepare_corpus
from tasks.retraining.arrivals import Arrival, arrivals_to_take, describe_arrival
from tests.conftest import Charlm, write_sentences


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrivals")
    for seed, name in enumerate(("old", "new", "laws"), start=1):
        write_sentences(folder / f"{name}.txt", seed=seed, num_lines=1_000)
    return folder


@pytest.fixture(scope="module")
def corpus(folder: Path) -> CorpusFiles:
    """A corpus that holds old.txt."""
    space = Workspace(folder / "workspace")
    split, dictionary = corpus_settings(space, "books")
    return prepare_corpus(space, [str(folder / "old.txt")], "books", split, dictionary, reading=ReadConfig()).files


def arrival(*paths: Path, domain: str | None = None) -> Arrival:
    return describe_arrival("books", [str(path) for path in paths], domain)


def test_an_arrival_names_every_file_with_its_whole_address_and_its_digest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = describe_arrival("books", ["*.txt"], "novels")
    paths = [folder / "laws.txt", folder / "new.txt", folder / "old.txt"]
    assert found.addresses == tuple(map(str, paths))
    assert found.digests == tuple(map(sha256, paths))
    assert found.domain == "novels"


def test_text_that_is_missing_is_an_error_before_anything_is_told() -> None:
    with pytest.raises(SourceError, match="there is no file or folder"):
        describe_arrival("books", ["/nowhere/book.txt"], None)


def test_an_arrival_goes_through_an_event_unchanged(folder: Path) -> None:
    sent = arrival(folder / "new.txt", domain="novels")
    assert Arrival.from_payload(sent.to_payload()) == sent


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"corpus": "books", "addresses": "/one.txt"},
        {"corpus": "books", "addresses": ["/one.txt"], "digests": [1]},
        {"corpus": "../books", "addresses": ["/one.txt"]},
        {"corpus": "books", "addresses": ["/one.txt"], "domain": ["laws"]},
    ],
)
def test_an_event_that_carries_something_else_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Arrival.from_payload(payload)


def test_what_arrives_meanwhile_is_taken_along_one_arrival_for_each_domain(corpus: CorpusFiles, folder: Path) -> None:
    own, law, again = (
        arrival(folder / "new.txt"),
        arrival(folder / "laws.txt", domain="laws"),
        arrival(folder / "new.txt"),
    )
    taken = arrivals_to_take(corpus, own, [law, again])
    assert [(one.domain, one.addresses) for one in taken] == [
        ("laws", (str(folder / "laws.txt"),)),
        (None, (str(folder / "new.txt"),)),
    ]


def test_text_that_the_corpus_holds_is_not_looked_for_again(corpus: CorpusFiles, folder: Path) -> None:
    held = arrival(folder / "old.txt")
    gone = Arrival(corpus="books", domain=None, addresses=("/nowhere/old.txt",), digests=held.digests)
    assert arrivals_to_take(corpus, held, [gone]) == []


def test_what_others_have_told_of_and_is_gone_does_not_stop_a_retraining(corpus: CorpusFiles, folder: Path) -> None:
    own = arrival(folder / "new.txt")
    gone = Arrival(corpus="books", domain=None, addresses=("/nowhere/gone.txt",), digests=("0" * 64,))
    assert arrivals_to_take(corpus, own, [gone]) == [own]
    assert arrivals_to_take(corpus, gone, []) == [gone]  # its own run says what is missing


def test_without_a_server_an_arrival_is_an_error_and_not_lost(charlm: Charlm, folder: Path) -> None:
    outcome = charlm("notify", "books", folder / "new.txt", "--workspace", folder / "workspace", "--json")
    assert outcome.code == 2
    assert outcome.json["error"].startswith("PREFECT_API_URL is not set, so no server would receive this")


def test_a_server_that_does_not_answer_is_one_line(charlm: Charlm, folder: Path) -> None:
    variables = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    outcome = charlm("notify", "books", folder / "new.txt", "--workspace", folder / "workspace", **variables)
    assert outcome.code == 2
    assert len(outcome.stderr.splitlines()) == 1
    assert "http://127.0.0.1:9/api" in outcome.stderr
