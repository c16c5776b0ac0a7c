"""The documents of held-out text are found again, whatever a document is and whatever its white space."""

import json
from pathlib import Path

import numpy as np
import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import SplitConfig
from charlm.errors import CorpusError
from charlm.text.corpus.held_out import PART_BYTES, HeldOutDocuments, held_out_documents, in_parts
from charlm.text.corpus.manifest import load_manifest
from charlm.text.corpus.sides import document_keys
from charlm.text.corpus.splitting import split_corpus

RECORDS = [
    "one line",
    "two\n\nparagraphs",
    "\n\n  blank lines around \n \n\n",
    "größere Häuser\nß",
    "windows\r\nlines\rand old ones",
]


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusFiles:
    return CorpusFiles(tmp_path / "corpora" / "mixed")


def prepare(corpus: CorpusFiles, source: Path, texts: list[str], domain: str) -> None:
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config = SplitConfig(document="file", valid_share=0.3, test_share=0.3, normalize_newlines=False)
    split_corpus([str(source)], corpus, config, domain=domain)


def texts_of(domain: str) -> list[str]:
    return [f"{text} {number} {domain}" for number in range(20) for text in RECORDS]


def kept_lines(text: str) -> list[str]:
    """The lines that training reads: newlines of every kind, no empty lines."""
    return [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_every_held_out_document_is_found_with_its_size(corpus: CorpusFiles, tmp_path: Path, split: str) -> None:
    for number, domain in enumerate(["a", "b", "a"]):
        prepare(corpus, tmp_path / f"{number}.jsonl", texts_of(f"{domain}{number}"), domain)
    found = held_out_documents(corpus, split)
    assert found.keys() == {"a", "b"}
    revisions = load_manifest(corpus).revisions
    whole = {"valid": corpus.valid, "test": corpus.test}[split].read_bytes()
    for domain, documents in found.items():
        known = {
            int(document_keys([text.encode()])[0]): text
            for number, name in enumerate(["a", "b", "a"])
            if name == domain
            for text in texts_of(f"{name}{number}")
        }
        texts = [known[key] for key in documents.keys.tolist()]
        # A document's words are all its own; only white space around it may stand with its neighbour.
        lines = [
            [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line] for text in texts
        ]
        sizes = [(sum(len(line) + 1 for line in part), sum(len(line.encode()) + 1 for line in part)) for part in lines]
        characters, num_bytes = documents.characters.tolist(), documents.bytes.tolist()
        for (expected_characters, expected_bytes), one, other in zip(sizes, characters, num_bytes, strict=True):
            assert abs(expected_characters - one) <= 2
            assert abs(expected_bytes - other) <= 2
        records = [
            file
            for revision in revisions
            for file in revision.files
            if revision.domain == domain and file.name == f"{split}.txt"
        ]
        assert len(documents) == sum(record.documents for record in records)
        text = b"".join(whole[record.start : record.end] for record in records).decode()
        assert sum(characters) == sum(len(line) + 1 for line in kept_lines(text))
        assert sum(num_bytes) == sum(len(line.encode()) + 1 for line in kept_lines(text))


def test_text_that_was_changed_is_refused(corpus: CorpusFiles, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "text.jsonl", texts_of("a"), "a")
    corpus.test.write_bytes(corpus.test.read_bytes().replace(b"one", b"two", 1))
    with pytest.raises(CorpusError, match=r"test\.txt does not hold the documents that corpus\.json lists; restore it"):
        held_out_documents(corpus, "test")


def test_a_corpus_without_its_hashes_says_so(corpus: CorpusFiles, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "text.jsonl", texts_of("a"), "a")
    corpus.document_keys(1).unlink()
    with pytest.raises(CorpusError, match=r"revision_0001\.keys is missing"):
        held_out_documents(corpus, "test")


def test_long_documents_are_cut_into_parts_at_the_ends_of_lines(tmp_path: Path) -> None:
    texts = ["ä short one\n", "".join(f"{'ö' * (number % 90)} line {number}\n\n" for number in range(400)), "\n\nx\n"]
    (tmp_path / "text").write_text("".join(texts))
    kept = ["".join(f"{line}\n" for line in kept_lines(text)) for text in texts]
    documents = HeldOutDocuments(
        np.array([7, 8, 9], dtype=np.uint64),
        *(
            np.array([count(text) for text in kept])
            for count in (len, lambda t: len(t.encode()), lambda t: t.count("\n"))
        ),
    )
    parts = in_parts(documents, tmp_path / "text")
    num_parts = len(kept[1].encode()) // PART_BYTES
    assert parts.keys.tolist() == [7, *[8] * num_parts, 9]
    for name in ("characters", "bytes", "lines"):
        values = getattr(parts, name)
        assert [values[0], values[1:-1].sum(), values[-1]] == getattr(documents, name).tolist()
    assert abs(parts.bytes[1:-1] - PART_BYTES).max() < 0.3 * PART_BYTES
