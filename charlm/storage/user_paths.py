"""Paths as users write them."""

import os
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """`path` with `~` for a home directory, as in a shell, unless something of that very name exists.

    It stays as it is where there is no such user or home.
    """
    plain = Path(path)
    if not os.fspath(plain).startswith("~") or plain.exists():
        return plain
    try:
        return plain.expanduser()
    except RuntimeError:
        return plain
