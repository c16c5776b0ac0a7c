"""The tags of registered versions: those that people read one by one, what only programs read together in one.

MLflow's list of versions shows every tag, one below the other. So fingerprints, runs and the gate's whole report are
stored as JSON in the tag `programs`; everything here takes and gives plain names. Versions of older releases have all
of their tags one by one, which `read_tags` gives as well (ADR 20).
"""

import json
from collections.abc import Mapping

PROGRAMS = "programs"
"""The tag that holds what only programs read."""
_FOR_PROGRAMS = frozenset(
    {
        "bundle.fingerprint",
        "task.fingerprint",
        "forward.run_id",
        "backward.run_id",
        "gate.champion",
        "gate.improvement",
        "gate.interval",
        "gate.replaced",
        "gate.report",
        "retrain.request",
        "retrain.action",
        "retrain.reason",
        "flow_run.id",
    }
)


def stored_tags(tags: Mapping[str, str], stored: Mapping[str, str] | None = None) -> dict[str, str]:
    """Tags as MLflow stores them, `programs` last; `stored` are those that the version has already."""
    for_people = {tag: value for tag, value in tags.items() if tag not in _FOR_PROGRAMS}
    others = {tag: value for tag, value in tags.items() if tag in _FOR_PROGRAMS}
    if not others:
        return for_people
    return for_people | {PROGRAMS: json.dumps(_for_programs(stored or {}) | others, ensure_ascii=False)}


def read_tags(stored: Mapping[str, str]) -> dict[str, str]:
    """All tags by their plain names, from those that MLflow stores."""
    return {tag: value for tag, value in stored.items() if tag != PROGRAMS} | _for_programs(stored)


def _for_programs(stored: Mapping[str, str]) -> dict[str, str]:
    return dict(json.loads(stored.get(PROGRAMS, "{}")))
