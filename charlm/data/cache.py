"""The folder CHARLM_CACHE: what is shared between all programs of a user, and found by name."""

import os
from collections.abc import Sequence
from pathlib import Path

import charlm


def cache_dir() -> Path:
    """Where model files, vectors and data sets lie under the names that Flair gives them.

    It is `charlm.cache_root` where a program has set it, else CHARLM_CACHE, else `~/.charlm`.
    """
    root = vars(charlm).get("cache_root") or os.environ.get("CHARLM_CACHE")
    return Path(root) if root else Path.home() / ".charlm"


def cached_paths(name: str | os.PathLike[str], suffixes: Sequence[str]) -> list[Path]:
    """Where a file of this name could lie: the path itself, then in the cache, with a suffix where it has none."""
    name = os.fspath(name)
    known = ("",) if name.endswith(tuple(suffixes)) else ("", *suffixes)
    return [Path(name), *(cache_dir() / f"{name}{suffix}" for suffix in known)]
