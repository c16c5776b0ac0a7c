"""The manifest of a prepared corpus: its sources, its files, and the settings that are frozen.

Reads and writes corpus.json. It holds no absolute path and no time, so that a copied corpus still works, and equal
input gives equal bytes.
"""

import dataclasses
from dataclasses import dataclass
from typing import Self, TypedDict

from charlm.artifacts import CorpusFiles
from charlm.config import CorpusMetadata, DictionaryConfig, SplitConfig
from charlm.errors import CharLMError, CorpusError
from charlm.storage.atomic import JsonObject, read_json, write_json
from charlm.storage.fingerprints import fingerprint

_FORMAT = "charlm.corpus/1"
_APPROVAL, _REQUIRED = "approval", "required"


class MetadataJson(TypedDict, total=False):
    """Licence and languages of a corpus, as far as they were given."""

    licence: str
    languages: list[str]


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """One piece of raw text that a revision read."""

    name: str
    """Its name below the folder that was given, or its address."""

    sha256: str
    """Digest of its bytes as stored; a source with a known digest is not read again."""

    bytes: int
    """Its size as stored, compressed where it is compressed."""

    documents: int
    """Documents it gave to the corpus."""

    version: str = ""
    """Of a Hugging Face dataset: what its files and its column were; one of a known version is not read again."""

    held_out: str = ""
    """The held-out file that all of it went to, where it was given as held-out text."""

    def to_json(self) -> JsonObject:
        optional = ("version", "held_out")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in optional or value}


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What one revision put into one file of the corpus."""

    name: str
    """Path below the corpus folder."""

    sha256: str
    """Digest of the whole file as this revision left it."""

    start: int
    """First byte that this revision wrote: 0 for a train shard, the old size for valid.txt and test.txt."""

    bytes: int
    """Bytes it wrote, from `start` on."""

    characters: int
    """Characters in them."""

    documents: int
    """Documents in them."""

    @property
    def end(self) -> int:
        return self.start + self.bytes


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One `prepare` that brought new text."""

    number: int
    domain: str
    deduplicated: bool
    sources: tuple[SourceRecord, ...]
    files: tuple[FileRecord, ...]
    skipped: dict[str, int]
    """What was left out or changed, by reason: counts of documents, records, files or bytes."""

    given: tuple[str, ...] = ()
    """The held-out files whose text was given: no other document of the revision is in them."""

    near_threshold: float | None = None
    """Where near-duplicates were left out, what they have in common (text/corpus/near_duplicates.py)."""

    near_version: int | None = None
    """Version of the keys that they were found by."""

    def to_json(self) -> JsonObject:
        value = dataclasses.asdict(self) | {"sources": [source.to_json() for source in self.sources]}
        optional = ("given", "near_threshold", "near_version")
        return {name: found for name, found in value.items() if name not in optional or found}

    @property
    def characters(self) -> int:
        return sum(file.characters for file in self.files)

    @property
    def documents(self) -> int:
        return sum(file.documents for file in self.files)

    @property
    def train_files(self) -> tuple[FileRecord, ...]:
        return tuple(file for file in self.files if "/" in file.name)


@dataclass(frozen=True, kw_only=True)
class DictionaryRecord:
    """The dictionary of the corpus, frozen when it was built."""

    config: DictionaryConfig
    fingerprint: str
    size: int
    unk_rate: float | None = None
    """Share of the held-out units outside the dictionary; none until the held-out text is encoded."""


