"""What programs written for Flair import from `datasets.document_classification`."""

from charlm.datasets.classification import ClassificationCorpus, CSVClassificationCorpus
from charlm.datasets.prepared import TREC_6

__all__ = ["TREC_6", "CSVClassificationCorpus", "ClassificationCorpus"]
