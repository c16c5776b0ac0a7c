"""What embeddings and models work on."""

from charlm.data.dictionary import Dictionary

__all__ = ["Dictionary"]