@dataclass(frozen=True, kw_only=True)
class CorpusManifest:
    """The content of corpus.json."""

    split: SplitConfig
    revisions: tuple[Revision, ...] = ()
    dictionary: DictionaryRecord | None = None
    licence: str | None = None
    """Licence of the models that are trained on it, where it was given; it changes nothing in the text."""

    languages: tuple[str, ...] = ()
    """Languages of its text, where they were given."""

    needs_approval: bool = False
    """Whether a person has to approve a version before it becomes champion; `approval: required` in the file."""

    @property
    def metadata(self) -> MetadataJson:
        """What was given of licence and languages."""
        found: MetadataJson = {}
        if self.licence:
            found["licence"] = self.licence
        if self.languages:
            found["languages"] = list(self.languages)
        return found

    @property
    def revision(self) -> int:
        """Number of the newest revision; 0 before the first."""
        return len(self.revisions)

    @property
    def characters(self) -> int:
        return sum(revision.characters for revision in self.revisions)

    @property
    def documents(self) -> int:
        return sum(revision.documents for revision in self.revisions)

    @property
    def files(self) -> dict[str, FileRecord]:
        """The newest record of each file, by name."""
        return {file.name: file for revision in self.revisions for file in revision.files}

    @property
    def train_characters(self) -> int:
        return sum(file.characters for revision in self.revisions for file in revision.train_files)

    def growth_since(self, revision: int) -> float:
        """Train characters now, as a multiple of those at `revision`."""
        old = sum(file.characters for found in self.revisions[:revision] for file in found.train_files)
        return self.train_characters / old

    @property
    def fingerprint(self) -> str:
        """16 digits that identify the text and how it was split; independent of times, paths and names of sources."""
        # Whether documents were left out was once a setting of the split, and stays part of the fingerprint.
        split = self.split.to_json() | {"deduplicate": any(revision.deduplicated for revision in self.revisions[:1])}
        if near := [revision.near_threshold for revision in self.revisions if revision.near_threshold]:
            split["near_thresholds"] = near
        return fingerprint([split, {file.name: file.sha256 for file in self.files.values()}])

    def to_json(self) -> JsonObject:
        return {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "split": self.split.to_json(),
            "revisions": [revision.to_json() for revision in self.revisions],
            "dictionary": self.dictionary
            and dataclasses.asdict(self.dictionary) | {"config": self.dictionary.config.to_json()},
            **self.metadata,
            **({_APPROVAL: _REQUIRED} if self.needs_approval else {}),
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        dictionary = value["dictionary"]
        return cls(
            # Older versions kept `deduplicate` here, which each revision has for itself.
            split=SplitConfig.from_json({name: of for name, of in value["split"].items() if name != "deduplicate"}),
            dictionary=dictionary
            and DictionaryRecord(**dictionary | {"config": DictionaryConfig.from_json(dictionary["config"])}),
            revisions=tuple(
                Revision(
                    **revision
                    | {
                        "sources": tuple(SourceRecord(**source) for source in revision["sources"]),
                        "files": tuple(FileRecord(**file) for file in revision["files"]),
                        "given": tuple(revision.get("given", ())),
                    }
                )
                for revision in value["revisions"]
            ),
            licence=value.get("licence"),
            languages=tuple(value.get("languages", ())),
            needs_approval=value.get(_APPROVAL) == _REQUIRED,
        )


def load_manifest(corpus: CorpusFiles) -> CorpusManifest:
    """The manifest of a prepared corpus; raises CorpusError when there is none or it is damaged."""
    if not corpus.manifest.is_file():
        raise CorpusError(
            f"{corpus.root} holds no prepared corpus: it has no {corpus.manifest.name}; run prepare first"
        )
    value = read_json(corpus.manifest, remedy=f"restore it, or delete {corpus.root} and prepare the text again")
    if not isinstance(value, dict) or value.get("format") != _FORMAT:
        raise CorpusError(f"{corpus.manifest} is not a manifest of format {_FORMAT!r}; prepare the corpus again")
    try:
        return CorpusManifest.from_json(value)
    except (KeyError, TypeError, AttributeError, CharLMError) as error:
        raise CorpusError(f"{corpus.manifest} is damaged ({error}); prepare the corpus again") from error


def save_manifest(corpus: CorpusFiles, manifest: CorpusManifest) -> None:
    write_json(corpus.manifest, manifest.to_json())


def record_metadata(corpus: CorpusFiles, metadata: CorpusMetadata) -> None:
    """Note what is given of licence and languages in the manifest; what is not given stays."""
    manifest = load_manifest(corpus)
    known = dataclasses.replace(
        manifest, licence=metadata.licence or manifest.licence, languages=metadata.languages or manifest.languages
    )
    if known != manifest:
        save_manifest(corpus, known)


def record_approval(corpus: CorpusFiles, *, required: bool) -> None:
    """Note in the manifest whether a person has to approve the versions of the corpus."""
    manifest = load_manifest(corpus)
    if manifest.needs_approval != required:
        save_manifest(corpus, dataclasses.replace(manifest, needs_approval=required))
