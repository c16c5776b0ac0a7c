"""Figures that go to a file: no window, no state that outlives them."""

import importlib.util
from pathlib import Path
from typing import Any

from charlm.errors import ConfigError
from charlm.storage.atomic import atomic_write


def new_figure(width: float, height: float) -> Any:
    """An empty figure of a size in inches; ConfigError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("pictures need matplotlib, which is not installed: pip install matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path) -> Path:
    """Write the figure as PNG; returns its path."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
    return path
