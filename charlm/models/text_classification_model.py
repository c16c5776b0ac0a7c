"""What programs written for Flair import from `models.text_classification_model`."""

from charlm.models.text_classifier import TextClassifier

__all__ = ["TextClassifier"]
