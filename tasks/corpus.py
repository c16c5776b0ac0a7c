"""Prepare a corpus: split, count, dictionary, encode. Plain functions; the flow maps the middle ones over shards.

Reads  RAW sources
Writes corpora/NAME/     (see charlm/artifacts.py)

Every step asks the manifests what is done already, and says so.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.artifacts import CorpusFiles, Workspace
from charlm.config import BadBytes, DictionaryConfig, SplitConfig
from charlm.text.manifest import CorpusManifest, load_manifest
from charlm.text.splitting import split_corpus
from tasks.display import terminal


@dataclass(frozen=True)
class PreparedCorpus:
    """A corpus that is ready to be trained on."""

    files: CorpusFiles
    manifest: CorpusManifest

    def to_json(self) -> dict[str, Any]:
        dictionary = self.manifest.dictionary
        assert dictionary is not None
        return {
            "corpus": str(self.files.root),
            "revision": self.manifest.revision,
            "documents": self.manifest.documents,
            "characters": self.manifest.characters,
            "train_shards": len(self.files.shards()),
            "dictionary_size": dictionary.size,
            "unk_rate": dictionary.unk_rate,
        }


def corpus_settings(workspace: Workspace, name: str) -> tuple[SplitConfig, DictionaryConfig]:
    """The settings that the corpus `name` was first prepared with; the defaults for a new one."""
    corpus = workspace.corpus(name)
    if not corpus.manifest.is_file():
        return SplitConfig(), DictionaryConfig()
    manifest = load_manifest(corpus)
    return manifest.split, manifest.dictionary.config if manifest.dictionary else DictionaryConfig()
