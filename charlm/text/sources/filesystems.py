"""The file systems of fsspec, by address."""

import glob
from contextlib import suppress
from typing import Any

from charlm.errors import SourceError, how_to_install


def open_filesystem(address: str) -> tuple[Any, str, bool]:  # fsspec has no types
    """The file system of an address, the path in it, and whether a path with magic characters is a file or folder.

    Raises SourceError without fsspec, and whatever the file system raises.
    """
    try:
        import fsspec
    except ImportError as error:
        raise SourceError(f"{address} needs the package fsspec; {how_to_install('pipeline')}") from error
    if "::" in address:  # a chain of protocols, unless a file has that name
        with suppress(Exception):  # a protocol that needs the rest of the chain
            filesystem = fsspec.filesystem(address.partition("://")[0])
            path = filesystem._strip_protocol(address)
            if filesystem.exists(path):
                return filesystem, path, True
    filesystem, path = fsspec.core.url_to_fs(address)
    return filesystem, path, glob.has_magic(path) and filesystem.exists(path)
