"""The folder CHARLM_CACHE: what is shared between all programs of a user, and found by name."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Where model files, vectors and data sets lie under the names that Flair gives them; `~/.charlm` by default."""
    return Path(os.environ.get("CHARLM_CACHE", Path.home() / ".charlm"))
