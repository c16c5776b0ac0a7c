"""Vectors from binary files: of words and their parts (fastText), of pieces (BPEmb), of words (word2vec)."""

import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from charlm.data import Sentence
from charlm.embeddings import BytePairEmbeddings, FastTextEmbeddings, WordEmbeddings
from charlm.embeddings.base import TokenEmbeddings, load_embeddings
from charlm.errors import ConfigError, ModelFileError

pytestmark = pytest.mark.numeric

WORDS = ("</s>", "ab", "c")
BUCKETS = 5
MATRIX = np.arange(16, dtype=np.float32).reshape(8, 2)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def fasttext_file(path: Path, *, version: int = 12, quantized: bool = False, longest: int = 3) -> Path:
    """A model as fastText writes it, with parts of 2 to `longest` characters."""
    head = struct.pack("<2i12id", 793712314, version, 2, 5, 5, 1, 5, 1, 1, 2, BUCKETS, 2, longest, 100, 1e-4)
    entries = b"".join(word.encode() + b"\0" + struct.pack("<qb", 1, 0) for word in WORDS)
    dictionary = struct.pack("<3i2q", len(WORDS), len(WORDS), 0, 3, -1) + entries
    path.write_bytes(head + dictionary + struct.pack("<?2q", quantized, *MATRIX.shape) + MATRIX.tobytes() + b"rest")
    return path


def vectors(embeddings: TokenEmbeddings, words: list[str]) -> list[list[float]]:
    sentence = Sentence(words)
    embeddings.embed(sentence)
    return sentence.get_token_embeddings().tolist()


def fnv(part: str) -> int:
    value = 2166136261
    for byte in part.encode():
        signed = byte - 256 if byte > 127 else byte
        value = ((value ^ (signed & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return value


def test_fasttext_averages_a_word_and_its_parts(cache):
    embeddings = FastTextEmbeddings(fasttext_file(cache / "model.bin"), name="fast")
    parts_of_ab = ["<a", "<ab", "ab", "ab>", "b>"]
    rows = [3 + fnv(part) % BUCKETS for part in parts_of_ab]
    parts_of_umlaut = [3 + fnv(part) % BUCKETS for part in ("<ü", "<ü>", "ü>")]
    known, end, unknown = vectors(embeddings, ["ab", "</s>", "ü"])
    np.testing.assert_allclose(known, MATRIX[[1, *rows]].mean(axis=0), rtol=1e-6)
    assert end == MATRIX[0].tolist()
    np.testing.assert_allclose(unknown, MATRIX[parts_of_umlaut].mean(axis=0), rtol=1e-6)
    loaded = load_embeddings(embeddings.save_embeddings())
    assert vectors(loaded, ["ab", "ü"]) == [known, unknown]


def test_fasttext_without_parts_knows_words_only(cache):
    embeddings = FastTextEmbeddings(fasttext_file(cache / "model.bin", longest=0))
    assert vectors(embeddings, ["c", "d"]) == [MATRIX[2].tolist(), [0.0, 0.0]]


@pytest.mark.parametrize(
    ("settings", "line"), [({"version": 13}, "of version 13 of fastText's format"), ({"quantized": True}, "quantized")]
)
def test_other_models_of_fasttext_are_refused(settings, line, cache):
    with pytest.raises(ModelFileError, match=line):
        FastTextEmbeddings(fasttext_file(cache / "model.bin", **settings))


def test_damaged_models_of_fasttext_are_refused(cache):
    path = fasttext_file(cache / "model.bin")
    content = path.read_bytes()
    for size in (2, 6, 80, 130, len(content) - 20):
        path.write_bytes(content[:size])
        with pytest.raises(ModelFileError, match=r"model\.bin"):
            FastTextEmbeddings(path)
    with pytest.raises(ModelFileError, match="take FastTextEmbeddings"):
        WordEmbeddings(fasttext_file(cache / "other.bin"))


def word2vec_file(path: Path, words: list[str], matrix: np.ndarray) -> Path:
    rows = [word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(words, matrix, strict=True)]
    path.write_bytes(f"{len(words)} {matrix.shape[1]}\n".encode() + b"".join(rows))
    return path


def test_word2vecs_binary_format_is_read(cache):
    path = word2vec_file(cache / "vectors.bin", ["New_York", "ü"], MATRIX[:2])
    assert vectors(WordEmbeddings(path), ["ü", "New_York", "x"]) == [MATRIX[1].tolist(), MATRIX[0].tolist(), [0.0, 0.0]]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda content: content[:-4], "announces 2 words of 2 numbers and ends before|word 2 of 2: the file ends"),
        (lambda content: content + b"z " + MATRIX[2].tobytes(), "announces 2 words in its first line and holds more"),
        (lambda content: content.replace(b"2 2\n", b"2000000000 2\n"), "announces 2000000000 words of 2 numbers"),
        (lambda content: content.replace("ü".encode(), b"\xfc"), r"word 2 of 2: .* is not UTF-8"),
        (lambda content: content.replace(b"New_York", b"New\nYork"), "holds a line feed"),
        (lambda content: content.replace(MATRIX[0].tobytes(), b"\xff" * 8), "word 1 of 2, 'New_York': .* not finite"),
    ],
)
def test_binary_vectors_that_are_not_those_of_their_words_are_refused(change, line, cache):
    path = word2vec_file(cache / "vectors.bin", ["New_York", "ü"], MATRIX[:2])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelFileError, match=line):
        WordEmbeddings(path)
    assert not list((cache / "cache").rglob("vectors.npy"))


