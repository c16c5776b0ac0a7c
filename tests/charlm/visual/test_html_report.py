"""Pages that need nothing but a browser: names and text appear as written, charts show their numbers."""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from html.parser import HTMLParser

import pytest

from charlm.config import GateConfig
from charlm.evaluation.gate_report import DirectionComparison, DomainComparison, GateReport
from charlm.evaluation.labels import LabelScores, score_labels
from charlm.evaluation.neighbours import Context, Neighbour, WordNeighbours
from charlm.evaluation.scores import ScoreValues
from charlm.visual import label_report, model_report
from charlm.visual.html_report import Section, facts, marked, report_page, report_result, shown, with_other_result
from charlm.visual.label_report import HardSentence, HardWord
from charlm.visual.svg_charts import Interval, Line, interval_chart, line_chart
from tests.nasty import NASTY

SCORES: ScoreValues = {
    "loss": 1.0,
    "perplexity": 2.718,
    "bits_per_character": 1.44,
    "bits_per_byte": 1.5,
    "unk_rate": 0.001,
    "characters": 1000,
}


class Reader(HTMLParser):
    """The tags, attributes and text of a page, as a browser has them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def visible(text: str) -> str:
    """`text` as a page shows it: what is invisible there is the replacement character."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", "\N{REPLACEMENT CHARACTER}", text)


def gate_report(name: str) -> GateReport:
    better = DomainComparison(
        documents=10, bits_per_byte=1.8, unk_rate=0.0, champion_bits_per_byte=2.0, improvement=0.2, interval=(0.1, 0.3)
    )
    direction = DirectionComparison(bits_per_byte=1.8, champion_bits_per_byte=2.0, improvement=0.2, interval=(0.1, 0.3))
    return GateReport(
        decision="promoted",
        reason=f"promoted: {name} is better",
        target=name,
        domains={name: better},
        directions={"forward": direction},
        config=GateConfig(),
    )


def page_of(text: str) -> str:
    """A report with `text` wherever a user, a text or a label names something."""
    look = WordNeighbours(Context(text, text, text), [Neighbour(Context(text, text, text), 0.9)])
    scores: Mapping[str, Mapping[str, ScoreValues]] = {"forward": {"valid": SCORES, "test": SCORES}}
    labels: LabelScores = score_labels([text, "b"], ["b", "b"])
    confusions = label_report.confusion_section(labels)
    assert confusions is not None
    sections = [
        model_report.scores_section(scores, None),
        model_report.curves_section({"forward": [(1.0, 2.0)]}, {"forward": [(1.0, 2.0)]}),
        model_report.changes_section([(text, text, text)], text),
        model_report.samples_section({text: text}),
        model_report.neighbours_section([(look, look)]),
        model_report.coverage_section([0.5, 0.1, 0.0], num_kept=2, plural="characters", unk_rates={"test": 0.0}),
        Section(text, facts({text: text})),
        label_report.label_scores_section(labels),
        confusions,
        label_report.epochs_section([(1, 0.5)], [(1, 0.5)]),
        label_report.hardest_section([HardSentence([HardWord(text, text, "b")], 0.9)]),
    ]
    result = report_result(text, [model_report.gate_section(gate_report(text), text)], verdict=text, tone="good")
    return report_page(text, result, sections, about=text)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_a_report_shows_every_text_as_it_is_and_never_as_markup(text: str) -> None:
    nasty, plain = Reader(page_of(text)), Reader(page_of("plain"))
    assert nasty.tags == plain.tags
    assert nasty.attributes == plain.attributes
    assert nasty.text.count(visible(text)) >= (25 if text.strip("- ") else 1)


def test_a_report_loads_nothing_and_runs_nothing() -> None:
    page = Reader(page_of("plain"))
    assert not {"script", "link", "img", "iframe", "object"} & page.tags.keys()
    assert not {"src", "href", "onload", "onclick"} & page.attributes.keys()
    assert "http" not in page_of("plain").replace("http-equiv", "")


