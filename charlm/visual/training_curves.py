"""Plotter: draws the course of a training from the files that it wrote.

Reads  loss.tsv      a row per epoch or validation, written by our trainers or by Flair's
Reads  weights.txt   `epoch <TAB> name <TAB> number <TAB> value`: some weights of every parameter over time
Writes training.png and weights.png beside them
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import RunError
from charlm.visual.figures import LITERAL, drawable, new_figure, save_figure

# One colour a split, in every panel.
_COLOURS = {"train": "#9aa0a6", "dev": "#1a73e8", "test": "#e8710a"}
_RATE_COLOUR = "#d93025"
_SPLIT = re.compile(r"(train|dev|valid|test)_(.+)")
_LANGUAGE_MODEL_SCORES = ("loss", "perplexity", "bits_per_character", "bits_per_byte", "unk_rate")
_SCORES = ("bits_per_character", "accuracy", "f1")  # drawn where they are in the file
_MISSING = ("", "_")

Cells = tuple[list[int], list[float]]
"""Row numbers with a value, and the values."""


class Plotter:
    """Draws the files of a training run; each method returns the path of its image.

    Raises RunError when a file is missing or holds nothing to draw.
    """

    def plot_training_curves(self, file_name: str | os.PathLike[str], plot_values: Sequence[str] | None = None) -> Path:
        """Draw the columns of `loss.tsv`: a panel for the loss, for each score and for the learning rate.

        Args:
            file_name: the table.
            plot_values: the quantities to draw instead, such as `["loss", "F1"]`.
        """
        path = Path(file_name)
        columns = _read_table(path)
        try:
            curves, axis = _curves_by_quantity(columns), _axis_of(columns)
        except ValueError as error:
            raise RunError(f"{path} is not a table of a training: {error}") from error
        wanted = [name.lower() for name in plot_values or ("loss", *_SCORES)]
        chosen: dict[str, dict[str, Cells]] = {}
        for name in wanted:
            by_split = curves.get(name) or curves.get(f"micro_{name}")  # what Flair calls F1 is the micro average
            if by_split and by_split not in chosen.values():  # of single labels it is the accuracy
                chosen[name] = by_split
        if not chosen:
            raise RunError(f"{path} has no column for {', '.join(wanted)}; it has {', '.join(columns)}")
        rate = curves.get("learning_rate", {}) if plot_values is None else {}

        heights = [2.4] * len(chosen) + [1.2] * bool(rate)
        figure = new_figure(7.5, sum(heights) + 0.6)
        panels = figure.subplots(len(heights), sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        for axes, (quantity, by_split) in zip(panels, chosen.items(), strict=False):
            for split, (rows, values) in by_split.items():
                x = [axis.places[row] for row in rows]
                axes.plot(x, values, color=_COLOURS[split], marker=".", markersize=4, linewidth=1.2, label=split)
            axes.set_ylabel(quantity.replace("_", " ").replace("f1", "F1"))
            axes.legend(frameon=False)
        for rows, values in rate.values():
            panels[-1].step([axis.places[row] for row in rows], values, color=_RATE_COLOUR, where="post")
            panels[-1].set_ylabel("learning rate")
            if min(values) > 0 and max(values) >= 4 * min(values):
                panels[-1].set_yscale("log")
        for axes in panels:
            axes.grid(alpha=0.3)
        panels[-1].set_xlabel(axis.label)
        if axis.is_whole:
            panels[-1].xaxis.get_major_locator().set_params(integer=True)
        return save_figure(figure, path.parent / "training.png")

    def plot_weights(self, file_name: str | os.PathLike[str]) -> Path:
        """Draw `weights.txt`: a panel for every parameter, a line for each of its recorded weights."""
        path = Path(file_name)
        parameters = _read_weights(path)
        columns = min(3, len(parameters))
        rows = math.ceil(len(parameters) / columns)
        figure = new_figure(3.4 * columns, 1.7 * rows + 0.3)
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, (name, weights) in zip(panels, parameters.items(), strict=False):
            for times, values in weights.values():
                axes.plot(times, values, linewidth=0.8)
            axes.set_title(drawable(name), fontsize=7, **LITERAL)
            axes.tick_params(labelsize=6)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        for axes in panels[len(parameters) :]:
            axes.set_axis_off()
        figure.supxlabel("epoch", fontsize=8)
        return save_figure(figure, path.parent / "weights.png")


@dataclass(frozen=True)
class _Axis:
    """The x axis of a table."""

    label: str
    places: list[float]
    is_whole: bool


def _axis_of(columns: Mapping[str, list[str]]) -> _Axis:
    """Characters if the table has them, otherwise epochs, otherwise rows."""
    if "characters" in columns:
        return _Axis("characters read (millions)", [float(cell) / 1e6 for cell in columns["characters"]], False)
    if "epoch" in columns:
        return _Axis("epoch", [float(cell) for cell in columns["epoch"]], True)
    num_rows = len(next(iter(columns.values())))
    return _Axis("row", [float(row) for row in range(1, num_rows + 1)], True)


def _curves_by_quantity(columns: Mapping[str, list[str]]) -> dict[str, dict[str, Cells]]:
    """The curves of a table, by quantity and split."""
    curves: dict[str, dict[str, Cells]] = defaultdict(dict)
    for name, cells in columns.items():
        match = _SPLIT.fullmatch(name)
        if match:
            split, quantity = match.groups()
        elif name in _LANGUAGE_MODEL_SCORES:
            split, quantity = "dev", name
        elif name == "learning_rate":
            split, quantity = "train", name
        else:
            continue
        numbers = [(row, _number(cell)) for row, cell in enumerate(cells) if cell not in _MISSING]
        if numbers:
            curves[quantity]["dev" if split == "valid" else split] = (
                [row for row, _ in numbers],
                [value for _, value in numbers],
            )
    return curves


def _number(cell: str) -> float:
    """The number in a cell; the first of several, which Flair writes for several parameter groups."""
    return float(cell.split(",")[0])


def _read_table(path: Path) -> dict[str, list[str]]:
    """The columns of a table with a header, by their lower-case names."""
    lines = [line.split("\t") for line in _lines_of(path)]
    if len(lines) < 2:
        raise RunError(f"{path} holds no row yet: nothing was measured")
    header, *rows = lines
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise RunError(f"{path}, line {number}: {len(header)} columns are needed, and {len(row)} found")
    return {name.lower(): [row[place] for row in rows] for place, name in enumerate(header)}


def _read_weights(path: Path) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """For every parameter and every weight of it, the times and its values."""
    parameters: dict[str, dict[str, tuple[list[float], list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: ([], []))
    )
    for number, line in enumerate(_lines_of(path), 1):
        try:
            time, name, weight, value = line.split("\t")
            times, values = parameters[name][weight]
            times.append(float(time))
            values.append(float(value))
        except ValueError as error:
            raise RunError(f"{path}, line {number}: an epoch, a name, a number and a value are needed") from error
    if not parameters:
        raise RunError(f"{path} holds no weight yet")
    return parameters


def _lines_of(path: Path) -> Iterable[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
