"""The gate's report for people: as markdown for Prefect and MLflow, as a table for the terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table

from charlm.evaluation.gate_report import DirectionComparison, DomainComparison, GateReport, ProbeScores
from charlm.serialization.markdown import escape

_COLUMNS = ("domain", "bits/byte", "champion", "improvement", "interval", "documents", "<unk>")
_NUM_SHOWN = 5  # columns that fit on a terminal


def gate_markdown(report: GateReport) -> str:
    """The reason, then challenger and champion direction by direction and domain by domain."""
    return f"{as_sentence(report.reason)}\n{_numbers(report)}"


def gate_details(report: GateReport) -> str:
    """Why the gate decided so, and the same table; the decision itself stands before it."""
    return f"Why: {escape(report.reason.partition(':')[2].strip())}.\n{_numbers(report)}"


def _numbers(report: GateReport) -> str:
    lines = []
    if report.domains or report.directions:
        lines += ["", f"| {' | '.join(_COLUMNS)} |".replace("<unk>", "&lt;unk&gt;"), "| --- |" + " ---: |" * 6]
        lines += [f"| {' | '.join(map(escape, cells))} |" for cells in _rows(report)]
        lines += ["", _remarks(report)]
    return "".join(f"{line}\n" for line in lines)


def as_sentence(reason: str) -> str:
    """The reason as markdown: `"refused: <unk> is 2 %" -> "**Refused**: &lt;unk&gt; is 2 %."`."""
    decision, _, why = reason.partition(":")
    return f"**{decision.capitalize()}**:{escape(why)}."


def gate_table(report: GateReport) -> Table:
    """Challenger and champion, one row a direction and a domain."""
    table = Table(box=SIMPLE_HEAD)
    for number, heading in enumerate(_COLUMNS[:_NUM_SHOWN]):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for cells in _rows(report):
        table.add_row(*cells[:_NUM_SHOWN])
    return table


def _rows(report: GateReport) -> Iterator[list[str]]:
    documents = f"{sum(numbers.documents for numbers in report.domains.values()):,}"
    for direction, both in report.directions.items():
        yield [f"all, {direction}", f"{both.bits_per_byte:.4f}", *_compared(both), documents, "–"]
    for domain, numbers in report.domains.items():
        label = f"{domain} (target)" if domain == report.target else domain
        documents = f"{numbers.documents:,}" + ("" if numbers.parts_of is None else f" parts of {numbers.parts_of}")
        yield [label, f"{numbers.bits_per_byte:.4f}", *_compared(numbers), documents, f"{numbers.unk_rate:.3%}"]


def _compared(numbers: DirectionComparison | DomainComparison) -> list[str]:
    """The champion's score, the improvement and its interval."""
    if numbers.champion_bits_per_byte is None or numbers.improvement is None or numbers.interval is None:
        return ["–", "–", "–"]
    low, high = numbers.interval
    return [f"{numbers.champion_bits_per_byte:.4f}", f"{numbers.improvement:+.4f}", f"{low:+.4f} to {high:+.4f}"]


def _remarks(report: GateReport) -> str:
    perplexities = ", ".join(f"{direction} {value:.3f}" for direction, value in report.perplexities.items())
    limits = report.config
    remarks = [
        f"Perplexity: {perplexities}.",
        f"Required: {limits.margin:g} better on the target, elsewhere at most {limits.tolerance:g} worse;"
        f" intervals at {limits.confidence:.0%}, by bootstrap over documents.",
    ]
    if report.baseline is not None:
        of_all = "" if len(report.domains) == 1 else " over all domains"
        required = "" if report.baseline.required else " (not required)"
        counted = "" if report.baseline.share == 1 else f" of {report.baseline.share:.0%} of the text"
        remarks.append(
            f"N-gram model of order {report.baseline.order}{counted}: {report.baseline.bits_per_byte:.4f} bits/byte"
            f"{of_all}{required}."
        )
    if report.probe is not None:
        remarks.append(_probe_remark(report.probe))
    return " ".join(remarks)


def _probe_remark(probe: ProbeScores) -> str:
    remark = f"Probe: micro F1 {probe.challenger:.4f}, the champion has {probe.champion:.4f}"
    if probe.interval is not None:
        low, high = probe.interval
        remark += f"; difference {low:+.4f} to {high:+.4f} over {probe.sentences:,} sentences"
    return f"{remark}."
