"""What programs written for Flair import from `embeddings.legacy`."""

from charlm.embeddings.flair import CharLMEmbeddings

__all__ = ["CharLMEmbeddings"]
