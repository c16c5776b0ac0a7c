"""What lies in an inbox is told of once, and not before it is whole."""

import hashlib
import os
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from tasks.retraining.arrivals import Arrival
from tasks.retraining.inbox import announce_arrivals, scan, stable_files, unseen_files


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def drop(space: Workspace, name: str, text: str = "Some text.\n") -> Path:
    path = space.inbox_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def tell(space: Workspace) -> list[Arrival]:
    """One round: what lies there and was not told of is told of."""
    sent: list[Arrival] = []
    assert announce_arrivals(space, unseen_files(space, scan(str(space.inbox_dir))), sent.append) == sent
    return sent


def test_a_file_arrives_for_the_corpus_and_the_domain_of_its_folders(space: Workspace) -> None:
    paths = [drop(space, name, name) for name in ("books/one.txt", "books/laws/two.txt", "books/laws/2026/three.txt")]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    one, two, three = map(str, paths)
    assert tell(space) == [
        Arrival(corpus="books", domain="laws", addresses=(three, two), digests=(digests[2], digests[1])),
        Arrival(corpus="books", domain=None, addresses=(one,), digests=(digests[0],)),
    ]


def test_content_is_told_of_once_whatever_its_name_and_however_often_it_is_dropped(space: Workspace) -> None:
    path = drop(space, "books/one.txt")
    assert len(tell(space)) == 1
    assert tell(space) == []
    os.utime(path, (1, 1))
    drop(space, "books/laws/copy.txt")
    assert tell(space) == []
    drop(space, "papers/one.txt")
    assert [arrival.corpus for arrival in tell(space)] == ["papers"]


def test_a_file_that_has_changed_is_new_text(space: Workspace) -> None:
    path = drop(space, "books/one.txt")
    tell(space)
    path.write_text("Other text.\n")
    assert [arrival.addresses for arrival in tell(space)] == [(str(path),)]


def test_a_file_that_grows_between_two_looks_is_left_alone(space: Workspace) -> None:
    drop(space, "books/whole.txt")
    growing = drop(space, "books/growing.txt")
    first = scan(str(space.inbox_dir))
    with growing.open("a") as file:
        file.write("More text.\n")
    drop(space, "books/late.txt")
    (file_left,) = stable_files(first, scan(str(space.inbox_dir)))
    assert file_left.address.endswith("whole.txt")


@pytest.mark.parametrize("name", [".hidden.txt", "one.txt.part", "one.txt.CRDOWNLOAD", "one.txt~", ".sync/one.txt"])
def test_names_that_say_that_somebody_is_still_writing_are_left_out(name: str, space: Workspace) -> None:
    drop(space, f"books/{name}")
    assert scan(str(space.inbox_dir)) == []


def test_a_link_that_leads_out_of_the_inbox_is_left_out(space: Workspace) -> None:
    drop(space, "books/one.txt").unlink()
    (space.inbox_dir / "books" / "passwords.txt").symlink_to("/etc/passwd")
    assert scan(str(space.inbox_dir)) == []


def test_files_in_no_folder_and_files_that_are_no_text_are_said_and_passed_over(
    space: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    drop(space, "lost.txt")
    drop(space, "books/archive.zip")
    drop(space, "..books/one.txt")
    assert tell(space) == []
    said = capsys.readouterr().err
    assert "lost.txt is not in a folder" in said
    assert "archive.zip is an archive; unpack it" in said


def test_an_inbox_that_is_not_there_is_empty(space: Workspace) -> None:
    assert scan(str(space.inbox_dir)) == []


def test_what_the_server_did_not_take_is_told_of_the_next_time(space: Workspace) -> None:
    drop(space, "books/one.txt")

    def fail(arrival: Arrival) -> None:
        raise ConfigError("no server")

    with pytest.raises(ConfigError):
        announce_arrivals(space, scan(str(space.inbox_dir)), fail)
    assert len(tell(space)) == 1


def test_an_inbox_may_lie_at_any_address_that_fsspec_knows(space: Workspace) -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    system.pipe("/inbox/books/laws/one.txt", b"Some text.\n")
    sent: list[Arrival] = []
    announce_arrivals(space, scan("memory://inbox"), sent.append)
    assert [(arrival.domain, arrival.addresses) for arrival in sent] == [
        ("laws", ("memory:///inbox/books/laws/one.txt",))
    ]
