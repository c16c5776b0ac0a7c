"""Addresses of workspaces, and folders that look like them."""

from pathlib import Path

import pytest

from charlm.errors import ConfigError
from charlm.storage.workspace_address import workspace_address, workspace_folder


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/ws", "s3://bucket/ws"),
        (Path("s3://bucket/ws"), "s3://bucket/ws"),
        ("S3://bucket/ws/", "s3://bucket/ws"),
        ("memory://ws", "memory://ws"),
        ("workspace", None),
        ("/data/ws", None),
        ("file:///data/ws", None),
        ("C:/data", None),
    ],
)
def test_an_address_is_told_from_a_folder(given: str | Path, address: str | None) -> None:
    assert workspace_address(given) == address


def test_an_address_of_a_file_is_its_folder() -> None:
    assert workspace_folder("file:///data/my%20ws") == Path("/data/my ws")
    assert workspace_folder(Path("file:///data/ws")) == Path("/data/ws")


def test_a_folder_that_was_an_address_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'s3:' in its path, the beginning of an address"):
        workspace_folder(Path("s3://bucket/ws").absolute())
