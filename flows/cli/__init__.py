"""The commands of the pipeline, `flows.cli:main`; deployments/command_line.py adds those of the service."""

from flows.cli.app import main

__all__ = ["main"]
