"""The command line `charlm`: `flows.cli:main` is its console script, `app.py` its start."""

from flows.cli.app import main

__all__ = ["main"]
