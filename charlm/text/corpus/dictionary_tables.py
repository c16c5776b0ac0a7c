"""What a dictionary covers, for people: a table of all items that occur, and a plot."""

from html import escape

import numpy as np

from charlm.data.dictionary import Dictionary
from charlm.units.counts import Counts


def items_table(counts: Counts, dictionary: Dictionary) -> str:
    """All items by rank as tab-separated text: id, the item and what it is, count, share so far, kept."""
    unit = dictionary.unit_of
    rows = ["\t".join(["id", *unit.table_columns, "count", "cumulative_share", "kept"])]
    for text, count, share in zip(
        counts.items.to_pylist(), counts.counts.tolist(), counts.cumulative_shares().tolist(), strict=True
    ):
        idx = dictionary.item2idx.get(unit.to_item(text))
        is_kept = idx is not None
        cells = [str(idx) if is_kept else "", *unit.describe(text)]
        rows.append("\t".join([*cells, str(count), f"{share:.6f}", "yes" if is_kept else "no"]))
    return "\n".join(rows) + "\n"


# ---- the plot ------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _MARGIN = 720, 420, 60
_MOST_POINTS = 400


def coverage_plot(counts: Counts, dictionary: Dictionary, coverage: float) -> str:
    """An SVG of the share of the text outside the dictionary against the number of items kept, both logarithmic.

    Without a plotting library, which takes longer to load than a small corpus to prepare.
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
    plural = dictionary.unit_of.plural
    left, right, top, bottom = _MARGIN, _WIDTH - _MARGIN, _MARGIN, _HEIGHT - _MARGIN
    parts = [
        _line(left, top, left, bottom, "black"),
        _line(left, bottom, right, bottom, "black"),
        *(_text(x_of(10**power), bottom + 20, f"{10**power:,}") for power in range(int(decades_x) + 1)),
        *(
            _text(left - 8, y_of(10.0**-power) + 4, f"{100 * 10.0**-power:g}%", anchor="end")
            for power in range(int(decades_y) + 1)
        ),
        _text(_WIDTH / 2, _HEIGHT - 14, f"{plural} kept, most frequent first"),
        _text(
            _WIDTH / 2, top - 30, f"share of the text not covered: {num_kept:,} of {len(missing):,} {plural} are kept"
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
