"""Labelled data from files, and prepared corpora."""

from charlm.datasets import elsewhere
from charlm.datasets.base import DataLoader, FlairDatapointDataset, SentenceDataset, StringDataset
from charlm.datasets.classification import (
    ClassificationCorpus,
    ClassificationDataset,
    CSVClassificationCorpus,
    CSVClassificationDataset,
    JSONLClassificationCorpus,
)
from charlm.datasets.column_corpus import ColumnCorpus, ColumnDataset, MultiFileColumnCorpus
from charlm.datasets.jsonl_corpus import JsonlCorpus, JsonlDataset, MultiFileJsonlCorpus
from charlm.datasets.prepared import TREC_6, UD_ENGLISH, UD_GERMAN, WNUT_17
from charlm.datasets.spans import JSONLSpanCorpus
from charlm.datasets.universal_dependencies import UniversalDependenciesCorpus

__all__ = [
    "TREC_6",
    "UD_ENGLISH",
    "UD_GERMAN",
    "WNUT_17",
    "CSVClassificationCorpus",
    "CSVClassificationDataset",
    "ClassificationCorpus",
    "ClassificationDataset",
    "ColumnCorpus",
    "ColumnDataset",
    "DataLoader",
    "FlairDatapointDataset",
    "JSONLClassificationCorpus",
    "JSONLSpanCorpus",
    "JsonlCorpus",
    "JsonlDataset",
    "MultiFileColumnCorpus",
    "MultiFileJsonlCorpus",
    "SentenceDataset",
    "StringDataset",
    "UniversalDependenciesCorpus",
]

__getattr__ = elsewhere.find
