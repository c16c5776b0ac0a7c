"""Score a language model on each domain of a corpus."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.evaluation.held_out_limit import choose_documents, held_out_limit, write_documents
from charlm.evaluation.language_model import score_documents, score_file
from charlm.evaluation.scores import DocumentScores, LMScore
from charlm.language_models.language_model import LanguageModel
from charlm.text.corpus.held_out import HeldOutDocuments, held_out_documents, in_parts
from charlm.text.corpus.manifest import FileRecord, load_manifest

_BLOCK = 1 << 20
_HELD_OUT: dict[str, Callable[[CorpusFiles], Path]] = {
    "valid": lambda files: files.valid,
    "test": lambda files: files.test,
}


def write_domains(corpus: CorpusFiles, split: str, folder: Path) -> dict[str, Path]:
    """Write the `valid` or `test` text of each domain to a file of its own in `folder`.

    Of more text than a score reads, write the documents that it reads (held_out_limit.py).
    """
    documents = _limited(corpus, split)
    paths = write_whole_domains(corpus, split, folder)
    for domain, (found, chosen) in documents.items():
        whole, paths[domain] = paths[domain], paths[domain].with_suffix(".part.txt")
        write_documents(whole, found, chosen, paths[domain])
        whole.unlink()
    return paths


def _limited(corpus: CorpusFiles, split: str) -> dict[str, tuple[HeldOutDocuments, np.ndarray]]:
    """By domain the documents and which of them are read; empty where all of them are."""
    limit = held_out_limit()
    text = _HELD_OUT[split](corpus)
    if limit is None or text.stat().st_size <= limit:  # a character has a byte at least
        return {}
    documents = held_out_documents(corpus, split)
    chosen = choose_documents(documents, limit)
    return {domain: (found, chosen[domain]) for domain, found in documents.items()}


def write_whole_domains(corpus: CorpusFiles, split: str, folder: Path) -> dict[str, Path]:
    """Write the whole `valid` or `test` text of each domain to a file of its own in `folder`."""
    held_out = _HELD_OUT[split](corpus)
    parts: dict[str, list[FileRecord]] = {}
    for revision in load_manifest(corpus).revisions:
        records = [file for file in revision.files if file.name == held_out.name and file.bytes]
        parts.setdefault(revision.domain, []).extend(records)
    paths = {}
    with held_out.open("rb") as source:
        for number, (domain, records) in enumerate(parts.items()):
            if not records:
                continue
            paths[domain] = folder / f"{split}-{number}.txt"
            with paths[domain].open("wb") as target:
                for record in records:
                    source.seek(record.start)
                    remaining = record.bytes
                    while block := source.read(min(remaining, _BLOCK)):
                        target.write(block)
                        remaining -= len(block)
    return paths


def score_domains(model: LanguageModel, corpus: CorpusFiles, split: str = "test") -> dict[str, LMScore]:
    """The score of `model` on the held-out text of each domain of a corpus."""
    with tempfile.TemporaryDirectory(prefix="charlm-domains-") as folder:
        return {domain: score_file(model, path) for domain, path in write_domains(corpus, split, Path(folder)).items()}


def score_documents_by_domain(
    model: LanguageModel, corpus: CorpusFiles, split: str = "test", *, least: int = 1
) -> dict[str, DocumentScores]:
    """The score of `model` on each held-out document of a corpus, by domain and in the order of the text.

    Of more text than a score reads, those that `write_domains` writes. A domain of fewer than `least` documents is cut
    into parts of them (`in_parts`).
    """
    limited = _limited(corpus, split)
    documents = {domain: found[chosen] for domain, (found, chosen) in limited.items()}
    documents = documents or held_out_documents(corpus, split)
    with tempfile.TemporaryDirectory(prefix="charlm-domains-") as folder:
        texts = write_domains(corpus, split, Path(folder))
        few = {domain for domain, found in documents.items() if len(found) < least}
        documents |= {domain: in_parts(documents[domain], texts[domain]) for domain in few & texts.keys()}
        return {domain: score_documents(model, path, documents[domain]) for domain, path in texts.items()}


def score_since(
    model: LanguageModel, corpus: CorpusFiles, revision: int, split: str = "test"
) -> tuple[dict[str, DocumentScores], DocumentScores]:
    """The scores of `model` on the held-out documents newer than `revision`, by domain, and on those up to it."""
    scores = score_documents_by_domain(model, corpus, split)
    name = _HELD_OUT[split](corpus).name
    is_new: dict[str, list[np.ndarray]] = {domain: [] for domain in scores}
    for found in load_manifest(corpus).revisions:
        for file in found.files:
            if file.name == name and file.documents:
                is_new[found.domain].append(np.full(file.documents, found.number > revision))
    chosen = {domain: np.concatenate(parts) for domain, parts in is_new.items()}
    chosen |= {domain: chosen[domain][read] for domain, (_, read) in _limited(corpus, split).items()}
    new = {domain: scores[domain][chosen[domain]] for domain in scores if chosen[domain].any()}
    return new, DocumentScores.join([scores[domain][~chosen[domain]] for domain in scores])
