"""The sections of the report of a pair of language models: scores, curves, the gate, changes, samples, neighbours.

Each function makes one section from plain numbers and text. Bits per byte are those of held-out text; less is better.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from charlm.evaluation.gate_report import DirectionComparison, DomainComparison, GateReport
from charlm.evaluation.neighbours import WordNeighbours
from charlm.evaluation.scores import Baseline, ScoreValues
from charlm.visual.html_report import Section, Tile, facts, marked, note, preformatted, shown, table, tiles
from charlm.visual.svg_charts import Interval, Line, interval_chart, line_chart

_COLOURS = {"forward": "one", "backward": "two"}
_SPLITS = ("valid", "test")
_ROOM_ABOVE = 1.1  # the first mini-batches are far above everything that follows
_SMOOTHED_POINTS = 60

Curve = Sequence[tuple[float, float]]
"""Millions of characters read, and bits per character."""


def scores_section(scores: Mapping[str, Mapping[str, ScoreValues]], baseline: Baseline | None) -> Section:
    """The test scores as large numbers, then every score in a table, beside the n-gram model's."""
    test = [splits["test"] for splits in scores.values()]
    of_both = "mean of both directions" if len(test) > 1 else ""
    numbers = [
        Tile("bits per byte", _three_digits(_mean([one["bits_per_byte"] for one in test])), of_both),
        Tile("bits per character", _three_digits(_mean([one["bits_per_character"] for one in test])), of_both),
        Tile("perplexity", _three_digits(_mean([one["perplexity"] for one in test])), of_both),
        Tile("<unk>", f"{max((one['unk_rate'] for one in test), default=0.0):.3%}", "of the test text"),
    ]
    if baseline is not None:
        bits = _three_digits(baseline.test["bits_per_byte"])
        numbers.append(Tile("n-gram model", bits, f"bits per byte, order {baseline.order}"))
    rows = [_score_row(direction, split, splits[split]) for direction, splits in scores.items() for split in _SPLITS]
    if baseline is not None:
        name = f"n-gram model of order {baseline.order}"
        rows += [_score_row(name, split, getattr(baseline, split)) for split in _SPLITS]
    header = ("model", "text", "bits/byte", "bits/character", "perplexity", "<unk>", "characters")
    return Section("Scores on held-out text", tiles(numbers) + table(header, rows, num_texts=2))


def curves_section(valid: Mapping[str, Curve], train: Mapping[str, Curve]) -> Section:
    """Bits per character over the characters that were read, by direction: on validation text and on train text."""
    highest = max((bits for curve in valid.values() for _, bits in curve), default=math.inf) * _ROOM_ABOVE
    train = {direction: _smoothed([one for one in curve if one[1] <= highest]) for direction, curve in train.items()}
    lines = [
        *(Line(f"{direction}, validation text", curve, _COLOURS[direction]) for direction, curve in valid.items()),
        *(Line(f"{direction}, train text", curve, _COLOURS[direction], True) for direction, curve in train.items()),
    ]
    chart = line_chart(lines, x_label="million characters read", y_label="bits per character")
    return Section("Training", chart)


def gate_section(report: GateReport, champion: str | None) -> Section:
    """The improvement over the champion by direction and domain, with its intervals, as a chart and as a table."""
    compared: list[tuple[str, DirectionComparison | DomainComparison]] = [
        *((f"all text, {direction}", one) for direction, one in report.directions.items()),
        *((f"{name} (target)" if name == report.target else name, one) for name, one in report.domains.items()),
    ]
    if champion is None or all(one.interval is None for _, one in compared):
        text = note("There was no champion to compare with: it only had to be healthy.")
        scores = table(("test text", "bits/byte"), [[name, f"{one.bits_per_byte:.4f}"] for name, one in compared])
        return Section("At the promotion gate", text + scores)
    label = f"bits per byte saved against {champion} ({report.config.confidence:.0%} intervals)"
    bars = [
        Interval(name, one.interval[0], one.improvement, one.interval[1])
        for name, one in compared
        if one.interval is not None and one.improvement is not None
    ]
    limits = report.config
    required = note(
        f"Required: {limits.margin:g} better on the target, elsewhere at most {limits.tolerance:g} worse."
        " To the right of the line is better. Intervals by bootstrap over documents."
    )
    rows = [[name, *_comparison(one)] for name, one in compared]
    header = ("test text", "bits/byte", "champion", "saved", "interval")
    return Section("Against the champion", interval_chart(bars, label=label) + required + table(header, rows))


