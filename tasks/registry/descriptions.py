"""The descriptions that MLflow's pages show of a registered model and its versions.

The description of a version has the result first, as MLflow's list of versions shows the first line only: one sentence
that tells versions apart, then why, the scores, what changed, and at the end how the model was made.
"""

from collections.abc import Callable, Iterable, Mapping

from charlm.artifacts import BundleFiles
from charlm.errors import ModelFileError
from charlm.evaluation.gate_report import GateReport
from charlm.evaluation.scores import ScoreValues
from charlm.serialization.markdown import escape
from charlm.storage.atomic import read_json
from tasks.registry.download import read_manifest
from tasks.registry.lineage import DomainScores, changes_markdown
from tasks.registry.versions import RegisteredVersion
from tasks.services.mlflow_compat import LONGEST_DESCRIPTION

COLUMN_PADDING = "\u2003\u200b"
"""An em space; MLflow would trim it without the zero-width space after it."""
_CHANGES = "## What changed\n"
_OLD_CARD, _OLD_RESULT = "# Character language models of ", "\n## Promotion gate\n"
_DISPENSABLE = ("Intended use", "How to load them", "Training", "Text they were trained on", "Models")
"""Sections of the model card that are left out, in this order, where a description would be too long."""
_SCORES: tuple[tuple[str, str, str], ...] = (
    ("bits_per_byte", "bits/byte", ".4f"),
    ("bits_per_character", "bits/character", ".4f"),
    ("perplexity", "perplexity", ".3f"),
    ("unk_rate", "&lt;unk&gt;", ".3%"),
)


def version_description(bundle: BundleFiles, before: RegisteredVersion | None, domains: DomainScores | None) -> str:
    """The description of a new version, which the promotion gate has not judged; no more than MLflow stores."""
    manifest = read_json(bundle.manifest, remedy="restore it, or fetch the bundle again", error=ModelFileError)
    if before is None:
        changes = "This is the first version.\n"
    else:
        label = f"{before.name} version {before.version}"
        changes = changes_markdown(read_manifest(before), manifest, domains, older_label=label)
    card = bundle.card.read_text(encoding="utf-8")
    return _fitted(
        f"Not judged yet by the promotion gate; {origin(manifest)}.",
        _own_scores(manifest["scores"]),
        f"{_CHANGES}\n{changes}",
        *_card_sections(card),
    )


def origin(facts: Mapping[str, object], *, shown: Callable[[object], str] = escape) -> str:
    """How a version came to be, from its manifest or from its tags: `recipe demo, continues version 1, text of x`."""
    corpus = facts.get("corpus")
    domains = corpus.get("domains", ()) if isinstance(corpus, Mapping) else str(facts.get("domains", "")).split(", ")
    parent = facts.get("parent_version") or facts.get("parent.version") or "none"
    parts = [
        f"recipe {shown(facts.get('recipe', 'unknown'))}",
        "trained from scratch" if parent == "none" else f"continues version {shown(parent)}",
        f"text of {', '.join(map(shown, domains)) or 'unknown domains'}",
    ]
    return ", ".join(parts)


def headline(report: GateReport, champion: RegisteredVersion | None, tags: Mapping[str, str]) -> str:
    """The sentence that tells a judged version apart from the others: verdict, score, champion's score and origin."""
    score = tags.get("bits_per_byte")
    target = report.domains.get(report.target)
    if target is not None and target.improvement is not None and champion is not None:
        change = "better" if target.improvement >= 0 else "worse"
        compared = (
            f": {target.bits_per_byte:.4f} bits/byte on {escape(report.target)},"
            f" {abs(target.improvement):.4f} {change} than version {champion.version}"
        )
    else:
        compared = f": {score} bits/byte" if score else ""
    return f"{report.decision.capitalize()}{compared}; {origin(tags)}."


def with_result(description: str, sentence: str, result: str) -> str:
    """A version's `description` with its result in the place of the one before; no more than MLflow stores."""
    head, mark, rest = description.partition(_CHANGES)
    if not mark or head.startswith(_OLD_CARD):  # of an older release: the model card first, the result last
        return _fitted(sentence, result, *_card_sections(description.partition(_OLD_RESULT)[0], keep_all=True))
    changes, *card = f"{mark}{rest}".split("\n## ")
    return _fitted(sentence, result, changes, *(f"## {section}" for section in card))


def with_sentence_before(description: str, sentence: str) -> str:
    """`description` with another first sentence in front of it."""
    return f"{sentence} {description}"[:LONGEST_DESCRIPTION]


def _own_scores(scores: Mapping[str, Mapping[str, ScoreValues]]) -> str:
    """The test scores of both directions, as a table."""
    rows = [f"| test text | {' | '.join(label for _, label, _ in _SCORES)} |", "| --- |" + " ---: |" * len(_SCORES)]
    for direction, splits in scores.items():
        values: Mapping[str, object] = {**splits["test"]}
        shown = ("–" if values.get(name) is None else format(values[name], form) for name, _, form in _SCORES)
        rows.append(f"| {direction} | {' | '.join(shown)} |")
    return "\n".join(rows)


def _card_sections(card: str, *, keep_all: bool = False) -> list[str]:
    """The sections of a model card, without the scores, which the description has before them."""
    title, *sections = card.split("\n## ")
    if keep_all:
        return [title, *(f"## {section}" for section in sections)]
    return [f"#{title}", *(f"## {section}" for section in sections if not section.startswith("Scores\n"))]


def _fitted(*sections: str) -> str:
    """The sections as one text; of a text that is too long, the least important ones are left out."""
    kept = [section.strip("\n") for section in sections if section.strip()]
    for name in _DISPENSABLE:
        if len(_joined(kept)) <= LONGEST_DESCRIPTION:
            break
        kept = [section for section in kept if not section.startswith(f"## {name}\n")]
    while len(_joined(kept)) > LONGEST_DESCRIPTION and len(kept) > 1:
        kept.pop()
    return _joined(kept)[:LONGEST_DESCRIPTION]


def _joined(sections: Iterable[str]) -> str:
    return pad_columns("\n\n".join(sections)) + "\n"


def pad_columns(markdown: str) -> str:
    """`markdown` with space between the columns of its tables, which MLflow draws without any."""
    lines = markdown.split("\n")
    rows = [line.startswith("| ") and not line.startswith("| ---") for line in lines]
    return "\n".join(
        line.replace(f"{COLUMN_PADDING} | ", " | ").replace(" | ", f"{COLUMN_PADDING} | ") if is_row else line
        for line, is_row in zip(lines, rows, strict=True)
    )


def model_description(name: str) -> str:
    """The description of a registered model, for all of its versions."""
    return (
        f"Character language models of the corpus {name}, forward and backward in one bundle, used as word embeddings."
        f" `champion` is the version to use, `challenger` the newest one. `mlflow.pyfunc.load_model"
        f'("models:/{name}@champion").predict(["some text"])` gives tokens and their vectors.'
    )
