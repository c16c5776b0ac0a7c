"""What changed from one version of a model to the next, as markdown for the registry.

It comes from the manifests of the two bundles, and from the scores of both models on the same text.
"""

from collections.abc import Iterator

from charlm.config import TrainingConfig
from charlm.evaluation.scores import ScoreValues
from charlm.serialization.markdown import escape
from charlm.storage.atomic import JsonObject

DomainScores = dict[str, dict[str, dict[str, ScoreValues]]]
"""Scores by direction, domain, and `before` or `after`."""

_MISSING = "–"


def changes_markdown(older: JsonObject, newer: JsonObject, domains: DomainScores | None, *, older_label: str) -> str:
    """A table of the facts that differ between two bundles (their manifests), then one of scores by domain."""
    rows = changed_facts(older, newer)
    lines = [f"| what | {older_label} | this version |", "| --- | ---: | ---: |"]
    lines += [f"| {_named(name)} | {escape(old)} | {escape(new)} |" for name, old, new in rows]
    if not rows:
        lines = [f"Text, dictionary and settings are those of {older_label}."]
    if domains:
        lines += ["", f"| bits/byte | {older_label} | this version | improvement |", "| --- | ---: | ---: | ---: |"]
        for domain, (before, after) in _bits_per_byte(domains).items():
            lines.append(f"| {escape(domain)} | {before:.4f} | {after:.4f} | {before - after:+.4f} |")
    return "\n".join(lines) + "\n"


def changed_facts(older: JsonObject, newer: JsonObject) -> list[tuple[str, str, str]]:
    """The properties that differ between two bundles (their manifests): names, old and new values."""
    return [
        (name, _shown(old), f"{_shown(new)}{_growth(old, new)}")
        for name, old, new in _facts(older, newer)
        if old != new
    ]


def _named(name: str) -> str:
    return f"`{name}`" if name != "recipe" and name in TrainingConfig.__dataclass_fields__ else name


def _facts(older: JsonObject, newer: JsonObject) -> Iterator[tuple[str, object, object]]:
    """Every property in which two versions may differ: its name, and both values."""
    for name in ("name", "revision", "documents", "characters", "domains"):
        yield f"corpus {name}", older["corpus"].get(name), newer["corpus"].get(name)
    for name in ("licence", "languages"):
        yield name, older.get(name), newer.get(name)
    yield "dictionary size", older["dictionary"]["size"], newer["dictionary"]["size"]
    yield "recipe", older.get("recipe"), newer.get("recipe")
    settings, others = older.get("training", {}), newer.get("training", {})
    for name in dict.fromkeys([*settings, *others]):
        if name != "recipe":
            yield name, settings.get(name), others.get(name)


def _bits_per_byte(domains: DomainScores) -> dict[str, tuple[float, float]]:
    """Before and after by domain, mean of the directions; none of models that lose text."""
    names = dict.fromkeys(domain for scores in domains.values() for domain in scores)
    if any(
        after["bits_per_byte"] is None
        for scores in domains.values()
        for moments in scores.values()
        for after in moments.values()
    ):
        return {}
    return {domain: (_mean(domains, domain, "before"), _mean(domains, domain, "after")) for domain in names}


def _mean(domains: DomainScores, domain: str, moment: str) -> float:
    values = [value for scores in domains.values() if (value := scores[domain][moment]["bits_per_byte"]) is not None]
    return sum(values) / len(values)


def _shown(value: object) -> str:
    if value is None:
        return _MISSING
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _growth(old: object, new: object) -> str:
    """`(1000, 1500) -> " (+50 %)"` for counts that have grown."""
    if not (isinstance(old, int) and isinstance(new, int) and new > old > 99):
        return ""
    return f" (+{100 * (new - old) / old:.0f} %)"
