"""Figures that are written to files, without windows and without global state of matplotlib."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.errors import ConfigError
from charlm.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches; ConfigError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("pictures need matplotlib, which is not installed: pip install matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


LITERAL = {"parse_math": False}
"""Properties of a text of the user: `$` begins no formula in it."""


def drawable(text: str) -> str:
    """`text` as a font can draw it: without control characters and halves of surrogate pairs, on one line."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def add_legend(axes: "Axes", labels: Sequence[str]) -> None:
    """A legend with just these labels, for the lines in their order; matplotlib omits those that begin with `_`."""
    legend = axes.legend(axes.get_lines()[: len(labels)], [str(number) for number in range(len(labels))], frameon=False)
    for entry, label in zip(legend.get_texts(), labels, strict=True):
        entry.set(text=drawable(label), **LITERAL)


def save_figure(figure: "Figure", path: Path) -> Path:
    """Write the figure as PNG; returns its path."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
    return path
