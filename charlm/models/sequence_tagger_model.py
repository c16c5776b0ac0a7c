"""What programs written for Flair import from `models.sequence_tagger_model`."""

from charlm.models.sequence_tagger import SequenceTagger

__all__ = ["SequenceTagger"]
