"""What programs written for Flair import from `datasets.treebanks`."""

from charlm.datasets import elsewhere
from charlm.datasets.prepared import UD_ENGLISH, UD_GERMAN
from charlm.datasets.universal_dependencies import UniversalDependenciesCorpus

__all__ = ["UD_ENGLISH", "UD_GERMAN", "UniversalDependenciesCorpus"]

__getattr__ = elsewhere.find
