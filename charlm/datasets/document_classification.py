"""What programs written for Flair import from `datasets.document_classification`."""

from charlm.datasets import elsewhere
from charlm.datasets.classification import (
    ClassificationCorpus,
    ClassificationDataset,
    CSVClassificationCorpus,
    CSVClassificationDataset,
)
from charlm.datasets.prepared import TREC_6

__all__ = [
    "TREC_6",
    "CSVClassificationCorpus",
    "CSVClassificationDataset",
    "ClassificationCorpus",
    "ClassificationDataset",
]

__getattr__ = elsewhere.find
