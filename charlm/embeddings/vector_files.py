"""Text files of word vectors, and the copy of them that is mapped into memory.

Reads  glove.txt, wiki.vec …               text files of GloVe, word2vec and fastText: a word and its numbers a line
       GoogleNews.bin …                    word2vec's binary format: the same, each number as four bytes
Writes CHARLM_CACHE/word_vectors/HASH-2/   words.txt and vectors.npy

A row ends at a line feed and nowhere else. Words may hold any other character, because real files have words with
carriage returns, no-break spaces and, where a header names the width, blanks.
"""

# U = rows, D = width of a vector

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import xxhash

from charlm.data.cache import cache_dir
from charlm.errors import ModelFileError
from charlm.storage.atomic import atomic_folder

_LAYOUT = 2  # of the copy; the first one could give a vector to another word
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"[ \t]")
_HEADER = re.compile(rb"\s*(\d+)[ \t]+(\d+)\s*")


def word_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """The words of a text file and their vectors (U, D), mapped from the converted copy, which is made at first use.

    Raises ModelFileError, with the line, where the file and its own header do not agree or a row is malformed.
    """
    try:
        with path.open("rb") as file:
            digest = xxhash.xxh3_128()
            start = b""
            while block := file.read(1 << 20):
                start = start or block[:2]
                digest.update(block)
    except OSError as error:
        raise ModelFileError(f"cannot read the word vectors {path}: {error.strerror}") from error
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ModelFileError(f"{path} is UTF-16 text by its byte order mark; convert it to UTF-8")
    folder = cache_dir() / "word_vectors" / f"{digest.hexdigest()}-{_LAYOUT}"
    if not folder.exists():
        (_convert_binary if path.suffix == ".bin" else _convert)(path, folder)
    words = (folder / "words.txt").read_bytes().decode().split("\n")
    vectors: np.ndarray = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    if len(words) != len(vectors):
        raise ModelFileError(
            f"{folder} holds {len(words)} words and {len(vectors)} vectors; delete it, to convert again"
        )
    return words, vectors


@dataclass(frozen=True)
class _Header:
    """What the first line of word2vec and fastText announces."""

    rows: int
    width: int


def _convert(path: Path, folder: Path) -> None:
    """Write the words and vectors of a text file into `folder`, in one pass and in the memory of one line."""
    with path.open("rb") as file, atomic_folder(folder) as temporary:
        header = _header(file.readline())
        if header is None:
            file.seek(0)
        rows = _Rows(path, header)
        raw = temporary / "vectors.raw"
        with (temporary / "words.txt").open("wb") as words, raw.open("wb") as vectors:
            for number, line in enumerate(file, 1 if header is None else 2):
                if number == 1:
                    line = line.removeprefix(_BYTE_ORDER_MARK)
                if not line.strip(b" \t\r\n"):
                    continue
                word, vector = rows.parse(number, line)
                words.write(b"\n" * (rows.count > 1) + word)
                vectors.write(vector.tobytes())
        rows.check_end()
        table = np.memmap(raw, np.float32, "r", shape=(rows.count, rows.width))
        np.save(temporary / "vectors.npy", table, allow_pickle=False)
        raw.unlink()


def _convert_binary(path: Path, folder: Path) -> None:
    """The same for word2vec's binary format: a word, a blank and its numbers as float32, row after row."""
    with path.open("rb") as file:
        header = _header(file.readline(64))
        if header is None or not header.rows or not header.width:
            raise ModelFileError(
                f"{path} is not in the binary format of word2vec; for a model of fastText take FastTextEmbeddings, or "
                f"its .vec file"
            )
        size = 4 * header.width
        most = (path.stat().st_size - file.tell()) // (size + 1)  # a word may be empty
        if header.rows > most:
            raise ModelFileError(f"{path} announces {header.rows} words of {header.width} numbers and ends before")
        with atomic_folder(folder) as temporary, (temporary / "words.txt").open("wb") as words:
            vectors = np.lib.format.open_memmap(
                temporary / "vectors.npy", "w+", np.float32, (header.rows, header.width)
            )
            for row in range(header.rows):
                word, content = _binary_word(file), file.read(size)
                where = f"{path}, word {row + 1} of {header.rows}"
                if len(content) < size:
                    raise ModelFileError(f"{where}: the file ends in it")
                if b"\n" in word:
                    raise ModelFileError(f"{where}: {word[:60]!r} holds a line feed; has it {header.width} numbers?")
                try:
                    word.decode()
                except UnicodeDecodeError as error:
                    raise ModelFileError(f"{where}: {word[:60]!r} is not UTF-8") from error
                vectors[row] = np.frombuffer(content, np.float32)
                if not np.isfinite(vectors[row]).all():
                    raise ModelFileError(f"{where}, {word.decode()!r}: one of its numbers is not finite")
                words.write(b"\n" * (row > 0) + word)
            vectors.flush()
            if file.read().strip():
                raise ModelFileError(f"{path} announces {header.rows} words in its first line and holds more")


