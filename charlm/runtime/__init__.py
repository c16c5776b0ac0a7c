"""Word embeddings without torch, from a folder that `charlm export --format onnx` has written.

    from charlm.runtime import load

    load("FOLDER").embed([["I", "love", "Berlin"]])  # -> [float32 array (3, D)]

NumPy and onnxruntime are all that this file needs: it imports nothing of charlm, and a copy of it is in every folder.
A vector is the state of the forward model behind the word, then that of the backward model before it, as those of
FlairEmbeddings (Akbik et al. 2018, "Contextual String Embeddings for Sequence Labeling").

Reads model.json, which names the other files and their checksums: a graph for each direction, and dictionary.json
"""

# T = steps of a call, B = texts read together, W = wanted states, H = width of a state, D = width of a vector

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = "charlm.onnx/1"
_SETTINGS = "model.json"
_ENCODINGS = {"char": ("utf-32-le", np.uint32), "byte": ("utf-8", np.uint8)}
_ROWS = 32  # texts of similar length that are read together
_UNITS = 1024  # of a call; after it, texts that have ended are dropped

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class FolderError(ValueError):
    """The folder, or what was to be embedded, is not what it should be; its text is one line."""


def load(folder: str | os.PathLike[str], *, threads: int | None = None) -> "Embedder":
    """The model in `folder`; `threads` are those of each call, by default as many as the machine has cores.

    Raises FolderError where a file is missing, damaged or of another version.
    """
    return Embedder(Path(folder), threads)


class Embedder:
    """The directions of one model.

    Attributes:
        dimensions: width of a vector, D.
        settings: what is known of the model: its origin, precision, and what the precision costs.
    """

    def __init__(self, folder: Path, threads: int | None) -> None:
        self.settings = _read_json(folder / _SETTINGS)
        if self.settings.get("format") != FORMAT:
            found = self.settings.get("format")
            raise FolderError(f"{folder} has the format {found!r}, this program reads {FORMAT!r}; export it again")
        try:
            unit, graphs = self.settings["unit"], self.settings["graphs"]
            contents = {name: _checked(folder / name, digest) for name, digest in self.settings["sha256"].items()}
            items = json.loads(contents[self.settings["dictionary"]["file"]])["items"]
            self._encode = _Encoder(unit, items)
            before, behind = map(self._encode, (self.settings["document_delimiter"], " "))
            self._directions = [
                _Direction(_session(contents[graph], threads), before, behind, is_forward=name == "forward")
                for name, graph in graphs.items()
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise FolderError(f"{folder / _SETTINGS} is damaged ({error!r}); export the model again") from error
        self.dimensions = sum(direction.dimensions for direction in self._directions)

    def embed(self, sentences: Sequence[Sequence[str]]) -> list[Vectors]:
        """The vectors of the words of each sentence, (words, D); one call is faster than many."""
        if isinstance(sentences, str) or any(isinstance(words, str) for words in sentences):
            raise FolderError('embed takes a list of sentences, each a list of words: [["I", "love", "Berlin"]]')
        texts = [self._encode(" ".join(words)) for words in sentences]
        lengths = [np.fromiter(map(self._encode.length, words), np.int64, len(words)) for words in sentences]
        columns = [direction.states(texts, lengths) for direction in self._directions]
        return [np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True)]


class _Encoder:
    """Text to ids, by a table with an entry for each code point or byte; 0 is what the dictionary does not have."""

    def __init__(self, unit: str, items: Sequence[str]) -> None:
        self._name, self._type = _ENCODINGS[unit]
        known = {ord(item): idx for idx, item in enumerate(items) if len(item) == 1}
        self._table = np.zeros(max(known, default=0) + 2, np.int64)  # the last entry is for all codes above
        self._table[list(known)] = list(known.values())

    def __call__(self, text: str) -> Ids:
        try:
            errors = "surrogatepass" if self._type is np.uint32 else "strict"
            codes = np.frombuffer(text.encode(self._name, errors), self._type)
        except UnicodeEncodeError as error:
            raise FolderError(f"{text!r:.80} is no text: {error.reason} at character {error.start}") from error
        return np.take(self._table, codes, mode="clip")

    def length(self, word: str) -> int:
        """The number of ids of a word."""
        return len(word) if self._type is np.uint32 else len(word.encode(self._name))


