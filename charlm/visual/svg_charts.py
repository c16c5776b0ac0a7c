"""Charts as SVG inside of a page of HTML, whose style sheet gives the colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from charlm.visual.html_report import escaped

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 16, 12, 44
_ROW = 30
_MOST_POINTS = 400


@dataclass(frozen=True)
class Line:
    """A line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str = "one"
    """`one`, `two`, `good`, `bad` or `plain`."""

    is_dashed: bool = False


@dataclass(frozen=True)
class Interval:
    """A difference and its interval; none where there is nothing to compare."""

    name: str
    low: float
    middle: float
    high: float


def line_chart(lines: Sequence[Line], *, x_label: str, y_label: str, logarithmic: bool = False) -> str:
    """Lines over a common axis, with their legend; with `logarithmic` both axes are."""
    lines = [Line(one.name, _finite(one.points, logarithmic), one.colour, one.is_dashed) for one in lines]
    xs = [x for one in lines for x, _ in one.points]
    ys = [y for one in lines for _, y in one.points]
    if not xs:
        return '<p class="soft">There are no points to draw.</p>'
    x_axis, y_axis = (
        _Axis.of(xs, _LEFT, _WIDTH - _RIGHT, logarithmic),
        _Axis.of(ys, _HEIGHT - _BOTTOM, _TOP, logarithmic),
    )
    parts = [
        *(_line(_LEFT, y_axis.place(tick), _WIDTH - _RIGHT, y_axis.place(tick), "grid") for tick in y_axis.ticks),
        *(_text(_LEFT - 8, y_axis.place(tick) + 4, y_axis.shown(tick), "end") for tick in y_axis.ticks),
        *(_text(x_axis.place(tick), _HEIGHT - _BOTTOM + 18, x_axis.shown(tick), "middle") for tick in x_axis.ticks),
        _line(_LEFT, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, "axis"),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_label, "middle"),
        f'<text transform="translate(14 {(_TOP + _HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escaped(y_label)}</text>",
    ]
    for one in lines:
        places = " ".join(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in one.points)
        dashes = ' stroke-dasharray="2 4"' if one.is_dashed else ""
        parts.append(f'<polyline class="{one.colour}" points="{places}" fill="none" stroke-width="2"{dashes}/>')
        if len(one.points) <= 40 and not one.is_dashed:
            parts += [_dot(x_axis.place(x), y_axis.place(y), one.colour, 3) for x, y in one.points]
    return f"{_legend(lines)}{_svg(_HEIGHT, parts)}"


def interval_chart(rows: Sequence[Interval], *, label: str) -> str:
    """A row for each difference, with its interval and a line at zero: green above it, red below, grey across it."""
    if not rows:
        return ""
    left = 190
    values = [0.0, *(value for row in rows for value in (row.low, row.middle, row.high))]
    axis = _Axis.of(values, left, _WIDTH - _RIGHT, False)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    bottom = height - _BOTTOM
    parts = [_line(axis.place(tick), _TOP, axis.place(tick), bottom, "grid") for tick in axis.ticks]
    parts += [_text(axis.place(tick), bottom + 18, f"{tick:+.3g}" if tick else "0", "middle") for tick in axis.ticks]
    parts += [_line(axis.place(0), _TOP, axis.place(0), bottom, "axis")]
    for number, row in enumerate(rows):
        y = _TOP + _ROW * (number + 0.5)
        colour = "good" if row.low > 0 else "bad" if row.high < 0 else "plain"
        parts.append(_text(left - 12, y + 4, _short(row.name), "end", "name"))
        parts.append(_line(axis.place(row.low), y, axis.place(row.high), y, colour, 3))
        parts += [_line(axis.place(end), y - 5, axis.place(end), y + 5, colour, 2) for end in (row.low, row.high)]
        parts.append(_dot(axis.place(row.middle), y, colour, 5))
    parts.append(_text((left + _WIDTH - _RIGHT) / 2, height - 6, label, "middle"))
    return _svg(height, parts)


@dataclass(frozen=True)
class _Axis:
    """Where values stand, and which of them are named."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool
    ticks: Sequence[float]

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float, is_logarithmic: bool) -> "_Axis":
        low, high = min(values), max(values)
        if is_logarithmic:
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            ticks = [10.0**power for power in powers if low <= 10.0**power <= high]
            return cls(math.log10(low), max(math.log10(high), math.log10(low) + 0.01), start, end, True, ticks)
        room = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
        low, high = (low if low == 0 else low - room), high + room
        step = _step((high - low) / 5)
        first = math.ceil(low / step)
        ticks = [number * step for number in range(first, math.floor(high / step) + 1)]
        return cls(low, high, start, end, False, ticks)

    def place(self, value: float) -> float:
        number = math.log10(value) if self.is_logarithmic else value
        return self.start + (number - self.low) / (self.high - self.low) * (self.end - self.start)

    def shown(self, value: float) -> str:
        if self.is_logarithmic:
            return f"{value:,.0f}" if value >= 1 else f"{100 * value:g}%"
        return f"{value:,.10g}" if abs(value) < 1e-9 or abs(value) >= 1e-3 else f"{value:.1g}"


def _step(rough: float) -> float:
    """The step of 1, 2 or 5 times a power of ten that is nearest above: 0.13 -> 0.2."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _finite(points: Sequence[tuple[float, float]], only_positive: bool) -> list[tuple[float, float]]:
    """The points that can be drawn, and no more than can be told apart."""
    kept = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    kept = [(x, y) for x, y in kept if x > 0 and y > 0] if only_positive else kept
    every = math.ceil(len(kept) / _MOST_POINTS) or 1
    return [*kept[:-1:every], *kept[-1:]]


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}…"


def _legend(lines: Sequence[Line]) -> str:
    keys = (
        f'<span><i class="key {one.colour}{" dashed" if one.is_dashed else ""}"></i>{escaped(one.name)}</span>'
        for one in lines
    )
    return f'<p class="soft legend">{"".join(keys)}</p>' if len(lines) > 1 else ""


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<figure><svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img">{"".join(parts)}</svg></figure>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line class="{colour}" {ends} stroke-width="{width:g}"/>'


def _dot(x: float, y: float, colour: str, radius: float) -> str:
    return f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'
