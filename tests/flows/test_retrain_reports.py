"""What people read of a retraining: its decision, what changed, all versions, and the forms of the flows."""

import importlib
from typing import Any

import pytest

from charlm.evaluation.drift import DomainDrift, DriftReport, TextScore
from charlm.recipes import RECIPES
from tasks.promotion.history import JudgedVersion, draw_versions, versions_markdown
from tasks.registry.lineage import changes_markdown
from tasks.registry.versions import RegisteredVersion
from tasks.retraining.plan import RetrainingPlan
from tasks.retraining.report import plan_markdown


def test_the_decision_is_told_with_its_numbers() -> None:
    champion = TextScore(documents=120, bits_per_byte=2.0, unk_rate=0.0)
    drift = DriftReport(
        action="finetune-extended",
        reason="law: <unk> makes up 0.200% of new text, more than 0.100%",
        domain="law",
        domains={
            "law": DomainDrift(
                action="finetune-extended",
                reason="",
                documents=40,
                score=TextScore(documents=40, bits_per_byte=2.5, unk_rate=0.002),
                change=0.5,
                interval=(0.4, 0.6),
            ),
            "poems": DomainDrift(action="nothing", reason="", documents=3),
        },
        reference=champion,
        growth=1.25,
    )
    plan = RetrainingPlan(
        action=drift.action,
        reason=drift.reason,
        champion=RegisteredVersion("books", 3),
        revision=4,
        request="0" * 16,
        drift=drift,
        unknown_digests=("ab12",),
    )
    report = plan_markdown("books", plan)
    assert "**Fine-tune the champion, with ids for new characters**: law: &lt;unk&gt; makes up 0.200%" in report
    assert "The newest revision of the corpus is 4, the champion is models:/books/3." in report
    assert "| law | 40 | 2.5000 | +0.5000 | +0.4000 to +0.6000 | 0.200% | fine-tune, new ids |" in report
    assert "| poems | 3 | – | – | – | – | nothing |" in report
    assert "| the champion's own | 120 | 2.0000 | – | – | 0.000% | – |" in report
    assert "1.25 times the train text" in report
    assert "* `ab12`" in report
    assert "<unk>" not in report.replace("&lt;unk&gt;", "")


def test_what_changed_is_told_and_nothing_else() -> None:
    older = {
        "corpus": {"name": "books", "revision": 1, "documents": 1000, "characters": 50_000, "domains": ["books"]},
        "dictionary": {"size": 90},
        "languages": ["en"],
        "recipe": "demo",
        "training": {"recipe": "demo", "hidden_size": 256, "learning_rate": 0.008},
    }
    newer = {
        "corpus": {**older["corpus"], "revision": 2, "documents": 1500, "domains": ["books", "law"]},  # type: ignore[dict-item]
        "dictionary": {"size": 95},
        "licence": "CC-BY-4.0",
        "languages": ["en", "de"],
        "recipe": "finetune",
        "training": {"recipe": "finetune", "hidden_size": 256, "learning_rate": 0.002, "old_share": 0.2},
    }
    scores = {
        direction: {"law": {"before": {"bits_per_byte": before}, "after": {"bits_per_byte": 2.0}}}
        for direction, before in (("forward", 2.4), ("backward", 2.6))
    }
    lines = changes_markdown(older, newer, scores, older_label="books version 1").splitlines()
    assert lines == [
        "| what | books version 1 | this version |",
        "| --- | ---: | ---: |",
        "| corpus revision | 1 | 2 |",
        "| corpus documents | 1,000 | 1,500 (+50 %) |",
        "| corpus domains | books | books, law |",
        "| licence | – | CC-BY-4.0 |",
        "| languages | en | en, de |",
        "| dictionary size | 90 | 95 |",
        "| recipe | demo | finetune |",
        "| `learning_rate` | 0.008 | 0.002 |",
        "| `old_share` | – | 0.2 |",
        "",
        "| bits/byte | books version 1 | this version | improvement |",
        "| --- | ---: | ---: | ---: |",
        "| law | 2.5000 | 2.0000 | +0.5000 |",
    ]
    assert changes_markdown(older, older, None, older_label="version 1").startswith("Text, dictionary and settings")


def test_all_versions_stand_in_one_table_and_one_picture() -> None:
    judged = [
        JudgedVersion(version=1, promoted=True, bits_per_byte={"books": 2.3}),
        JudgedVersion(version=3, promoted=False, bits_per_byte={"books": 2.25, "law": 2.5}),
    ]
    lines = versions_markdown("books", judged, picture="http://host/picture.png").splitlines()
    assert lines[4:] == [
        "| version | gate | books | law |",
        "| --- | --- | ---: | ---: |",
        "| 3 | refused | 2.2500 | 2.5000 |",
        "| 1 | promoted | 2.3000 | – |",
        "",
        "![Scores of every version](http://host/picture.png)",
    ]
    (axes,) = draw_versions("books", judged).axes
    books, law, refused_books, refused_law = axes.get_lines()
    assert (list(books.get_xdata()), list(books.get_ydata())) == ([1, 3], [2.3, 2.25])
    assert (list(refused_books.get_xdata()), refused_books.get_markerfacecolor()) == ([3], "white")
    assert list(law.get_ydata()) == list(refused_law.get_ydata()) == [2.5]
    assert [entry.get_text() for entry in axes.get_legend().get_texts()] == ["books", "law"]


def test_the_plot_of_a_single_version_has_a_whole_number_in_its_middle() -> None:
    (axes,) = draw_versions("books", [JudgedVersion(version=1, promoted=True, bits_per_byte={"books": 2.3})]).axes
    assert axes.get_xlim() == (0.5, 1.5)
    low, high = axes.get_ylim()
    assert low < 2.3 < high


def form_of(module: str, flow: str) -> Any:
    """What the Prefect UI makes the form of a flow from."""
    from prefect.utilities.callables import parameter_schema

    return parameter_schema(getattr(importlib.import_module(f"flows.{module}"), flow))


@pytest.mark.parametrize(
    ("module", "flow"),
    [
        ("retrain", "retrain"),
        ("train", "train_language_model"),
        ("finetune", "finetune_language_model"),
        ("evaluate", "evaluate_champion"),
        ("embed", "embed_corpus"),
        ("prepare", "prepare_corpus"),
    ],
)
def test_the_form_of_a_flow_says_what_everything_in_it_means(module: str, flow: str) -> None:
    form = form_of(module, flow)
    assert [field for field, facts in form.properties.items() if not facts.get("description")] == []
    for config, facts in form.definitions.items():
        for field, described in facts["properties"].items():
            assert described.get("description"), f"{config}.{field}"


def test_the_form_of_a_retraining_keeps_its_limits() -> None:
    fields = form_of("retrain", "retrain").properties
    assert fields["recipe"]["enum"] == list(RECIPES)
    assert {"exclusiveMinimum": 0, "type": "number"} in fields["limit_minutes"]["anyOf"]
    assert fields["name"]["anyOf"][0]["maxLength"] == 100
