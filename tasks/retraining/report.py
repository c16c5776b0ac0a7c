"""The decision about new text for people: markdown with the numbers behind it."""

from collections.abc import Iterator

from charlm.evaluation.drift import Action, DomainDrift, DriftReport, TextScore
from tasks.retraining.plan import RetrainingPlan

ACTIONS: dict[Action, str] = {
    "nothing": "Nothing to do",
    "finetune": "Fine-tune the champion",
    "finetune-extended": "Fine-tune the champion, with ids for new characters",
    "train-anew": "Train a new pair from scratch",
}
_SHORT: dict[Action, str] = {
    "nothing": "nothing",
    "finetune": "fine-tune",
    "finetune-extended": "fine-tune, new ids",
    "train-anew": "train from scratch",
}
_COLUMNS = ("text", "documents", "bits/byte", "extra bits/byte", "interval", "&lt;unk&gt;", "decision")


def plan_markdown(name: str, plan: RetrainingPlan) -> str:
    """The decision about the text of the corpus `name`, its reason, and the champion's scores on each new domain."""
    champion = "none yet" if plan.champion is None else plan.champion.address
    lines = [
        f"# Does {name} need a new model?",
        "",
        f"**{ACTIONS[plan.action]}**: {_escaped(plan.reason)}.",
        "",
        f"The newest revision of the corpus is {plan.revision}, the champion is {champion}.",
    ]
    if plan.drift is not None and plan.drift.domains:
        lines += ["", "## What new text costs the champion", "", *_table(plan.drift)]
        if plan.drift.growth is not None:
            lines += ["", f"There is {plan.drift.growth:.2f} times the train text that the champion was trained on."]
    if plan.unknown_digests:
        lines += ["", "## Announced, but not found", ""]
        lines.append("Files with these SHA-256 digests were announced; when they were read, their content had changed:")
        lines += ["", *(f"* `{digest}`" for digest in plan.unknown_digests)]
    return "\n".join(lines) + "\n"


def _table(drift: DriftReport) -> Iterator[str]:
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for domain, found in drift.domains.items():
        yield f"| {domain} | {' | '.join(_cells(found))} |"
    if drift.reference is not None:
        yield f"| the champion's own | {' | '.join(_reference_cells(drift.reference))} |"


def _cells(found: DomainDrift) -> list[str]:
    action = _SHORT[found.action]
    if found.score is None or found.change is None or found.interval is None:
        return [f"{found.documents:,}", "–", "–", "–", "–", action]
    low, high = found.interval
    score = found.score
    return [
        f"{found.documents:,}",
        f"{score.bits_per_byte:.4f}",
        f"{found.change:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
        f"{score.unk_rate:.3%}",
        action,
    ]


def _reference_cells(score: TextScore) -> list[str]:
    return [f"{score.documents:,}", f"{score.bits_per_byte:.4f}", "–", "–", f"{score.unk_rate:.3%}", "–"]


def _escaped(reason: str) -> str:
    return reason.replace("<unk>", "&lt;unk&gt;")
