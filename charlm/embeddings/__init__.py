"""Vectors for words and sentences."""

from charlm.embeddings.base import DocumentEmbeddings, Embeddings, TokenEmbeddings
from charlm.embeddings.flair import CharLMEmbeddings, FlairEmbeddings, PooledFlairEmbeddings
from charlm.embeddings.stacked import StackedEmbeddings

__all__ = [
    "CharLMEmbeddings",
    "DocumentEmbeddings",
    "Embeddings",
    "FlairEmbeddings",
    "PooledFlairEmbeddings",
    "StackedEmbeddings",
    "TokenEmbeddings",
]
