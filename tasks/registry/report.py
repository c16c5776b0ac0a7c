"""report.html: one picture of a pair of language models, for people.

Reads  the journals of the trainings, the corpus, the manifests of the bundle and of the version before it
Writes reports/NAME/version-N/report.html, or report.html in the run folder of a pair that is not registered;
       the same among the artifacts of the version's model in MLflow, which shows it in place

It needs no network. Each part that fails is left out with one line, and so is the whole.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.artifacts import CorpusFiles, Workspace
from charlm.errors import CharLMError, decoration
from charlm.evaluation.gate_report import GateReport
from charlm.remote.workspace import push
from charlm.storage.atomic import write_text
from charlm.trainers.lm.manifest import RunManifest
from charlm.visual import model_report
from charlm.visual.html_report import Section, report_page, report_result, with_other_result
from tasks.registry.descriptions import origin
from tasks.registry.download import read_manifest
from tasks.registry.lineage import changed_facts
from tasks.registry.versions import RegisteredVersion, find_champion, logged_model_id
from tasks.runs import TrainedRun, scores_of
from tasks.services.mlflow_compat import add_artifact
from tasks.tracking.client import mlflow_client
from tasks.tracking.journal import JournalReader

if TYPE_CHECKING:
    from charlm.evaluation.neighbours import EmbeddedWord, WordNeighbours

_NUM_SENTENCES, _NUM_LINES = 400, 20_000  # of held-out text, whose words are embedded, and looked at for them
_SENTENCES_PER_MINUTE, _FEWEST_SENTENCES = 100, 100
"""Of training: a short one is not followed by a long report."""
_WORDS = range(4, 41)  # of a sentence
_NUM_AMBIGUOUS, _NUM_NEIGHBOURS = 3, 4


def write_report(
    workspace: Workspace,
    name: str,
    runs: Mapping[str, TrainedRun],
    version: RegisteredVersion | None = None,
    *,
    parent: RegisteredVersion | None = None,
) -> Path | None:
    """Write the report of `runs` and log it with `version`; its path, none where it failed.

    What changed is told against `parent`, or against the champion where there is none.
    """
    path = next(iter(runs.values())).files.report
    if version is not None:
        path = workspace.report(name, version.version)
    with decoration("the report of the model"):
        title = f"Language models of {name}" + ("" if version is None else f", version {version.version}")
        verdict, sentence, before = "not registered", f"Recipe {next(iter(runs.values())).recipe}.", parent
        if version is not None:
            verdict, before = "not judged yet", parent or find_champion(name)
            described = origin(read_manifest(version), shown=str)
            sentence = f"{described[:1].upper()}{described[1:]}."
        sections = list(_sections(workspace.corpus(name, train_text=False), runs, version, before))
        made = f"Made by charlm {_library_version()} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, report_page(title, report_result(sentence, verdict=verdict), sections, about=made))
        push(workspace, path.parent)
        if version is not None:
            log_report(version, path)
        return path
    return None


def add_result(
    workspace: Workspace, version: RegisteredVersion, report: GateReport, champion: RegisteredVersion | None
) -> None:
    """Put the result of the gate into the report of `version`, where there is one."""
    path = workspace.report(version.name, version.version)
    if not path.is_file():
        return
    with decoration(f"the result of the gate in the report of {version.address}"):
        reason = report.reason.partition(":")[2].strip()
        section = model_report.gate_section(report, None if champion is None else f"version {champion.version}")
        result = report_result(
            f"{reason[:1].upper()}{reason[1:]}.",
            [section],
            verdict=report.decision,
            tone="good" if report.promoted else "bad" if report.decision == "refused" else "plain",
        )
        write_text(path, with_other_result(path.read_text(encoding="utf-8"), result))
        push(workspace, path.parent)
        log_report(version, path)


def report_page_address(version: RegisteredVersion) -> str | None:
    """Where MLflow shows the report, as a link within its pages; none for a version that was registered by hand."""
    model_id = logged_model_id(version)
    if model_id is None:
        return None
    return f"#/experiments/{mlflow_client().get_logged_model(model_id).experiment_id}/models/{model_id}/artifacts"


def log_report(version: RegisteredVersion, path: Path) -> None:
    """Add a report to the artifacts of a version's model in MLflow; of one that was registered by hand, to nothing."""
    model_id = logged_model_id(version)
    if model_id is not None:
        add_artifact(mlflow_client().get_logged_model(model_id).artifact_location, path)


def _library_version() -> str:
    try:
        return installed_version("charlm-pipeline")
    except ModuleNotFoundError:  # which PackageNotFoundError is: run from its folder
        return "(not installed)"


