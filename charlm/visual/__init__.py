"""Figures and pages for people to look at."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {"Highlighter": "pictures of single activations", **dict.fromkeys(("Visualizer", "tSNE"), "maps of vectors")},
)
