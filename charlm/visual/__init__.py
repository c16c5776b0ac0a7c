"""Figures and pages for people to look at."""

from charlm.errors import outside_charlm
from charlm.visual.activations import Highlighter

__all__ = ["Highlighter"]

__getattr__ = outside_charlm(__name__, dict.fromkeys(("Visualizer", "tSNE"), "maps of vectors"))
