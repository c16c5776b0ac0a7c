"""What a user has named is never markup: it appears as it is, wherever it is drawn or written."""

import io
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from charlm.config import GateConfig
from charlm.errors import CharLMWarning
from charlm.evaluation.promotion import DomainComparison, GateReport
from charlm.serialization.markdown import code, escape, one_line
from charlm.serialization.model_card import model_card
from charlm.visual.figures import LITERAL, add_legend, drawable, new_figure, save_figure
from tasks import reporting
from tasks.downstream.registry import describe_downstream_model
from tasks.inference.embedding import EmbeddedText
from tasks.promotion.history import JudgedVersion, draw_versions, versions_markdown
from tasks.promotion.report import gate_markdown, gate_table
from tasks.registry.lineage import changes_markdown
from tasks.terminal import Terminal, domain_table, score_table, write_stdout
from tests.nasty import NASTY

EVERY_TEXT = pytest.mark.parametrize("text", NASTY)
SCORES = {"bits_per_character": 1.0, "bits_per_byte": 1.0, "perplexity": 2.0, "unk_rate": 0.0}
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def drawn(markdown: str) -> list[str]:
    """The texts that a reader of the Markdown sees, piece by piece; raw HTML and pictures are an error."""
    pieces: list[str] = []
    for token in _MARKDOWN.parse(markdown):
        assert token.type != "html_block"
        if token.type == "inline":
            piece = ""
            for child in token.children or []:
                assert child.type not in ("html_inline", "image")
                piece += child.content
            pieces.append(piece)
    return pieces


def assert_shown(text: str, markdown: str) -> None:
    """`text` is seen as it is; blanks at the ends of a cell, and several in a row, are not seen."""
    wanted = " ".join(one_line(text).split())
    assert any(wanted in " ".join(piece.split()) for piece in drawn(markdown)), markdown


# ---- Markdown ------------------------------------------------------------------------------------------------------


@EVERY_TEXT
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    assert_shown(text, f"before {escape(text)} after")
    assert_shown(text, f"before {code(text)} after")
    assert_shown(text, f"| a | b |\n| --- | --- |\n| {escape(text)} | {code(text, in_table=True)} |")


def gate_report(text: str) -> GateReport:
    numbers = DomainComparison(
        bits_per_byte=2.0,
        champion_bits_per_byte=2.1,
        improvement=0.1,
        interval=(0.05, 0.15),
        documents=10,
        unk_rate=0.0,
    )
    return GateReport(
        decision="promoted",
        reason=f"promoted: {text} is better",
        target=text,
        domains={text: numbers},
        perplexities={"forward": 4.0},
        config=GateConfig(),
    )


def task_facts(text: str) -> dict[str, Any]:
    return {
        "task": "tagger",
        "label_type": text,
        "data": [text],
        "sentences": {"train": 5},
        "language_models": [text],
        "vectors": [text],
    }


def markdowns(text: str) -> dict[str, str]:
    """Every Markdown that is written, with `text` wherever a user names something."""
    judged = [JudgedVersion(version=1, promoted=True, bits_per_byte={text: 2.0})]
    manifest = {"corpus": {"name": "a", "domains": []}, "dictionary": {"size": 10}, "recipe": "demo"}
    domains = {"forward": {text: {"before": SCORES, "after": SCORES}}}
    newer = {**manifest, "corpus": {"name": "a", "domains": [text]}}
    test = {"accuracy": 1.0, "micro_f1": 1.0, "macro_f1": 1.0}
    classes = {text: {"precision": 1.0, "recall": 1.0, "f1": 1.0, "count": 3}}
    champion = SimpleNamespace(version=SimpleNamespace(address="models:/a/1"), domains={"forward": {text: SCORES}})
    embedded = EmbeddedText(output=Path("/tmp") / text.replace("/", "-"), num_tokens=3, num_dimensions=4, seconds=1.0)
    return {
        "gate": gate_markdown(gate_report(text)),
        "versions": versions_markdown("a", judged, picture=None),
        "changes": changes_markdown(manifest, newer, domains, older_label="a version 1"),
        "tagger": describe_downstream_model(task_facts(text), {**test, "classes": classes}),
        "card": model_card({"corpus": {"name": "a", "domains": [text]}, "licence": text, "recipe": text}),
        "evaluation": reporting.evaluation_report(champion),
        "embeddings": reporting.embedding_report(text, Path("/tmp"), [embedded]),
    }


