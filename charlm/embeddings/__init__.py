"""Vectors for words and sentences."""

from charlm.embeddings.base import DocumentEmbeddings, Embeddings, TokenEmbeddings
from charlm.embeddings.document import DocumentPoolEmbeddings, DocumentRNNEmbeddings
from charlm.embeddings.flair import CharLMEmbeddings, FlairEmbeddings, PooledFlairEmbeddings
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.embeddings.token import CharacterEmbeddings, WordEmbeddings
from charlm.embeddings.transformer import TransformerDocumentEmbeddings

__all__ = [
    "CharLMEmbeddings",
    "CharacterEmbeddings",
    "DocumentEmbeddings",
    "DocumentPoolEmbeddings",
    "DocumentRNNEmbeddings",
    "Embeddings",
    "FlairEmbeddings",
    "PooledFlairEmbeddings",
    "StackedEmbeddings",
    "TokenEmbeddings",
    "TransformerDocumentEmbeddings",
    "WordEmbeddings",
]