def _binary_word(file: IO[bytes]) -> bytes:
    """The bytes before the next blank; the line feed that some programs write after a row is no part of them."""
    word = bytearray()
    while (byte := file.read(1)) not in (b" ", b""):
        word += byte
    return bytes(word.removeprefix(b"\n"))


def _header(line: bytes) -> _Header | None:
    """Number of words and their width; GloVe has no such line."""
    match = _HEADER.fullmatch(line.removeprefix(_BYTE_ORDER_MARK))
    return _Header(int(match[1]), int(match[2])) if match else None


class _Rows:
    """The rows of one file: each is checked on its own, and all of them against the header.

    Attributes:
        count: rows so far.
        width: numbers of a row; 0 until it is known.
    """

    def __init__(self, path: Path, header: _Header | None) -> None:
        self.path = path
        self.header = header
        self.count = 0
        self.width = header.width if header else 0
        self._wider = 0  # rows whose word seems to end with a number
        self._returns = 0  # rows whose word holds a carriage return

    def parse(self, number: int, line: bytes) -> tuple[bytes, np.ndarray]:
        """A word, which may hold blanks itself, and its numbers (D,)."""
        row = line.removesuffix(b"\n").removesuffix(b"\r").rstrip(b" \t")
        if not self.width and self.header is None:
            self.width = _numbers_at_the_end(row)
        found = _split(row, self.width) if self.width else None
        if found is None:
            raise self._of_another_width(number, row)
        word, vector = found
        _, *more = _BLANK.split(word)
        if more and _is_number(more[-1]):  # `windows 95`, or a row that is longer than the others
            self._wider += 1
            if self.header is None:
                raise self._of_another_width(number, row)
        if more and self.header is None and word.strip() and word.strip(b" \t") != word:
            raise self._mistake(number, "its word begins or ends with a blank")
        if not np.isfinite(vector).all():
            raise self._mistake(number, "one of its numbers is not finite")
        try:
            word.decode()
        except UnicodeDecodeError as error:
            raise self._mistake(number, f"the word {word!r} is not UTF-8") from error
        self.count += 1
        self._returns += b"\r" in word
        return word, vector

    def check_end(self) -> None:
        """Raise ModelFileError where the rows are not those that the header announces."""
        if self.header and self.header.rows != self.count:
            raise ModelFileError(
                f"{self.path} announces {self.header.rows} words in its first line and holds {self.count}; "
                f"fetch it again, or correct that line"
            )
        if not self.count:
            raise ModelFileError(f"{self.path} holds no word vectors")
        if self._wider == self.count:
            raise ModelFileError(
                f"{self.path} announces {self.width} numbers a word in its first line, and every row has more; "
                f"fetch it again, or correct that line"
            )
        if self.count == self._returns == 1:
            raise ModelFileError(f"{self.path} has carriage returns where its lines should end; convert its line ends")

    def _of_another_width(self, number: int, row: bytes) -> ModelFileError:
        if not self.width:
            return self._mistake(number, f"no number ends {row[:60].decode(errors='replace')!r}{_hint(row)}")
        if _numbers_at_the_end(row) == self.width:
            return self._mistake(number, "it has no word")
        expected = f"the header says {self.width}" if self.header else f"the first row has {self.width}"
        return self._mistake(number, f"it has {_numbers_at_the_end(row)} numbers, and {expected}{_hint(row)}")

    def _mistake(self, number: int, what: str) -> ModelFileError:
        return ModelFileError(f"{self.path}, line {number} is not a word and its numbers: {what}")


def _split(row: bytes, width: int) -> tuple[bytes, np.ndarray] | None:
    """Word and numbers, which stand between single blanks or tabs; None where the row has none such.

    A tab may also stand behind the word alone: `New York<TAB>0.1 0.2`.
    """
    head, _, tail = row.rpartition(b"\t")
    for word, *numbers in (row.rsplit(b" ", width), row.rsplit(b"\t", width), [head, *tail.split(b" ")]):
        if word and len(numbers) == width and b"_" not in row[len(word) :]:  # Python reads 1_0 as 10
            try:
                with np.errstate(over="ignore"):
                    return word, np.array(numbers, dtype=np.float32)
            except ValueError:
                continue
    return None


def _hint(row: bytes) -> str:
    """What a row may be, where it is no text."""
    if row.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        return "; the file is compressed: unpack it"
    return "; the file is binary: save it as text" if b"\0" in row else ""


def _numbers_at_the_end(row: bytes) -> int:
    """How many numbers stand at the end of a row, its first piece not counted."""
    pieces = _BLANK.split(row)[1:]
    return next((place for place, piece in enumerate(reversed(pieces)) if not _is_number(piece)), len(pieces))


def _is_number(piece: bytes) -> bool:
    try:
        float(piece)
    except ValueError:
        return False
    return b"_" not in piece
