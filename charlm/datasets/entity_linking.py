"""What programs written for Flair import from `datasets.entity_linking`, which is not part of charlm."""

from charlm.datasets import elsewhere

__getattr__ = elsewhere.find
