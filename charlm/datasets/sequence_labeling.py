"""What programs written for Flair import from `datasets.sequence_labeling`."""

from charlm.datasets import elsewhere
from charlm.datasets.column_corpus import ColumnCorpus, ColumnDataset, MultiFileColumnCorpus
from charlm.datasets.jsonl_corpus import JsonlCorpus, JsonlDataset, MultiFileJsonlCorpus
from charlm.datasets.prepared import WNUT_17
from charlm.datasets.spans import JSONLSpanCorpus

__all__ = [
    "WNUT_17",
    "ColumnCorpus",
    "ColumnDataset",
    "JSONLSpanCorpus",
    "JsonlCorpus",
    "JsonlDataset",
    "MultiFileColumnCorpus",
    "MultiFileJsonlCorpus",
]

__getattr__ = elsewhere.find
