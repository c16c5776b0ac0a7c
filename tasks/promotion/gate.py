"""Let a challenger pass the promotion gate, or take its promotion back.

Reads  the bundles of challenger and champion, the test text of their corpus
Writes the alias `champion`; tags `gate.*` and the description of the version that was decided on

One decision at a time is made for a model in a workspace, and none twice: the challenger's tags keep the decision
about it and the champion that it was compared with.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from charlm.artifacts import CorpusFiles, Workspace
from charlm.config import GateConfig
from charlm.errors import RegistryError, decoration
from charlm.evaluation.gate_report import BaselineScore, GateReport
from charlm.evaluation.promotion import decide_promotion
from charlm.evaluation.scores import DocumentScores, PairScores
from charlm.remote.workspace import alone
from charlm.text.corpus.manifest import load_manifest
from charlm.units.unit import find_unit
from tasks.promotion.approval import APPROVAL, WAITING, Answer, answered_report, approval_tags, waiting_report
from tasks.promotion.probe import Probe
from tasks.promotion.report import gate_details
from tasks.registry.descriptions import headline, with_result, with_sentence_before
from tasks.registry.download import OpenedModel, open_model
from tasks.registry.report import add_result, report_page_address
from tasks.registry.versions import (
    CHALLENGER,
    CHAMPION,
    DECISION,
    RegisteredVersion,
    clear_errors,
    find_champion,
    find_version,
    set_version_tags,
    version_tags,
)
from tasks.terminal import Bar, terminal
from tasks.tracking.client import mlflow_client

REASON, REPORT = "gate.reason", "gate.report"
ROLLED_BACK = "gate.rolled_back"
_OPPONENT = "gate.champion"
"""Number of the version that it was compared with."""
REPLACED = "gate.replaced"
"""Number of the champion that it has replaced: what a rollback returns to."""
_NONE = "none"


@dataclass(frozen=True)
class Verdict:
    """What the gate decided about a version, and the champion at that moment."""

    report: GateReport
    champion: RegisteredVersion | None
    """The champion that the version was compared with, and that it has replaced if it was promoted."""

    is_new: bool = True
    """False when the same was decided before."""


@dataclass(frozen=True)
class Rollback:
    """What a rollback did."""

    champion: RegisteredVersion
    replaced: RegisteredVersion

    def to_json(self) -> dict[str, str]:
        return {"model": self.champion.address, "replaced": self.replaced.address}


def promote_challenger(
    workspace: Workspace,
    name: str,
    *,
    config: GateConfig | None = None,
    anew: bool = False,
    answer: Answer | None = None,
) -> tuple[RegisteredVersion, Verdict]:
    """Let the challenger of the model `name` pass the gate, `anew` even if it has been decided on.

    Raises RegistryError when there is none.
    """
    version = find_version(f"models:/{name}@{CHALLENGER}")
    return version, pass_gate(workspace, version, config=config, anew=anew, answer=answer)


def pass_gate(
    workspace: Workspace,
    version: RegisteredVersion,
    *,
    config: GateConfig | None = None,
    target: str | None = None,
    anew: bool = False,
    answer: Answer | None = None,
) -> Verdict:
    """Make `version` the champion if the gate promotes it; waits while another decision about this model is made.

    Challenger and champion are scored on the test text of the corpus; where `config` names a probe, a challenger that
    passes everything else must pass it too. `target` is the domain that has to improve, by default that of the newest
    revision. What was decided about it against the present champion stays, unless `anew` is given.
    Where the corpus needs the approval of a person, a version that would be promoted waits for an `answer`.
    Raises CorpusError, DatasetError or GateError when they cannot be compared, RegistryError when the registry does
    not answer.
    """
    corpus = workspace.prepared_corpus(version.name, train_text=False)
    config = config or GateConfig()
    with (
        alone(workspace, workspace.gate_lock(version.name)),
        clear_errors(f"cannot promote {version.address}"),
    ):
        client = mlflow_client()
        champion = find_champion(version.name)
        tags = version_tags(version)
        stored = _known_report(tags, version, champion, anew=anew)
        report = stored
        manifest = load_manifest(corpus)
        if report is None:
            with terminal.step("gate") as bar:
                probe = None if config.probe is None else Probe.open(config.probe)
                challenger = open_model(version, workspace)
                opponent = None if champion is None else open_model(champion, workspace)
                scores = _score(corpus, challenger, config, bar)
                old_scores = None if opponent is None else _score(corpus, opponent, config, bar)
                target = target or _target_in_question(tags) or manifest.revisions[-1].domain
                baseline = _baseline(corpus, challenger, config, bar)
                split = manifest.split
                decide = partial(
                    decide_promotion,
                    scores,
                    old_scores,
                    target=target,
                    config=config,
                    baseline=baseline,
                    unit=split.unit,
                    directions=split.champion_directions,
                    keeps_text=all(model.dictionary.unit_of.keeps_text for model in challenger.models.values()),
                )
                report = decide()
                if probe is not None and opponent is not None and report.promoted:
                    probed = probe.run(challenger, opponent, config, bar)
                    report = decide(probe=probed)
                if report.promoted and manifest.needs_approval:
                    report = waiting_report(report)
                bar.finish(report.decision)
        if report.decision == "waiting" and (answer is not None or not manifest.needs_approval):
            report = answered_report(report, answer)
        is_new = report != stored
        if is_new:
            _record(version, report, champion, tags, approval_tags(report, answer))
        if report.promoted:
            client.set_registered_model_alias(version.name, CHAMPION, str(version.version))
    if is_new:
        add_result(workspace, version, report, champion)
    if report.decision == "waiting":
        terminal.print_line(f"! {version.address} waits for approval: charlm promote {version.name} --by YOUR-NAME")
    return Verdict(report, champion, is_new=is_new)


def roll_back(workspace: Workspace, name: str) -> Rollback:
    """Make the version champion again that the present champion of `name` has replaced.

    The version that is rolled back cannot pass the gate again. Raises RegistryError when there is no champion, or it
    replaced no other.
    """
    find_version(f"models:/{name}@{CHAMPION}")
    with alone(workspace, workspace.gate_lock(name)), clear_errors(f"cannot roll back {name}"):
        client = mlflow_client()
        champion = find_version(f"models:/{name}@{CHAMPION}")
        old = version_tags(champion).get(REPLACED)
        if old is None:
            raise RegistryError(f"the champion {champion.address} replaced no other; there is nothing to roll back to")
        restored = find_version(f"models:/{name}/{old}")
        if ROLLED_BACK in version_tags(restored):
            raise RegistryError(f"{champion.address} replaced {restored.address}, which was rolled back itself")
        # In this order an interrupted rollback can be repeated, and no gate undoes it.
        set_version_tags(champion, {ROLLED_BACK: "true"})
        client.set_registered_model_alias(name, CHAMPION, old)
        with decoration(f"the rollback in the description of {champion.address}"):
            described = client.get_model_version(name, str(champion.version)).description or ""
            sentence = f"Rolled back, version {old} is champion again."
            if not described.startswith(sentence):
                client.update_model_version(name, str(champion.version), with_sentence_before(described, sentence))
    return Rollback(champion=restored, replaced=champion)


def _known_report(
    tags: Mapping[str, str], version: RegisteredVersion, champion: RegisteredVersion | None, *, anew: bool
) -> GateReport | None:
    """The decision that was made already about `version` against `champion`; None when it has to be made."""
    stored = GateReport.from_json(json.loads(tags[REPORT])) if REPORT in tags else None
    if champion is not None and champion.version == version.version:
        if stored is not None and stored.promoted:
            return stored
        return GateReport(decision="promoted", reason="promoted: it is the champion already", target="")
    if ROLLED_BACK in tags:
        return GateReport(decision="refused", reason="refused: it was champion and was rolled back", target="")
    return stored if not anew and tags.get(_OPPONENT) == _number(champion) else None


def _target_in_question(tags: Mapping[str, str]) -> str | None:
    """The domain that had to improve when a version began to wait: the same counts when it is decided on again."""
    if tags.get(APPROVAL) != WAITING:
        return None
    return GateReport.from_json(json.loads(tags[REPORT])).target


def _score(corpus: CorpusFiles, opened: OpenedModel, config: GateConfig, bar: Bar) -> PairScores:
    """The cost of each test document of the corpus under each direction of a model, by domain; of few, of parts."""
    from charlm.evaluation.domains import score_documents_by_domain

    scores: dict[str, dict[str, DocumentScores]] = {}
    for direction, model in opened.models.items():
        bar.update(None, f"score {opened.name} {direction}")
        scores[direction] = score_documents_by_domain(model, corpus, least=config.min_documents)
    return scores


def _baseline(corpus: CorpusFiles, challenger: OpenedModel, config: GateConfig, bar: Bar) -> BaselineScore | None:
    """The score of the n-gram model of the corpus on the same text; none where its tokenizer loses text."""
    from charlm.evaluation.baseline import known_baseline, score_baseline

    bar.update(None, "n-gram model")
    required = config.beat_baseline
    if required is None:
        required = any(find_unit(model.unit).must_beat_baseline for model in challenger.models.values())
    known = None if required else known_baseline(corpus)  # one that only is shown may be of a part of the text
    scores = score_baseline(corpus) if known is None else known
    bits_per_byte = scores.test["bits_per_byte"]
    if bits_per_byte is None:
        return None
    return BaselineScore(order=scores.order, bits_per_byte=bits_per_byte, required=required, share=scores.share)


def _record(
    version: RegisteredVersion,
    report: GateReport,
    champion: RegisteredVersion | None,
    known: Mapping[str, str],
    approval: Mapping[str, str],
) -> None:
    """Write the decision to the tags and the description of `version`; the report last, as a sign that all is there."""
    with decoration(f"the gate's report in the description of {version.address}"):
        client, number = mlflow_client(), str(version.version)
        described = client.get_model_version(version.name, number).description or ""
        page = report_page_address(version)
        link = "" if page is None else f"\n[The report of this version]({page}), as one page.\n"
        result = with_result(described, headline(report, champion, known), gate_details(report) + link)
        client.update_model_version(version.name, number, result)
    tags = {DECISION: report.decision, REASON: report.reason, _OPPONENT: _number(champion), **approval}
    if report.promoted and champion is not None:
        tags[REPLACED] = str(champion.version)
    target = report.domains.get(report.target)
    if target is not None and target.improvement is not None and target.interval is not None:
        tags["gate.improvement"] = f"{target.improvement:.6g}"
        tags["gate.interval"] = f"{target.interval[0]:.6g} to {target.interval[1]:.6g}"
    set_version_tags(version, {**tags, REPORT: json.dumps(report.to_json())})


def _number(champion: RegisteredVersion | None) -> str:
    return _NONE if champion is None else str(champion.version)
