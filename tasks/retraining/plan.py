"""Decide whether a corpus needs a new model, once for each combination of text, champion and settings.

Reads  the corpus, and from the registry its champion and earlier decisions
Writes tags `retrain.*` of the version that was trained
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from charlm.artifacts import Workspace
from charlm.config import DriftConfig
from charlm.evaluation.drift import Action, DriftReport
from charlm.remote.workspace import alone
from charlm.storage.fingerprints import fingerprint
from charlm.text.corpus.manifest import CorpusManifest, load_manifest
from tasks.promotion.gate import REASON, ROLLED_BACK
from tasks.registry.versions import (
    CORPUS_REVISION,
    DECISION,
    RegisteredVersion,
    find_champion,
    find_tagged,
    set_version_tags,
    version_tags,
)
from tasks.retraining.drift import measure_drift
from tasks.terminal import terminal

_REQUEST, _ACTION, _REASON = "retrain.request", "retrain.action", "retrain.reason"


@dataclass(frozen=True, kw_only=True)
class RetrainingPlan:
    """What to do about the text of a corpus, and why."""

    action: Action
    reason: str
    champion: RegisteredVersion | None
    revision: int
    """Newest revision of the corpus."""

    request: str
    """Fingerprint of the text, the champion and the settings that this decides about: equal ones are decided once."""

    drift: DriftReport | None = None
    """The measurements behind it; none where the decision was made before."""

    unknown_digests: tuple[str, ...] = ()
    """Announced files that are not in the corpus: they had changed when they were read."""

    @property
    def target(self) -> str | None:
        """The domain that has to improve."""
        return None if self.drift is None else self.drift.domain


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """The result of a retraining."""

    action: Action
    reason: str
    """Why this action was chosen."""

    revision: int
    version: RegisteredVersion | None = None
    """The version that was trained; none where nothing was done."""

    promoted: bool = False
    verdict: str = ""
    """The reason of the gate's decision about that version."""


def corpora_in_use(workspace: Workspace) -> list[str]:
    """The corpora of the workspace whose model has a champion."""
    return [name for name in workspace.corpus_names() if find_champion(name) is not None]


@contextmanager
def one_retraining(workspace: Workspace, name: str) -> Iterator[None]:
    """Hold the lock on retrainings of the corpus `name` for the block; waits while another process holds it."""

    def report_wait(holder: str) -> None:
        terminal.print_line(f"= {name} is being retrained by another run; this run continues when that one has ended")

    with alone(workspace, workspace.retrain_lock(name), on_wait=report_wait):
        yield


def plan_retraining(
    workspace: Workspace,
    name: str,
    settings: Mapping[str, object],
    drift: DriftConfig,
    *,
    digests: Sequence[str] = (),
) -> RetrainingPlan:
    """What to do about the text of `name`; nothing where that was decided before for the same champion and `settings`.

    `settings` is plain JSON: everything else that the result depends on. `digests` are SHA-256 of announced files.
    """
    manifest = load_manifest(workspace.prepared_corpus(name, train_text=False))
    champion = find_champion(name)
    request = fingerprint(
        [manifest.fingerprint, None if champion is None else champion.version, dict(settings), drift.to_json()]
    )
    answer = _answer(name, request)
    report = measure_drift(workspace, name, drift) if answer is None else None
    return RetrainingPlan(
        action="nothing" if report is None else report.action,
        reason=(answer or "") if report is None else report.reason,
        champion=champion,
        revision=manifest.revision,
        request=request,
        drift=report,
        unknown_digests=_unknown(digests, manifest),
    )


def sign_version(version: RegisteredVersion, plan: RetrainingPlan, *, flow_run: str | None) -> None:
    """Record in the tags of `version` which request it answers, and why it was trained."""
    tags = {_REQUEST: plan.request, _ACTION: plan.action, _REASON: plan.reason}
    if flow_run is not None:
        tags["flow_run.id"] = flow_run
    set_version_tags(version, tags)


def asked_retraining(version: RegisteredVersion) -> Retraining:
    """The retraining that has made `version`, by its tags."""
    tags = version_tags(version)
    return Retraining(action=cast(Action, tags[_ACTION]), reason=tags[_REASON], revision=int(tags[CORPUS_REVISION]))


def _answer(name: str, request: str) -> str | None:
    """The result of the same request before; none where there was no such request, or it did not finish."""
    for version in find_tagged(name, _REQUEST, request):
        tags = version_tags(version)
        if ROLLED_BACK in tags:
            return f"{version.address} was made from the same text, and was rolled back"
        if DECISION in tags:
            return f"{version.address} was made from the same text, and was {tags[REASON]}"
    return None


def _unknown(digests: Sequence[str], manifest: CorpusManifest) -> tuple[str, ...]:
    known = {source.sha256 for revision in manifest.revisions for source in revision.sources}
    return tuple(digest for digest in digests if digest not in known)
