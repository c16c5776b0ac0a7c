"""confusion-matrix.png: how often each label was predicted for each true label.

Rows are true labels with their F1, columns predicted labels; colors show shares of the row, numbers show counts.
"""

import os
from pathlib import Path

import numpy as np

from charlm.errors import ConfigError
from charlm.evaluation.labels import NOTHING, LabelScores
from charlm.visual.figures import LITERAL, drawable, new_figure, save_figure

# L = labels that are shown

_NUMBERS_UP_TO = 25
"""With more labels than this, the numbers would be too small to read."""
_TITLE_WIDTH = 3.8
"""Inches that the title needs: a matrix of one or two labels is narrower."""


def draw_confusion_matrix(scores: LabelScores, path: str | os.PathLike[str], *, max_labels: int = 40) -> Path:
    """Draw the confusion matrix of the most frequent labels, at most `max_labels`; returns the path of the image.

    Raises ConfigError when there is no label at all.
    """
    names, rows = scores.confusion()
    if not names:
        raise ConfigError("there are no labels to draw: none is true and none was predicted")
    counts = np.array(rows)
    frequency = counts.sum(axis=0) + counts.sum(axis=1)
    shown = np.sort(np.argsort(-frequency, kind="stable")[:max_labels])
    counts = counts[np.ix_(shown, shown)]  # (L, L)
    labels = [names[place] for place in shown]
    classes = scores.classes
    size = 2.2 + 0.34 * len(labels)
    figure = new_figure(max(size + 0.6, _TITLE_WIDTH), size)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(
        range(len(labels)), [drawable(name) or "(none)" for name in labels], rotation=90, fontsize=8, **LITERAL
    )
    axes.set_yticks(
        range(len(labels)),
        ["(none)" if name == NOTHING else f"{drawable(name)}  {classes[name].f1:.3f}" for name in labels],
        fontsize=8,
        **LITERAL,
    )
    axes.set(xlabel="predicted", ylabel="true label and its F1")
    if len(labels) <= _NUMBERS_UP_TO:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=6, color=colour)
    left_out = len(names) - len(labels)
    figure.suptitle(
        f"accuracy {scores.accuracy:.4f}, micro F1 {scores.micro_f1:.4f}, macro F1 {scores.macro_f1:.4f}"
        + (f"\nthe {len(labels)} most frequent of {len(names)} labels" if left_out else ""),
        fontsize=9,
    )
    return save_figure(figure, Path(path))