class Pieces:
    """Stands for a model of sentencepiece whose pieces are single letters."""

    def LoadFromSerializedProto(self, content: bytes) -> None:  # noqa: N802  # its name there
        self.letters = content.decode()

    def vocab_size(self) -> int:
        return len(self.letters)

    def IdToPiece(self, idx: int) -> str:  # noqa: N802  # its name there
        return self.letters[idx]

    def EncodeAsIds(self, text: str) -> list[int]:  # noqa: N802  # its name there
        return [self.letters.find(letter) for letter in text]


def test_byte_pairs_are_the_first_and_the_last_piece(cache, monkeypatch):
    package = ModuleType("sentencepiece")
    package.SentencePieceProcessor = Pieces  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentencepiece", package)
    folder = cache / "cache"
    folder.mkdir()
    (folder / "en.wiki.bpe.vs3.model").write_text("ab0")
    word2vec_file(folder / "en.wiki.bpe.vs3.d2.w2v.bin", ["a", "b", "0"], MATRIX[:3])
    embeddings = BytePairEmbeddings("en", dim=2, syllables=3)
    assert embeddings.name == "bpe-en-3-2"
    assert embeddings.embedding_length == 4
    expected = [[0, 1, 2, 3], [4, 5, 4, 5], [0, 0, 0, 0]]
    assert vectors(embeddings, ["AaB", "97", " "]) == expected
    assert vectors(load_embeddings(embeddings.save_embeddings()), ["AaB", "97", " "]) == expected
    (folder / "en.wiki.bpe.vs3.model").write_text("ab")
    with pytest.raises(ModelFileError, match=r"it has 2 pieces, and .* 3 vectors"):
        BytePairEmbeddings("en", dim=2, syllables=3)
    (folder / "en.wiki.bpe.vs3.model").write_text("a0b")
    with pytest.raises(ModelFileError, match="in the same order in the first 1; they are not of one model"):
        BytePairEmbeddings("en", dim=2, syllables=3)


def test_byte_pairs_name_what_is_missing(cache, monkeypatch):
    with pytest.raises(ModelFileError, match=r"no file .*en\.wiki\.bpe\.vs100000\.model"):
        BytePairEmbeddings("en")
    (cache / "cache").mkdir()
    (cache / "cache" / "multi.wiki.bpe.vs100000.model").write_text("ab")
    with pytest.raises(ModelFileError, match=r"no file .*multi\.wiki\.bpe\.vs100000\.d300\.w2v\.bin"):
        BytePairEmbeddings("multi")
    with pytest.raises(ConfigError, match="takes a language, or model_file_path"):
        BytePairEmbeddings()
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    (cache / "m.model").write_text("ab")
    path = word2vec_file(cache / "v.bin", ["a", "b"], MATRIX[:2])
    with pytest.raises(ModelFileError, match="needs the package sentencepiece"):
        BytePairEmbeddings(model_file_path=cache / "m.model", embedding_file_path=path)