@EVERY_TEXT
def test_every_report_shows_names_as_they_are(text: str) -> None:
    for markdown in markdowns(text).values():
        assert_shown(text.replace("/", "-") if "/" in text and "| file |" in markdown else text, markdown)


def test_every_report_keeps_the_columns_of_its_tables() -> None:
    """A name can end no row and open no column: the tables have the shape that they have with a plain name."""

    def shape(markdown: str) -> list[str]:
        return [token.type for token in _MARKDOWN.parse(markdown) if token.type != "inline"]

    expected = {name: shape(markdown) for name, markdown in markdowns("plain").items()}
    for text in NASTY:
        assert {name: shape(markdown) for name, markdown in markdowns(text).items()} == expected, text


# ---- the terminal --------------------------------------------------------------------------------------------------


@EVERY_TEXT
def test_the_terminal_shows_names_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.console = Console(width=2000, stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
    terminal.print_line(f"<{text}>")
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\a" not in err
    if text.isprintable():
        assert f"<{text}>" in err


@EVERY_TEXT
def test_tables_on_the_terminal_show_names_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tasks import terminal

    line = text if text.isprintable() and len(text) < 50 else "plain"
    for table in (
        score_table({"forward": {line: SCORES}}),
        domain_table({"forward": {line: {"before": SCORES, "after": SCORES}}}),
        gate_table(gate_report(line)),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", "300")
            terminal.print_result(table)
        assert line.strip() in capsys.readouterr().out


# ---- pictures ------------------------------------------------------------------------------------------------------


@EVERY_TEXT
@pytest.mark.filterwarnings("ignore:Glyph")
def test_pictures_show_names_as_they_are(text: str, tmp_path: Path) -> None:
    figure = new_figure(6, 3)
    axes = figure.subplots()
    axes.plot([0, 1])
    axes.set_title(drawable(text), **LITERAL)
    axes.set_xticks([0], [drawable(text)], **LITERAL)
    add_legend(axes, [text])
    if len(text) < 50:
        assert save_figure(figure, tmp_path / "a.png").stat().st_size
    drawn = [axes.title, *axes.get_xticklabels(), *axes.get_legend().get_texts()]
    assert [label.get_text() for label in drawn] == [drawable(text)] * 3
    assert not any(label.get_parse_math() for label in drawn)
    if text.isprintable():
        assert drawable(text) == text


@EVERY_TEXT
def test_the_legend_of_the_versions_has_every_domain(text: str) -> None:
    judged = [
        JudgedVersion(version=number, promoted=number == 1, bits_per_byte={text: 2.0, "b": 1.0}) for number in (1, 2)
    ]
    axes = draw_versions("a", judged).axes[0]
    assert [label.get_text() for label in axes.get_legend().get_texts()] == [drawable(text), "b"]


# ---- decoration ----------------------------------------------------------------------------------------------------


def test_a_report_that_fails_is_left_out_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise ValueError("the server\nis on fire")

    monkeypatch.setattr(reporting, "create_markdown_artifact", fail)
    with pytest.warns(CharLMWarning, match="the report gate-a is left out: the server is on fire"):
        reporting.publish_gate_report(SimpleNamespace(name="a", version=1), gate_report("x"))
    monkeypatch.setattr(reporting, "gate_markdown", fail)
    monkeypatch.setattr(reporting, "create_markdown_artifact", lambda *arguments, **keywords: None)
    with pytest.warns(CharLMWarning, match="left out"):
        reporting.publish_gate_report(SimpleNamespace(name="a", version=1), gate_report("x"))


def test_progress_that_cannot_be_shown_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise RuntimeError("no event loop")

    monkeypatch.setattr(reporting, "create_progress_artifact", fail)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        show = reporting.progress_artifact("a", "b", run_id=None)
        show(1.0)
    assert caught
    assert all(issubclass(warning.category, CharLMWarning) for warning in caught)


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", ["red \x1b[31m", "bell\a", "\u202egnp.exe", "c1 \x9b31m", "back\b"])
def test_a_terminal_obeys_no_result_and_a_file_gets_it_as_it_is(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, is_escaped in ((_Screen(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stdout", stream)
        write_stdout(f"{text}\t\u200c日本\n")
        assert (text not in stream.getvalue()) is is_escaped
        assert stream.getvalue().endswith("\t\u200c日本\n\n")