def changes_section(rows: Sequence[tuple[str, str, str]], before: str) -> Section:
    """Every property in which a version differs from the one before."""
    if not rows:
        return Section("What changed", note(f"Text, dictionary and settings are those of {before}."))
    return Section("What changed", table(("what", before, "this version"), rows, num_texts=3))


def samples_section(samples: Mapping[str, str]) -> Section:
    """Text that each model wrote at the end of its training."""
    parts = [f"<h3>{shown(direction)}</h3>{preformatted(text.strip())}" for direction, text in samples.items()]
    explained = note("Text that the models wrote after their training. It shows what they have learnt, and no facts.")
    return Section("Text that the models write", explained + "".join(parts))


def neighbours_section(words: Sequence[tuple[WordNeighbours, WordNeighbours]]) -> Section:
    """Words in two contexts each, and the words of the held-out text that are nearest in each of them."""
    parts = [
        note(
            "Each word in the two contexts of the held-out text in which its vectors differ most, and what is nearest"
            " to it in each. Different neighbours mean that the vectors tell the contexts apart."
        )
    ]
    for pair in words:
        columns = "".join(f"<div><p>{marked(one.place)}</p>{_neighbour_list(one)}</div>" for one in pair)
        parts.append(f'<h3>{shown(pair[0].place.word)}</h3><div class="pair">{columns}</div>')
    return Section("Words in context", "".join(parts))


def coverage_section(
    missing: Sequence[float], *, num_kept: int, plural: str, unk_rates: Mapping[str, float]
) -> Section:
    """The share of the train text that a dictionary of so many items lacks, the most frequent first."""
    points = [(float(rank), share) for rank, share in enumerate(missing, 1)]
    kept = [point for point in points if point[0] <= num_kept]
    lines = [Line("kept", kept, "one"), Line("left out", points[max(num_kept - 1, 0) :], "plain", True)]
    rates = ", ".join(f"{rate:.4%} of the {split} text" for split, rate in unk_rates.items())
    text = f"{num_kept:,} of {len(missing):,} {plural} have an id. All others are <unk>: {rates}."
    chart = line_chart(
        [line for line in lines if line.points],
        x_label=f"{plural} kept, most frequent first",
        y_label="share of the text that is left out",
        logarithmic=True,
    )
    return Section("Coverage of the dictionary", note(text) + chart)


def settings_section(settings: Mapping[str, object]) -> Section:
    """All settings, folded."""
    return Section("Settings", facts(settings))


def _smoothed(curve: Curve) -> Curve:
    """The means of neighbouring points: what a single mini-batch costs says little."""
    size = math.ceil(len(curve) / _SMOOTHED_POINTS) or 1
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]


def _neighbour_list(word: WordNeighbours) -> str:
    items = (f'<li>{marked(one.place)} <span class="soft">{one.cosine:.3f}</span></li>' for one in word.neighbours)
    return f"<ol>{''.join(items)}</ol>"


def _comparison(one: DirectionComparison | DomainComparison) -> list[str]:
    if one.champion_bits_per_byte is None or one.improvement is None or one.interval is None:
        return [f"{one.bits_per_byte:.4f}", "–", "–", "–"]
    low, high = one.interval
    return [
        f"{one.bits_per_byte:.4f}",
        f"{one.champion_bits_per_byte:.4f}",
        f"{one.improvement:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
    ]


def _score_row(model: str, split: str, values: ScoreValues) -> list[str]:
    return [
        model,
        split,
        _three_digits(values["bits_per_byte"]),
        _three_digits(values["bits_per_character"]),
        _three_digits(values["perplexity"]),
        f"{values['unk_rate']:.3%}",
        f"{values['characters']:,}",
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _three_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
