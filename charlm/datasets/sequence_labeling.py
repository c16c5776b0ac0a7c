"""What programs written for Flair import from `datasets.sequence_labeling`."""

from charlm.datasets.columns import ColumnCorpus
from charlm.datasets.prepared import WNUT_17
from charlm.datasets.spans import JSONLSpanCorpus

__all__ = ["WNUT_17", "ColumnCorpus", "JSONLSpanCorpus"]
