"""A report as one page of HTML that needs nothing but a browser: no network, no scripts, light or dark.

Text of the user is shown as it is written: everything that is put into a page passes `shown`, or is built here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from charlm.evaluation.neighbours import Context

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --text: #1d2329; --soft: #5b6570; --line: #dfe4e9; --card: #f5f7f9;
  --one: #1f6fb5; --two: #b8560b; --good: #1a7f45; --bad: #b3261e; --plain: #5b6570; --mark: #fff1bf; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --text: #e4e8ec; --soft: #9aa5b1; --line: #323a43;
  --card: #1d232a; --one: #6cb2ee; --two: #f0a05a; --good: #57c785; --bad: #f2857c; --plain: #9aa5b1;
  --mark: #4d431d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: .95rem; margin: 1.1rem 0 .3rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: .87rem; }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; font-weight: 600; font-size: .87rem;
  border: 1.5px solid currentColor; margin-bottom: .5rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .plain { color: var(--plain); }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0 0; }
.tile { flex: 1 1 8.5rem; background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.3rem; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .28rem .75rem .28rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--soft); font-size: .85rem; white-space: nowrap; }
th.number, td.number { text-align: right; white-space: nowrap; padding: .28rem .6rem; }
td.heat { text-align: center; min-width: 3.2rem; padding: .28rem .4rem; border: 1px solid var(--page); }
figure { margin: .6rem 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .name { fill: var(--text); }
svg .grid { stroke: var(--line); }
svg .axis { stroke: var(--soft); }
svg .one { stroke: var(--one); } svg .two { stroke: var(--two); } svg .good { stroke: var(--good); }
svg .bad { stroke: var(--bad); } svg .plain { stroke: var(--plain); }
svg circle.one { fill: var(--one); } svg circle.two { fill: var(--two); } svg circle.good { fill: var(--good); }
svg circle.bad { fill: var(--bad); } svg circle.plain { fill: var(--plain); }
.key { display: inline-block; width: 1.4rem; height: 0; border-top: 2.5px solid; vertical-align: middle;
  margin: 0 .35rem 0 0; } .key.one { border-color: var(--one); } .key.two { border-color: var(--two); }
.key.dashed { border-top-style: dotted; } .legend span { margin-right: 1.1rem; white-space: nowrap; }
pre { background: var(--card); padding: .7rem .9rem; border-radius: .5rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font: .85rem/1.5 ui-monospace, monospace; margin: .4rem 0; max-height: 22rem;
  overflow: auto; }
mark { background: var(--mark); color: inherit; border-radius: .2rem; padding: 0 .15rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: .3rem 2rem; }
ol { margin: .3rem 0 .3rem 1.2rem; padding: 0; } li { padding: .1rem 0; overflow-wrap: anywhere; }
summary { cursor: pointer; }
bdi { unicode-bidi: isolate; }
"""


_BEGIN, _END = "<!--result-->", "<!--/result-->"  # no text of the user holds them: its `<` is written as an entity
Tone = Literal["good", "bad", "plain"]


@dataclass(frozen=True)
class Section:
    """A part of a report under its heading."""

    heading: str
    html: str


@dataclass(frozen=True)
class Tile:
    """A number that is seen first."""

    label: str
    value: str
    note: str = ""


def report_page(title: str, result: str, sections: Iterable[Section], *, about: str = "") -> str:
    """The whole page: the title and the result first, then the sections.

    Args:
        result: made by `report_result`; `with_other_result` puts another in its place.
        about: when and with what the page was made.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{shown(title)}</h1>\n{_BEGIN}{result}{_END}\n{''.join(map(_section, sections))}"
        f'<p class="soft">{shown(about)}</p>\n</main>\n</body>\n</html>\n'
    )


def report_result(sentence: str, sections: Iterable[Section] = (), *, verdict: str = "", tone: Tone = "plain") -> str:
    """What a report shows first: the verdict in the colour of `tone`, a sentence, and the sections that justify it."""
    badge = f'<span class="badge {tone}">{shown(verdict)}</span>' if verdict else ""
    return f"{badge}<p>{shown(sentence)}</p>\n{''.join(map(_section, sections))}"


def with_other_result(page: str, result: str) -> str:
    """A page of `report_page` with another result in the place of the one that it has."""
    before, _, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError("the page is no report of charlm")
    return f"{before}{_BEGIN}{result}{_END}{after}"


def _section(section: Section) -> str:
    return f"<section><h2>{shown(section.heading)}</h2>{section.html}</section>\n"


def shown(text: object) -> str:
    """`text` as HTML that shows exactly it, in a direction of its own: `"a <b>" -> "<bdi>a &lt;b&gt;</bdi>"`."""
    return f"<bdi>{escaped(text)}</bdi>"


def preformatted(text: str) -> str:
    """`text` with its line ends and spaces."""
    return f"<pre>{escaped(text)}</pre>"


def marked(context: Context) -> str:
    """A context with its word marked."""
    return f"<bdi>{escaped(context.before)} <mark>{escaped(context.word)}</mark> {escaped(context.after)}</bdi>"


def escaped(text: object) -> str:
    """`text` as HTML, without characters that are invisible or turn the direction of others."""
    return escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(text)))


def tiles(numbers: Sequence[Tile]) -> str:
    """The numbers that are seen first, side by side."""
    boxes = (
        f'<div class="tile"><span class="soft">{shown(tile.label)}</span><b>{shown(tile.value)}</b>'
        f'<span class="soft">{shown(tile.note)}</span></div>'
        for tile in numbers
    )
    return f'<div class="tiles">{"".join(boxes)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, num_texts: int = 1) -> str:
    """A table whose first `num_texts` columns are text, and the others numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = ["" if number < num_texts else ' class="number"' for number in range(len(cells))]
        joined = "".join(f"<{tag}{kind}>{shown(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{joined}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table><thead>{line("th", header)}</thead><tbody>{body}</tbody></table></div>'


def heat_table(labels: Sequence[str], shares: Sequence[Sequence[float]], counts: Sequence[Sequence[int]]) -> str:
    """A square of counts, coloured by their share of the row; what stands on the diagonal is right."""
    header = "".join(f"<th>{shown(label)}</th>" for label in ["true \\ predicted", *labels])
    rows = []
    for row, label in enumerate(labels):
        cells = [f"<th>{shown(label)}</th>"]
        for column, count in enumerate(counts[row]):
            colour = "good" if row == column else "bad"
            strength = round(65 * shares[row][column])
            style = f"background: color-mix(in srgb, var(--{colour}) {strength}%, var(--page))"
            cells.append(f'<td class="heat" style="{style}">{count:,}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><thead><tr>{header}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def facts(values: Mapping[str, object]) -> str:
    """Names and values, behind a line that opens them."""
    rows = [(name.replace("_", " "), "–" if value is None else str(value)) for name, value in values.items()]
    return f"<details><summary>{len(rows)} settings</summary>{table(['setting', 'value'], rows, num_texts=2)}</details>"


def note(text: str) -> str:
    return f'<p class="soft">{shown(text)}</p>'
