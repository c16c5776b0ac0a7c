"""The activations of a language model on the characters of a text, as coloured HTML.

Writes highlight.html   the text once for each unit that is shown, from blue (lowest activation) to red (highest)
"""

import os
import random
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.errors import ConfigError
from charlm.storage.atomic import write_text

if TYPE_CHECKING:
    from torch import Tensor

_CHARACTER = '<span style="background-color: hsl({hue}, 100%, 75%)">{character}</span>'
_HUES = 240
"""Degrees from red, 0, to blue."""


class Highlighter:
    """Shows which characters of a text a unit of a model reacts to."""

    def highlight(self, activation: "Tensor", text: str) -> str:
        """The text with each character coloured by its activation; `activation` is (T,) for T characters."""
        if activation.shape != (len(text),):
            raise ConfigError(f"one activation a character is needed: {tuple(activation.shape)} for {len(text)}")
        lowest, span = activation.min(), activation.max() - activation.min()
        hues = (_HUES * (1 - (activation - lowest) / span.clamp(min=1e-12))).round().int().tolist()
        colored = (
            _CHARACTER.format(hue=hue, character=escape(character)) for hue, character in zip(hues, text, strict=True)
        )
        return f"<p>{''.join(colored)}</p>\n"

    def highlight_selection(
        self, activations: "Tensor", text: str, file_: str | os.PathLike[str] = "highlight.html", n: int = 10
    ) -> None:
        """Write the text as `n` units see it, which Python's `random` chooses; `activations` is (T, H)."""
        num_units = activations.shape[-1]
        units = sorted(random.sample(range(num_units), min(n, num_units)))
        paragraphs = "".join(self.highlight(activations[:, unit], text) for unit in units)
        write_text(Path(file_), f'<!DOCTYPE html>\n<meta charset="utf-8">\n{paragraphs}')
