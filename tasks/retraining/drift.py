"""Measure what new text of a corpus costs its champion.

Reads  the bundle of the champion, the test text of its corpus
"""

from charlm.artifacts import Workspace
from charlm.config import DriftConfig
from charlm.errors import RegistryError
from charlm.evaluation.drift import DriftReport
from charlm.evaluation.drift import measure_drift as measure
from charlm.evaluation.scores import DocumentScores
from charlm.text.corpus.manifest import load_manifest
from tasks.registry.download import open_model
from tasks.registry.versions import CORPUS_REVISION, corpus_revision, find_champion
from tasks.terminal import terminal


def measure_drift(workspace: Workspace, name: str, config: DriftConfig | None = None) -> DriftReport:
    """What to do about the revisions that the champion of `name` was not trained on.

    Its reference is the held-out text up to the revision that it was trained on.
    """
    manifest = load_manifest(corpus := workspace.prepared_corpus(name, train_text=False))
    champion = find_champion(name)
    if champion is None:
        return DriftReport(action="train-anew", reason="there is no champion yet")
    revision = corpus_revision(champion)
    if revision is None:
        raise RegistryError(
            f"{champion.address} does not say which text it was trained on; give it the tag {CORPUS_REVISION}"
            f" with the number of a revision of {name}, from 1 to {manifest.revision}"
        )
    if revision >= manifest.revision:
        return DriftReport(
            action="nothing", reason=f"{champion.address} was trained on the newest revision, {manifest.revision}"
        )
    from charlm.evaluation.domains import score_since

    new: dict[str, dict[str, DocumentScores]] = {}
    reference: dict[str, DocumentScores] = {}
    with terminal.step("measure drift") as bar:
        for direction, model in open_model(champion, workspace).models.items():
            bar.update(None, f"score {champion.address} {direction}")
            new[direction], reference[direction] = score_since(model, corpus, revision)
        report = measure(
            new, reference, config or DriftConfig(), growth=manifest.growth_since(revision), unit=manifest.split.unit
        )
        bar.finish(report.action)
    return report