def _sections(
    corpus: CorpusFiles,
    runs: Mapping[str, TrainedRun],
    version: RegisteredVersion | None,
    before: RegisteredVersion | None,
) -> Iterator[Section]:
    """The sections that there are, each made alone."""
    makers: tuple[tuple[str, Callable[[], Section | None]], ...] = (
        ("scores", lambda: _scores(corpus, runs)),
        ("what changed", lambda: _changes(version, before)),
        ("training curves", lambda: _curves(runs)),
        ("samples", lambda: _samples(runs)),
        ("words in context", lambda: _neighbours(corpus, runs)),
        ("coverage", lambda: _coverage(corpus, runs)),
        ("settings", lambda: _settings(runs)),
    )
    for part, make in makers:
        with decoration(f"the part {part!r} of the report"):
            section = make()
            if section is not None:
                yield section


def _scores(corpus: CorpusFiles, runs: Mapping[str, TrainedRun]) -> Section:
    from charlm.evaluation.baseline import known_baseline

    try:
        baseline = known_baseline(corpus)
    except CharLMError:  # which was reported when the pair was trained
        baseline = None
    return model_report.scores_section(scores_of(runs), baseline)


def _changes(version: RegisteredVersion | None, before: RegisteredVersion | None) -> Section | None:
    if version is None or before is None:
        return None
    rows = changed_facts(read_manifest(before), read_manifest(version))
    return model_report.changes_section(rows, f"{before.name} version {before.version}")


def _curves(runs: Mapping[str, TrainedRun]) -> Section:
    valid: dict[str, model_report.Curve] = {}
    train: dict[str, model_report.Curve] = {}
    for direction, run in runs.items():
        events = JournalReader(run.files.journal).new_events()
        valid[direction] = [
            (event["characters"] / 1e6, event["bits_per_character"])
            for event in events
            if event["event"] == "validation" and event["bits_per_character"] is not None
        ]
        train[direction] = [
            (event["characters"] / 1e6, event["bits_per_character"]) for event in events if event["event"] == "train"
        ]
    return model_report.curves_section(valid, train)


def _samples(runs: Mapping[str, TrainedRun]) -> Section | None:
    samples = {
        direction: event["sample"]
        for direction, run in runs.items()
        for event in JournalReader(run.files.journal).new_events()
        if event["event"] == "test" and event["sample"].strip()
    }
    return model_report.samples_section(samples) if samples else None


def _neighbours(corpus: CorpusFiles, runs: Mapping[str, TrainedRun]) -> Section | None:
    from charlm.embeddings.words_in_context import embed_words
    from charlm.evaluation.neighbours import ambiguous_words, neighbours_of
    from charlm.language_models.language_model import load_language_models
    from charlm.nn.device import find_device

    models = [lm.to(find_device()) for run in runs.values() for lm in load_language_models(run.files.best_lm).values()]
    words = [
        word for word in embed_words(models, _held_out_sentences(corpus, _num_sentences(runs))) if word.word.isalpha()
    ]

    def look(word: "EmbeddedWord") -> "WordNeighbours":
        return neighbours_of(word, words, num=_NUM_NEIGHBOURS)

    pairs = [(look(first), look(second)) for first, second in ambiguous_words(words, num=_NUM_AMBIGUOUS)]
    return model_report.neighbours_section(pairs) if pairs else None


def _num_sentences(runs: Mapping[str, TrainedRun]) -> int:
    limits = [RunManifest.load(run.files).config.training.max_minutes for run in runs.values()]
    minutes = min((limit for limit in limits if limit is not None), default=_NUM_SENTENCES)
    return min(_NUM_SENTENCES, max(_FEWEST_SENTENCES, round(minutes * _SENTENCES_PER_MINUTE)))


def _held_out_sentences(corpus: CorpusFiles, number: int) -> list[list[str]]:
    """So many sentences of the held-out text, evenly spread over it."""
    from charlm.data.sentence import Sentence

    found = []
    for path in (corpus.valid, corpus.test):
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as lines:
                found += [line for _, line in zip(range(_NUM_LINES), lines, strict=False) if line.count(" ") >= 2]
    every = max(1, len(found) // (2 * number))
    sentences = (Sentence(line).words for line in found[::every])
    return [words for words in sentences if len(words) in _WORDS][:number]


def _coverage(corpus: CorpusFiles, runs: Mapping[str, TrainedRun]) -> Section | None:
    from charlm.data.dictionary import Dictionary
    from charlm.text.corpus.counting import read_counts

    if not corpus.total_counts.is_file():
        return None
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    counts = read_counts(corpus.total_counts).ranked()
    missing = (1 - counts.cumulative_shares()).tolist()
    first = next(iter(runs.values()))
    return model_report.coverage_section(
        missing,
        num_kept=len(dictionary) - 1,
        plural=dictionary.unit_of.plural,
        unk_rates={"validation": first.valid["unk_rate"], "test": first.test["unk_rate"]},
    )


def _settings(runs: Mapping[str, TrainedRun]) -> Section:
    manifest = RunManifest.load(next(iter(runs.values())).files)
    return model_report.settings_section(
        {
            **manifest.config.training.to_json(),
            "corpus": f"{manifest.corpus['name']} revision {manifest.corpus['revision']}",
            "run folders": ", ".join(run.files.name for run in runs.values()),
            **{f"{library} version": number for library, number in manifest.libraries.items()},
        }
    )