def test_another_result_takes_the_place_of_the_one_before_and_nothing_else_changes() -> None:
    page = report_page("Title", report_result("Waiting.", verdict="not judged yet"), [Section("Scores", "1.5")])
    judged = with_other_result(page, report_result("Better.", verdict="promoted", tone="good"))
    assert "Waiting." not in judged
    assert Reader(judged).text.index("promoted") < Reader(judged).text.index("Scores")
    assert with_other_result(judged, report_result("Waiting.", verdict="not judged yet")) == page
    with pytest.raises(ValueError, match="no report"):
        with_other_result("<html></html>", "")


def test_a_word_is_marked_in_its_context() -> None:
    assert marked(Context("a [b]", "<c>", "d")) == "<bdi>a [b] <mark>&lt;c&gt;</mark> d</bdi>"
    assert shown("a\u202eb") == "<bdi>a\N{REPLACEMENT CHARACTER}b</bdi>"


# ---- charts --------------------------------------------------------------------------------------------------------


def drawing(html: str) -> ElementTree.Element:
    (svg,) = re.findall(r"<svg.*</svg>", html)
    return ElementTree.fromstring(svg)


def test_lines_go_through_their_points_from_left_to_right_and_less_is_lower() -> None:
    chart = drawing(line_chart([Line("a", [(0, 3), (1, 2), (2, 1)])], x_label="x", y_label="<y>"))
    (line,) = chart.iter("polyline")
    places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted(y for _, y in places)  # y grows downwards
    assert "<y>" in [text.text for text in chart.iter("text")]


@pytest.mark.parametrize(
    "points",
    [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 2.0)], [(0.0, float("nan")), (1.0, float("inf"))], [(0.0, 0.0), (1.0, 0.0)]],
)
@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_chart_of_few_or_no_numbers_is_drawn_too(points: list[tuple[float, float]], logarithmic: bool) -> None:
    chart = line_chart([Line("a", points)], x_label="x", y_label="y", logarithmic=logarithmic)
    assert "nan" not in chart
    assert "inf" not in chart


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    chart = drawing(line_chart([Line("a", [(x, x) for x in range(10_000)])], x_label="x", y_label="y"))
    (line,) = chart.iter("polyline")
    places = line.attrib["points"].split()
    assert len(places) < 500
    whole = drawing(line_chart([Line("a", [(0, 0), (9_999, 9_999)])], x_label="x", y_label="y"))
    (two,) = whole.iter("polyline")
    assert [places[0], places[-1]] == two.attrib["points"].split()


def test_intervals_are_green_above_zero_red_below_and_grey_across_it() -> None:
    rows = [Interval("up", 0.1, 0.2, 0.3), Interval("down", -0.3, -0.2, -0.1), Interval("chance", -0.1, 0.0, 0.1)]
    dots = [dot.attrib["class"] for dot in drawing(interval_chart(rows, label="saved")).iter("circle")]
    assert dots == ["good", "bad", "plain"]


def test_a_version_without_a_champion_shows_its_scores_alone() -> None:
    alone = GateReport(
        decision="promoted",
        reason="promoted: the first version",
        target="books",
        domains={"books": DomainComparison(documents=10, bits_per_byte=1.8, unk_rate=0.0)},
    )
    section = model_report.gate_section(alone, None)
    assert "1.8000" in section.html
    assert "<svg" not in section.html


def test_the_hardest_sentences_come_first_and_right_ones_not_at_all() -> None:
    def sentence(name: str, *wrong: bool) -> HardSentence:
        return HardSentence([HardWord(name, "A", "B" if one else "A") for one in wrong], 0.5)

    section = label_report.hardest_section(
        [sentence("right", False), sentence("some", True, False), sentence("many", True, True)]
    )
    assert section.html.index("many") < section.html.index("some")
    assert "right" not in section.html
    assert "2 test sentences have an error" in section.html


def test_neighbouring_words_with_the_same_error_are_marked_together() -> None:
    words = [
        HardWord("in", "O", "O"),
        HardWord("New", "B-place", "O"),
        HardWord("York", "E-place", "O"),
        HardWord("Anna", "S-person", "B-person"),
    ]
    section = label_report.hardest_section([HardSentence(words, 0.5)])
    assert Reader(section.html).tags["mark"] == 2
    assert "in New York place → (none) Anna other ends" in " ".join(Reader(section.html).text.split())