class _Direction:
    """One language model: reads `delimiter + text + " "`, a backward one with the text from its end."""

    def __init__(self, session: Any, before: Ids, behind: Ids, *, is_forward: bool) -> None:
        self._session, self._before, self._behind, self._is_forward = session, before, behind, is_forward
        # Beside `ids` (T, B) and `places` (W,) a graph takes the states before the first step, (1, B, H) each.
        self._sizes = {one.name: one.shape[2] for one in session.get_inputs() if one.name not in ("ids", "places")}
        self.dimensions: int = session.get_outputs()[0].shape[1]

    def states(self, texts: Sequence[Ids], lengths: Sequence[Ids]) -> list[Vectors]:
        """The states at the words of every text, from the lengths of its words, (words, D of the direction)."""
        found = [np.empty((len(words), self.dimensions), np.float32) for words in lengths]
        full = [number for number, words in enumerate(lengths) if len(words)]
        if len(full) == 1 and len(texts[full[0]]) < _UNITS:
            found[full[0]] = self._read_one(texts[full[0]], lengths[full[0]])
            return found
        full.sort(key=lambda number: -len(texts[number]))
        for begin in range(0, len(full), _ROWS):
            rows = full[begin : begin + _ROWS]
            places = [self._places(lengths[row]) for row in rows]
            for row, states in zip(rows, self._read([texts[row] for row in rows], places), strict=True):
                found[row][:] = states
        return found

    def _read_one(self, text: Ids, lengths: Ids) -> Vectors:
        """What `_read` gives for one text alone, which is what most requests have."""
        ids = np.concatenate([self._before, text if self._is_forward else text[::-1], self._behind])
        feeds = {name: np.zeros((1, 1, size), np.float32) for name, size in self._sizes.items()}
        vectors: Vectors = self._session.run(None, feeds | {"ids": ids[:, None], "places": self._places(lengths)})[0]
        return vectors

    def _places(self, lengths: Ids) -> Ids:
        """Where the state of each word is: at the space that is read after it."""
        ends = np.cumsum(lengths + 1)
        places = ends - 1 if self._is_forward else ends[-1] - 1 - (ends - 1 - lengths)
        return np.asarray(places + len(self._before))

    def _read(self, texts: Sequence[Ids], places: Sequence[Ids]) -> Iterator[Vectors]:
        """The states at the places of each text; texts are sorted longest first."""
        start = len(self._before)
        lengths = np.array([start + len(text) + 1 for text in texts])
        ids = np.full((lengths[0], len(texts)), self._behind)  # (T, B)
        ids[:start] = self._before[:, None]
        for row, text in enumerate(texts):
            ids[start : lengths[row] - 1, row] = text if self._is_forward else text[::-1]
        counts = [len(one) for one in places]
        times, rows = np.concatenate(places), np.repeat(np.arange(len(texts)), counts)
        found = np.empty((len(times), self.dimensions), np.float32)
        states = [np.zeros((1, len(texts), size), np.float32) for size in self._sizes.values()]
        begin = 0
        while begin < lengths[0]:
            active = int(np.searchsorted(-lengths, -begin))  # texts that are longer
            end = begin + max(1, _UNITS // active)
            (wanted,) = np.nonzero((times >= begin) & (times < end))
            feeds = {name: state[:, :active] for name, state in zip(self._sizes, states, strict=True)}
            feeds["ids"] = ids[begin:end, :active]
            feeds["places"] = (times[wanted] - begin) * active + rows[wanted]
            found[wanted], *states = self._session.run(None, feeds)
            begin = end
        yield from np.split(found, np.cumsum(counts)[:-1])


def _session(graph: bytes, threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = False  # shapes change from call to call
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes that it does not show
        reason = " ".join(str(error).split())[:200]
        raise FolderError(f"onnxruntime {onnxruntime.__version__} cannot load the graph: {reason}") from error


def _checked(path: Path, digest: str) -> bytes:
    content = _content(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise FolderError(f"{path} is not the file that the model was exported with; export it again")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_content(path))
    except ValueError as error:
        raise FolderError(f"{path} is damaged ({error}); export the model again") from error
    return value if isinstance(value, dict) else {}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FolderError(f"cannot read {path}: {error.strerror}; give a folder of `charlm export`") from error
