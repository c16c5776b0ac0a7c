"""Figures that are written to files, without windows and without global state of matplotlib."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.errors import ConfigError
from charlm.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches; ConfigError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("pictures need matplotlib, which is not installed: pip install matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: Path) -> Path:
    """Write the figure as PNG; returns its path."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
    return path
