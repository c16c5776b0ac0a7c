"""Vectors for words and sentences."""

from charlm.embeddings.base import DocumentEmbeddings, Embeddings, TokenEmbeddings
from charlm.embeddings.byte_pair import BytePairEmbeddings
from charlm.embeddings.document import DocumentPoolEmbeddings, DocumentRNNEmbeddings
from charlm.embeddings.document_cnn import DocumentCNNEmbeddings
from charlm.embeddings.document_lm import DocumentLMEmbeddings
from charlm.embeddings.document_word_lm import DocumentWordLMEmbeddings
from charlm.embeddings.encode import TextVectorizer
from charlm.embeddings.fasttext import FastTextEmbeddings
from charlm.embeddings.flair import CharLMEmbeddings, FlairEmbeddings, PooledFlairEmbeddings
from charlm.embeddings.hashed import HashEmbeddings
from charlm.embeddings.one_hot import OneHotEmbeddings
from charlm.embeddings.stacked import StackedEmbeddings
from charlm.embeddings.token import CharacterEmbeddings, WordEmbeddings
from charlm.embeddings.transformer import (
    TransformerDocumentEmbeddings,
    TransformerEmbeddings,
    TransformerWordEmbeddings,
)
from charlm.embeddings.word_lm import WordLMEmbeddings
from charlm.errors import outside_charlm

__all__ = [
    "BytePairEmbeddings",
    "CharLMEmbeddings",
    "CharacterEmbeddings",
    "DocumentCNNEmbeddings",
    "DocumentEmbeddings",
    "DocumentLMEmbeddings",
    "DocumentPoolEmbeddings",
    "DocumentRNNEmbeddings",
    "DocumentWordLMEmbeddings",
    "Embeddings",
    "FastTextEmbeddings",
    "FlairEmbeddings",
    "HashEmbeddings",
    "OneHotEmbeddings",
    "PooledFlairEmbeddings",
    "StackedEmbeddings",
    "TextVectorizer",
    "TokenEmbeddings",
    "TransformerDocumentEmbeddings",
    "TransformerEmbeddings",
    "TransformerWordEmbeddings",
    "WordEmbeddings",
    "WordLMEmbeddings",
]

__getattr__ = outside_charlm(
    __name__,
    {
        "DocumentLSTMEmbeddings": "older names (DocumentRNNEmbeddings takes rnn_type='LSTM')",
        "DocumentMeanEmbeddings": "older names (DocumentPoolEmbeddings is the newer one)",
        "DocumentTFIDFEmbeddings": "counts of words",
        "ELMoEmbeddings": "ELMo's vectors",
        "MuseCrosslingualEmbeddings": "downloads of crosslingual vectors (WordEmbeddings reads their files)",
        "NILCEmbeddings": "downloads of Portuguese vectors (WordEmbeddings reads their files)",
        "SentenceTransformerDocumentEmbeddings": "models of sentence-transformers (see TransformerDocumentEmbeddings)",
        **dict.fromkeys(
            (
                "ConvTransformNetworkImageEmbeddings",
                "IdentityImageEmbeddings",
                "NetworkImageEmbeddings",
                "PrecomputedImageEmbeddings",
            ),
            "images",
        ),
        **dict.fromkeys(
            (
                "TransformerJitDocumentEmbeddings",
                "TransformerJitWordEmbeddings",
                "TransformerOnnxDocumentEmbeddings",
                "TransformerOnnxWordEmbeddings",
            ),
            "transformers compiled by ONNX or JIT",
        ),
    },
)
