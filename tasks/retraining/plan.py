"""Decide whether a corpus asks for a new model, once for each text, champion and settings.

Reads  the corpus, and what the registry says about its champion and about earlier answers
Writes tags `retrain.*` of the version that came of it
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from charlm.artifacts import Workspace
from charlm.config import DriftConfig
from charlm.evaluation.drift import Action, DriftReport
from charlm.storage.fingerprints import fingerprint
from charlm.storage.locks import exclusive_lock
from charlm.text.corpus.manifest import CorpusManifest, load_manifest
from tasks.promotion.gate import DECISION, REASON, ROLLED_BACK
from tasks.registry.versions import RegisteredVersion, clear_errors, find_champion, find_tagged
from tasks.retraining.drift import measure_drift
from tasks.terminal import terminal
from tasks.tracking.client import mlflow_client

_REQUEST = "retrain.request"


@dataclass(frozen=True, kw_only=True)
class RetrainingPlan:
    """What to do about the text of a corpus, and why."""

    action: Action
    reason: str
    champion: RegisteredVersion | None
    revision: int
    """Newest revision of the corpus."""

    request: str
    """Stands for the text, the champion and the settings that this answers: equal ones are answered once."""

    drift: DriftReport | None = None
    """The numbers that it rests on; none where the question was answered before."""

    unknown_digests: tuple[str, ...] = ()
    """Files that were announced and are not in the corpus: they had changed when they were read."""

    @property
    def target(self) -> str | None:
        """The domain that has to get better."""
        return None if self.drift is None else self.drift.domain


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """What a retraining came to."""

    action: Action
    reason: str
    """Why this was done, or nothing."""

    revision: int
    version: RegisteredVersion | None = None
    """The version that was made; none where nothing was done."""

    promoted: bool = False
    verdict: str = ""
    """What the gate said about that version."""


def corpora_in_use(workspace: Workspace) -> list[str]:
    """The corpora of the workspace whose model has a champion."""
    return [name for name in workspace.corpus_names() if find_champion(name) is not None]


@contextmanager
def one_retraining(workspace: Workspace, name: str) -> Iterator[None]:
    """Hold the right to retrain the model of the corpus `name` for the block; waits while another process does."""

    def say() -> None:
        terminal.print_line(f"= {name} is being retrained by another run; this one goes on when that has ended")

    with exclusive_lock(workspace.retrain_lock(name), busy=None, on_wait=say):
        yield


def plan_retraining(
    workspace: Workspace,
    name: str,
    settings: Mapping[str, Any],
    drift: DriftConfig,
    *,
    digests: Sequence[str] = (),
) -> RetrainingPlan:
    """What the text of `name` asks for; nothing where the same question (text, champion, `settings`) was answered.

    `settings` is plain JSON: everything that the result depends on besides. `digests` are SHA-256 of announced files.
    """
    manifest = load_manifest(workspace.prepared_corpus(name))
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
    """Note on `version` which question it answers, and why it was made."""
    tags = {_REQUEST: plan.request, "retrain.action": plan.action, "retrain.reason": plan.reason}
    if flow_run is not None:
        tags["flow_run.id"] = flow_run
    client = mlflow_client()
    with clear_errors(f"cannot tag {version.address}"):
        for tag, value in tags.items():
            client.set_model_version_tag(version.name, str(version.version), tag, value)


def _answer(name: str, request: str) -> str | None:
    """What came of the same question before; none where it was not asked, or not answered to the end."""
    for version in find_tagged(name, _REQUEST, request):
        with clear_errors(f"cannot look up {version.address}"):
            tags = mlflow_client().get_model_version(name, str(version.version)).tags
        if ROLLED_BACK in tags:
            return f"{version.address} was made from the same text, and was rolled back"
        if DECISION in tags:
            return f"{version.address} was made from the same text, and was {tags[REASON]}"
    return None


def _unknown(digests: Sequence[str], manifest: CorpusManifest) -> tuple[str, ...]:
    known = {source.sha256 for revision in manifest.revisions for source in revision.sources}
    return tuple(digest for digest in digests if digest not in known)
