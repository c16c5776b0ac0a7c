"""Find the documents in the held-out text of a corpus.

Reads  valid.txt, test.txt, documents/revision_*.keys, corpus.json

The text does not show where a document ends: a document may be a file or a record with blank lines in it. But the
hashes of all documents are kept in their order, and a hash gives the split of its document; so the documents are
found by hashing the text line after line until the next hash is met.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xxhash import xxh3_64

from charlm.artifacts import CorpusFiles
from charlm.config import SplitConfig
from charlm.errors import CorpusError
from charlm.text.corpus.chunks import with_universal_newlines
from charlm.text.corpus.manifest import FileRecord, Revision, load_manifest
from charlm.text.corpus.sides import TEST_FILE, TEST_PLACE, VALID_FILE, VALID_PLACE, choose_places, without_shares

_KEYS_PER_BLOCK = 1 << 20
PART_BYTES = 5_000
"""Length of the parts that long documents are compared in where there are few of them."""


@dataclass(frozen=True)
class HeldOutDocuments:
    """The documents of one domain in the order of the text; arrays of one length."""

    keys: np.ndarray
    """Hash of each document's text, uint64."""

    characters: np.ndarray
    """Code points of each, as the encoded text has them: empty lines dropped; int64."""

    bytes: np.ndarray
    """UTF-8 bytes of the same, int64."""

    lines: np.ndarray
    """Lines of the same, int64: they give the items of each document in an encoded file, and the unknown ones."""

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, chosen: np.ndarray) -> "HeldOutDocuments":
        """The documents that `chosen`, of shape (D,), is true for."""
        return HeldOutDocuments(self.keys[chosen], self.characters[chosen], self.bytes[chosen], self.lines[chosen])


def held_out_documents(corpus: CorpusFiles, split: str) -> dict[str, HeldOutDocuments]:
    """The documents of `valid` or `test` by domain, domains without any left out.

    Raises CorpusError when the text does not match the hashes.
    """
    manifest = load_manifest(corpus)
    held_out, place = {"valid": (corpus.valid, VALID_PLACE), "test": (corpus.test, TEST_PLACE)}[split]
    parts: dict[str, list[HeldOutDocuments]] = {}
    for revision in manifest.revisions:
        for record in revision.files:
            if record.name == held_out.name and record.documents:
                keys = _keys_of(corpus, revision, manifest.split, place)
                parts.setdefault(revision.domain, []).append(_find(corpus, record, keys))
    return {
        domain: HeldOutDocuments(
            np.concatenate([part.keys for part in found]),
            np.concatenate([part.characters for part in found]),
            np.concatenate([part.bytes for part in found]),
            np.concatenate([part.lines for part in found]),
        )
        for domain, found in parts.items()
    }


