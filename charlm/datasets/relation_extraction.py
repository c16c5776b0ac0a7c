"""What programs written for Flair import from `datasets.relation_extraction`, which is not part of charlm."""

from charlm.datasets import elsewhere

__getattr__ = elsewhere.find
