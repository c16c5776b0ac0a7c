"""The commands of the pipeline as `flows.cli:main`; `charlm` adds those of the service (deployments/command_line.py)."""

from flows.cli.app import main

__all__ = ["main"]