def in_parts(documents: HeldOutDocuments, text: Path) -> HeldOutDocuments:
    """`documents`, which make up a text file, cut at ends of lines into parts of about PART_BYTES.

    Each part has the key of its document; a shorter document is one part.
    """
    keys, sizes = [], []
    owners = np.flatnonzero(documents.lines).tolist()
    lines = _lines_of_all(text)
    for document in owners:
        num_bytes = int(documents.bytes[document])
        num_parts = max(num_bytes // PART_BYTES, 1)
        before, part = 0, -1
        for _ in range(int(documents.lines[document])):
            line = next(lines)
            if before * num_parts // num_bytes != part:
                part = before * num_parts // num_bytes
                keys.append(documents.keys[document])
                sizes.append([0, 0, 0])
            size = sizes[-1]
            size[0] += len(line.decode())
            size[1] += len(line)
            size[2] += 1
            before += len(line)
    characters, bytes_, num_lines = np.array(sizes, dtype=np.int64).reshape(-1, 3).T
    return HeldOutDocuments(np.array(keys, dtype=documents.keys.dtype), characters, bytes_, num_lines)


def _lines_of_all(text: Path) -> Iterator[bytes]:
    """The lines of a text file as the encoded text has them."""
    with text.open("rb") as file:
        for raw in file:
            for line in cleaned(raw).split(b"\n")[:-1]:
                yield line + b"\n"


def _keys_of(corpus: CorpusFiles, revision: Revision, config: SplitConfig, place: int) -> np.ndarray:
    """The hashes of the documents that a revision put on one side, in order; those of given text come first."""
    path = corpus.document_keys(revision.number)
    if not path.is_file():
        raise CorpusError(f"{path} is missing; the held-out documents cannot be told apart without it: restore it")
    keys: np.ndarray = np.memmap(path, dtype="<u8", mode="r")
    documents = {file.name: file.documents for file in revision.files if file.name in revision.given}
    num_valid, num_test = documents.get(VALID_FILE, 0), documents.get(TEST_FILE, 0)
    if (VALID_FILE if place == VALID_PLACE else TEST_FILE) in documents:
        given = keys[:num_valid] if place == VALID_PLACE else keys[num_valid : num_valid + num_test]
        return np.array(given, dtype=np.uint64)
    keys, config = keys[num_valid + num_test :], without_shares(config, revision.given)
    blocks = [np.asarray(keys[start : start + _KEYS_PER_BLOCK]) for start in range(0, len(keys), _KEYS_PER_BLOCK)]
    return np.concatenate([block[choose_places(block, config) == place] for block in blocks]).astype(np.uint64)


def _find(corpus: CorpusFiles, record: FileRecord, keys: np.ndarray) -> HeldOutDocuments:
    """The documents with these keys in the text that one revision wrote to one file."""
    sizes = np.zeros((3, len(keys)), dtype=np.int64)  # characters, bytes and lines of each document
    matcher = _Matcher(keys)
    for line in _lines(corpus, record):
        index = matcher.take(line)
        if index is None:
            break
        text = cleaned(line)
        sizes[0, index] += len(text.decode())
        sizes[1, index] += len(text)
        sizes[2, index] += text.count(b"\n")
    if not matcher.is_complete:
        raise CorpusError(
            f"{corpus.root / record.name} does not hold the documents that {corpus.manifest.name} lists; restore it"
        )
    return HeldOutDocuments(keys, *sizes)


def _lines(corpus: CorpusFiles, record: FileRecord) -> Iterator[bytes]:
    with (corpus.root / record.name).open("rb") as file:
        file.seek(record.start)
        remaining = record.bytes
        while remaining > 0 and (line := file.readline(remaining)):
            remaining -= len(line)
            yield line


def cleaned(line: bytes) -> bytes:
    """A line of the text as the encoded text has it: with line feeds only, and without empty lines."""
    return b"".join([part + b"\n" for part in with_universal_newlines(line).split(b"\n") if part])


def cleaned_bytes(text: Path) -> int:
    """The bytes of a text file as the encoded text has them."""
    with text.open("rb") as file:
        return sum(len(cleaned(line)) for line in file)


class _Matcher:
    """Finds the document of each line. The hash of a document leaves out the white space around it."""

    def __init__(self, keys: np.ndarray) -> None:
        self._keys: list[int] = keys.tolist()
        self._index = -1
        self._hash = xxh3_64()
        self._blanks = b""  # white space that counts only if the document continues after it
        self._is_whole = True
        self._fits = True

    @property
    def is_complete(self) -> bool:
        return self._fits and self._is_whole and self._index == len(self._keys) - 1

    def take(self, line: bytes) -> int | None:
        """The document that the next line belongs to; None when the text continues after the last one.

        Blank lines belong to the document before them, those at the top to the first.
        """
        content = line.rstrip()
        if not content:
            self._blanks += line
            return max(self._index, 0)
        if self._is_whole:
            self._index += 1
            self._hash.reset()
            self._blanks = b""
            if self._index == len(self._keys):
                self._fits = False
                return None
            self._hash.update(content.lstrip())
        else:
            self._hash.update(self._blanks + content)
        self._blanks = line[len(content) :]
        self._is_whole = self._hash.intdigest() == self._keys[self._index]
        return self._index
