"""Counts of characters, and how they are shown: a table and a plot of what a dictionary covers.

A unit is a character, or a byte written as the character of that code.
"""

import unicodedata
from dataclasses import dataclass
from html import escape

import numpy as np

from charlm.config import Unit
from charlm.data.dictionary import Dictionary


@dataclass(frozen=True)
class Counts:
    """How often each unit occurs.

    Attributes:
        code_points: code point (or byte) of each unit that occurs, int64.
        counts: its number of occurrences, int64.
    """

    code_points: np.ndarray
    counts: np.ndarray

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def ranked(self) -> "Counts":
        """The same, most frequent first; equal counts by code point."""
        order = np.lexsort((self.code_points, -self.counts))
        return Counts(self.code_points[order], self.counts[order])

    def cumulative_shares(self) -> np.ndarray:
        """Share of all units that the units up to and with each one make up."""
        shares: np.ndarray = np.cumsum(self.counts) / max(self.total, 1)
        return shares


def item_of(code_point: int, unit: Unit) -> bytes:
    """The item of a dictionary that stands for a unit."""
    return bytes([code_point]) if unit == "byte" else chr(code_point).encode()


def characters_table(counts: Counts, dictionary: Dictionary) -> str:
    """All units by rank as tab-separated text: id, character, code point, Unicode name, count, share so far, kept."""
    rows = ["id\tcharacter\tcode_point\tname\tcount\tcumulative_share\tkept"]
    for code_point, count, share in zip(
        counts.code_points.tolist(), counts.counts.tolist(), counts.cumulative_shares().tolist(), strict=True
    ):
        item = item_of(code_point, dictionary.unit)
        is_kept = item in dictionary.item2idx
        cells = [
            str(dictionary.item2idx[item]) if is_kept else "",
            show_character(code_point),
            f"0x{code_point:02x}" if dictionary.unit == "byte" else f"U+{code_point:04X}",
            "" if dictionary.unit == "byte" else unicodedata.name(chr(code_point), ""),
            str(count),
            f"{share:.6f}",
            "yes" if is_kept else "no",
        ]
        rows.append("\t".join(cells))
    return "\n".join(rows) + "\n"


def show_character(code_point: int) -> str:
    """The character itself where it shows, an escape like `\\n` or `\\u200b` where it does not."""
    character = chr(code_point)
    return character if character.isprintable() and character != " " else ascii(character)[1:-1].replace(" ", "' '")


# ---- the plot ------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _MARGIN = 720, 420, 60
_MOST_POINTS = 400


def coverage_plot(counts: Counts, dictionary: Dictionary, coverage: float) -> str:
    """An SVG of the share of the text outside the dictionary against the number of units kept, both logarithmic.

    Written by hand: a plotting library takes longer to load than a small corpus to prepare.
    """
    missing = np.maximum(1 - counts.cumulative_shares(), 1 / max(counts.total, 2))
    decades_x = max(np.log10(len(missing)), 1.0)
    decades_y = max(-np.log10(missing.min(initial=0.1)), 1.0)

    def x_of(rank: float) -> float:
        return float(_MARGIN + np.log10(rank) / decades_x * (_WIDTH - 2 * _MARGIN))

    def y_of(share: float) -> float:
        return float(_MARGIN - np.log10(share) / decades_y * (_HEIGHT - 2 * _MARGIN))

    ranks = np.unique(np.geomspace(1, max(len(missing), 1), _MOST_POINTS).astype(int))[: len(missing)]
    curve = " ".join(f"{x_of(rank):.1f},{y_of(missing[rank - 1]):.1f}" for rank in ranks)
    num_kept = len(dictionary) - 1
    units = "bytes" if dictionary.unit == "byte" else "characters"
    left, right, top, bottom = _MARGIN, _WIDTH - _MARGIN, _MARGIN, _HEIGHT - _MARGIN
    parts = [
        _line(left, top, left, bottom, "black"),
        _line(left, bottom, right, bottom, "black"),
        *(_text(x_of(10**power), bottom + 20, f"{10**power:,}") for power in range(int(decades_x) + 1)),
        *(
            _text(left - 8, y_of(10.0**-power) + 4, f"{100 * 10.0**-power:g}%", anchor="end")
            for power in range(int(decades_y) + 1)
        ),
        _text(_WIDTH / 2, _HEIGHT - 14, f"{units} kept, most frequent first"),
        _text(
            _WIDTH / 2, top - 30, f"share of the text not covered: {num_kept:,} of {len(missing):,} {units} are kept"
        ),
        f'<polyline points="{curve}" fill="none" stroke="#4269d0" stroke-width="2"/>',
        _line(x_of(num_kept), top, x_of(num_kept), bottom, "#ff725c"),
        _text(x_of(num_kept), top - 8, f"dictionary: {num_kept:,}"),
    ]
    if coverage < 1 and y_of(1 - coverage) < bottom:
        parts += [
            _line(left, y_of(1 - coverage), right, y_of(1 - coverage), "#6cc5b0"),
            _text(left + 70, y_of(1 - coverage) - 6, f"coverage {coverage:g}"),
        ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
