"""A home directory is found as in a shell; a file that exists is that file."""

from pathlib import Path

import pytest

from charlm.errors import SourceError
from charlm.storage.user_paths import user_path
from charlm.text.sources.finding import find_sources


def test_a_tilde_is_a_home_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    assert user_path("~/a") == Path("/home/ann/a")
    assert user_path("a~b") == Path("a~b")
    Path("~").mkdir()
    Path("~/a").write_text("text")
    assert user_path("~/a") == Path("~/a")


@pytest.mark.parametrize("name", ["~nobody-of-this-name", "~nobody-of-this-name/a.txt"])
def test_a_tilde_before_an_unknown_name_is_part_of_the_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert user_path(name) == Path(name)
    with pytest.raises(SourceError, match="there is no file or folder '~nobody"):
        find_sources([name])
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("text")
    assert [source.address for source in find_sources([name])] == [name]


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("text")
    with pytest.raises(SourceError, match="one of the names of raw text is empty"):
        find_sources(["a.txt", ""])
