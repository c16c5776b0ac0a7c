"""Prepare a corpus: split, count, dictionary, encode; what `charlm prepare` and the flows do.

raw text -> shards -> counts -> dictionary -> encoded shards

Reads  RAW sources
Writes corpora/NAME/     (see charlm/artifacts.py)

Every step finds out from the manifest and the digests what is done already, and reports it.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from charlm.artifacts import CorpusFiles, Workspace
from charlm.config import CorpusMetadata, DictionaryConfig, ReadConfig, SplitConfig
from charlm.malloc import keep_freed_memory
from charlm.remote.workspace import alone, push
from charlm.storage.atomic import syncing_together
from charlm.text.corpus.counting import build_dictionary as build
from charlm.text.corpus.counting import (
    check_frozen_dictionary,
    load_dictionary,
    load_known_dictionary,
    read_counts,
)
from charlm.text.corpus.counting import count_shard as count
from charlm.text.corpus.counting import extend_dictionary as extend
from charlm.text.corpus.encoding import (
    EncodedInfo,
    encode_file,
    encoded_info,
    record_unk_rate,
    split_files,
)
from charlm.text.corpus.groups import Workers
from charlm.text.corpus.manifest import CorpusManifest, load_manifest, record_metadata
from charlm.text.corpus.splitting import split_corpus
from charlm.text.corpus.text_files import FileBatch, text_files
from charlm.text.sources.finding import find_sources
from charlm.text.sources.raw import Source
from charlm.units.unit import find_unit, unit_of_split
from tasks.corpus.filtering import open_filter
from tasks.corpus.steps import CALLED_HERE, CorpusSteps
from tasks.terminal import counted, terminal


class PreparedCorpusJson(TypedDict):
    """What `charlm prepare --json` shows."""

    corpus: str
    revision: int
    documents: int
    characters: int
    train_shards: int
    dictionary_size: int
    unk_rate: float
    units: dict[str, int]
    unk_rates: dict[str, float]
    licence: NotRequired[str]
    languages: NotRequired[list[str]]


@dataclass(frozen=True)
class PreparedCorpus:
    """A corpus that is ready to be trained on."""

    files: CorpusFiles
    manifest: CorpusManifest
    dictionary_size: int
    unk_rate: float
    units: dict[str, int]
    """Characters, bytes or words of the train, valid and test text, as they are encoded."""

    unknown: dict[str, int]
    """Those of them that are `<unk>`."""

    def to_json(self) -> PreparedCorpusJson:
        return {
            "corpus": str(self.files.root),
            "revision": self.manifest.revision,
            "documents": self.manifest.documents,
            "characters": self.manifest.characters,
            "train_shards": len(self.files.shards()),
            "dictionary_size": self.dictionary_size,
            "unk_rate": self.unk_rate,
            "units": self.units,
            "unk_rates": {side: self.unknown[side] / max(number, 1) for side, number in self.units.items()},
            **self.manifest.metadata,
        }


def corpus_settings(workspace: Workspace, name: str, unit: str | None = None) -> tuple[SplitConfig, DictionaryConfig]:
    """The settings that the corpus `name` was first prepared with; the defaults of `unit` for a new one."""
    corpus = workspace.corpus(name)
    if not corpus.manifest.is_file():
        chosen = find_unit(SplitConfig().unit if unit is None else unit)
        return SplitConfig(unit=chosen.name, **chosen.default_split()), chosen.default_dictionary()
    manifest = load_manifest(corpus)
    default = find_unit(manifest.split.unit).default_dictionary()
    return manifest.split, manifest.dictionary.config if manifest.dictionary else default


def prepare_corpus(
    workspace: Workspace,
    raw: Sequence[str],
    name: str,
    split: SplitConfig | None,
    dictionary: DictionaryConfig | None,
    *,
    reading: ReadConfig,
    domain: str | None = None,
    extend_dictionary: bool = False,
    metadata: CorpusMetadata = CorpusMetadata(),  # noqa: B008  # never changed
    steps: CorpusSteps = CALLED_HERE,
) -> PreparedCorpus:
    """Bring raw text into the corpus `name`, from split to encoded shards; what is done already is not done again.

    Without `split` and `dictionary` the settings are those that the corpus was first prepared with. `metadata` is kept
    with the corpus, in place of what was known.
    Raises SourceError when some of `raw` is missing, before the workspace is made.
    """
    sources = check_sources([*raw, *reading.valid_text, *reading.test_text])
    with _alone(workspace, name):
        with steps.readers(sources) as workers:
            corpus = steps.call(
                split_text,
                workspace,
                raw,
                name,
                split,
                reading,
                dictionary=dictionary,
                domain=domain,
                metadata=metadata,
                workers=workers,
            )
        prepared = complete_corpus(corpus, dictionary, extend_dictionary=extend_dictionary, steps=steps)
        push(workspace, corpus.root)
    return prepared


def extend_corpus(workspace: Workspace, name: str, *, steps: CorpusSteps = CALLED_HERE) -> PreparedCorpus:
    """Give new units of the corpus `name` ids at the end of its dictionary."""
    with _alone(workspace, name):
        prepared = complete_corpus(workspace.corpus(name), extend_dictionary=True, steps=steps)
        push(workspace, prepared.files.root)
    return prepared


def _alone(workspace: Workspace, name: str) -> AbstractContextManager[bool]:
    return alone(
        workspace,
        workspace.lock_of(f"{name}.prepare"),
        on_wait=lambda holder: terminal.print_line(f"  {holder} prepares {name}; waiting for it"),
    )


def complete_corpus(
    corpus: CorpusFiles,
    dictionary: DictionaryConfig | None = None,
    *,
    extend_dictionary: bool,
    steps: CorpusSteps = CALLED_HERE,
) -> PreparedCorpus:
    """Count, build the dictionary and encode, for a corpus that is split."""
    with steps.workers(corpus) as for_each:
        manifest = load_manifest(corpus)
        files = text_files(corpus, manifest)
        shards = [file for file in files if file.path.parent == corpus.train_dir]
        for_each(f"count {unit_of_split(manifest.split).plural}", count_shards, shards, manifest.split)
        steps.call(build_dictionary, corpus, dictionary, with_new_units=extend_dictionary)
        for_each("encode", encode_texts, files, load_dictionary(corpus).fingerprint)
    return steps.call(finish_corpus, corpus)


def check_sources(raw: Sequence[str]) -> list[Source]:
    """The sources of `raw`; raises SourceError when some of it is missing."""
    return find_sources(raw) if raw else []


# ---- the steps -----------------------------------------------------------------------------------------------------


def split_text(
    workspace: Workspace,
    raw: Sequence[str],
    name: str,
    config: SplitConfig | None,
    reading: ReadConfig,
    *,
    dictionary: DictionaryConfig | None = None,
    domain: str | None = None,
    metadata: CorpusMetadata = CorpusMetadata(),  # noqa: B008  # never changed
    workers: Workers | None = None,
) -> CorpusFiles:
    """Cut raw text into train shards and held-out text; without `config` as the corpus was first cut.

    `workers` read the sources beside this process, if there are any; the corpus is the same without them.
    Documents outside of the bounds that `reading` has go to a file of their own.
    Raises CorpusError, and leaves the corpus as it is, where its dictionary was built in another way than `dictionary`.
    """
    corpus = workspace.corpus(name)
    if dictionary is not None and corpus.manifest.is_file() and (known := load_manifest(corpus).dictionary):
        check_frozen_dictionary(corpus, known, dictionary)
    document_filter = open_filter(workspace, name, reading)
    with terminal.step(f"split {name}") as bar:
        result = split_corpus(
            raw,
            corpus,
            config or corpus_settings(workspace, name)[0],
            reading,
            domain=domain,
            document_filter=document_filter,
            workers=workers,
            on_progress=lambda done, total: bar.update(done / max(total, 1)),
        )
        manifest = result.manifest
        size = f"{counted(manifest.documents, 'document')}, {counted(len(corpus.shards()), 'train shard')}"
        bar.finish(f"revision {manifest.revision}, {size}" if result.is_new_revision else f"no new text, kept {size}")
    record_metadata(corpus, metadata)
    for reason, number in result.skipped.items():
        terminal.print_line(f"! {name}: {reason}: {number:,}")
    return corpus


@keep_freed_memory()
def count_shards(corpus: CorpusFiles, batch: FileBatch, split: SplitConfig) -> list[bool]:
    """Count the units of some shards; False for each that was counted before."""
    unit = unit_of_split(split)
    with syncing_together():
        return [count(file.path, corpus.counts(file.name), unit, sha256=file.sha256) for file in batch.files]


def build_dictionary(corpus: CorpusFiles, config: DictionaryConfig | None, *, with_new_units: bool = False) -> int:
    """Merge the counts and choose the units that get an id, at revision 1; later on read it. The number of ids.

    `with_new_units` adds what the same rule keeps in the text that has come since, behind the old units.
    """
    manifest = load_manifest(corpus)
    with terminal.step("build dictionary") as bar:
        known = manifest.dictionary
        unit = unit_of_split(manifest.split)
        dictionary = build(corpus, config or (known.config if known else unit.default_dictionary()), unit)
        num_ids = len(dictionary)
        if with_new_units:
            dictionary = extend(corpus)
        added = f", {len(dictionary) - num_ids} added at its end" if with_new_units else ""
        bar.finish(f"{'reused' if known else 'made'}{added}, {len(dictionary)} ids")
    for reason, number in unit.losses(read_counts(corpus.total_counts)).items():
        terminal.print_line(f"! {corpus.name}: {reason}: {number:,}")
    return len(dictionary)


@keep_freed_memory()
def encode_texts(corpus: CorpusFiles, batch: FileBatch, dictionary_fingerprint: str) -> list[bool]:
    """Turn some texts of the corpus into ids; False for each that was encoded before."""
    dictionary = load_known_dictionary(corpus, dictionary_fingerprint)
    with syncing_together():
        return [
            not encode_file(
                file.path, corpus.encoded(dictionary_fingerprint, file.name), dictionary, sha256=file.sha256
            ).reused
            for file in batch.files
        ]


def finish_corpus(corpus: CorpusFiles) -> PreparedCorpus:
    """The prepared corpus; the share of held-out units that its dictionary lacks is recorded and reported."""
    dictionary = load_dictionary(corpus)
    unk_rate = record_unk_rate(corpus, dictionary)
    manifest = load_manifest(corpus)
    too_high = unk_rate > dictionary.unit_of.unk_limits.reported
    rule = "a larger --coverage" if dictionary.unit_of.items_are_characters else "a smaller --min-count"
    remedy = "--extend-dictionary" if manifest.revision > 1 else f"{rule} under a new name"
    terminal.print_line(
        f"{'!' if too_high else ' '} <unk> makes up {unk_rate:.3%} of the held-out text"
        f"{f'; {remedy} would keep more' if too_high else ''}"
    )
    fingerprint = dictionary.fingerprint
    infos: dict[str, list[EncodedInfo]] = {"train": [], "valid": [], "test": []}
    for name in split_files(corpus):
        infos.get(name, infos["train"]).append(encoded_info(corpus.encoded(fingerprint, name), dictionary))
    return PreparedCorpus(
        corpus,
        manifest,
        len(dictionary),
        unk_rate,
        {side: sum(info.units for info in found) for side, found in infos.items()},
        {side: sum(info.unknown for info in found) for side, found in infos.items()},
    )
