"""TextCorpus: the train shards and held-out texts of one folder, as streams of ids.

Reads encoded/FINGERPRINT/*.arrow of a prepared corpus, where missing files are encoded first. A plain folder of text
files belongs to the user: its encoded form lies in a temporary folder, which vanishes with the corpus. Shards are
memory-mapped; only the current and the next one are in memory, as the small integers they are stored in.
"""

# B = mini-batch size = number of streams, R = rows of a shard = units of each stream

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError, CorpusError
from charlm.text.corpus.augmentation import training_ids
from charlm.text.corpus.encoding import EncodedInfo, encode_file, encoded_info, ensure_encoded, split_files
from charlm.text.corpus.manifest import CorpusManifest, FileRecord

Prepared = TypeVar("Prepared")
"""What becomes of a shard's streams before the training gets them."""

_BYTES_TOGETHER = 100_000_000  # of the shards whose ids are in memory at once; as much again is read ahead


class TextCorpus:
    """A folder with `train/`, `valid.txt` and `test.txt`, read in one direction through one dictionary.

    `shard_groups` names the train split files to read, in groups: the streams of a group run through all its files side
    by side. By default the files are read one after the other.

    Raises CorpusError when a part of the folder is missing, or has no text.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dictionary: Dictionary,
        forward: bool = True,
        character_level: bool = True,
        random_case_flip: bool = True,
        document_delimiter: str = "\n",
        *,
        shuffle: bool = True,
        shard_groups: Sequence[Sequence[str]] | None = None,
    ) -> None:
        if document_delimiter != "\n":
            raise ConfigError(f"a line is a document here: document_delimiter is '\\n', got {document_delimiter!r}")
        if not character_level and dictionary.unit_of.items_are_characters:
            raise ConfigError(
                f"character_level=False reads words, and the unit of this dictionary is the {dictionary.unit_of.noun}; "
                f"prepare the text with the unit word"
            )
        self.files = CorpusFiles(Path(path))
        self.dictionary = dictionary
        self.forward = forward
        self.random_case_flip = random_case_flip
        self.shuffle = shuffle
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        encoded = self._encode()
        self.valid = encoded["valid"]
        self.test = encoded["test"]
        groups = [[name] for name in encoded if name not in ("valid", "test")] if shard_groups is None else shard_groups
        self.shards = [[encoded[name] for name in group] for group in groups]
        self._infos = [[encoded_info(path, dictionary) for path in group] for group in self.shards]
        if not any(self._units):
            raise CorpusError(f"{self.files.train_dir} holds no text")

    def _encode(self) -> dict[str, Path]:
        """The encoded file of each split."""
        if self.files.manifest.is_file():
            return ensure_encoded(self.files, self.dictionary)
        self._temporary = tempfile.TemporaryDirectory(prefix="charlm-encoded-")
        encoded = {}
        for name, path in split_files(self.files).items():
            encoded[name] = Path(self._temporary.name) / f"{name}.arrow"
            encode_file(path, encoded[name], self.dictionary)
        return encoded

    @property
    def num_units(self) -> int:
        """Units of all train shards."""
        return sum(self._units)

    @property
    def characters_per_unit(self) -> float:
        """Characters of the text in a unit, at least 1: a byte counts as a character."""
        infos = self.infos
        return max(1.0, sum(info.characters for info in infos) / sum(info.units for info in infos))

    @property
    def infos(self) -> list[EncodedInfo]:
        """What is in each train shard."""
        return [info for group in self._infos for info in group]

    @property
    def _units(self) -> list[int]:
        """Units of each group."""
        return [sum(info.units for info in group) for group in self._infos]

    def trained_units(self, mini_batch_size: int) -> int:
        """Units that one epoch predicts: what is left of each shard when it is cut into equal streams.

        Raises CorpusError when no shard is long enough for two units in each stream.
        """
        rows = [units // mini_batch_size for units in self._units]
        trained = sum((row - 1) * mini_batch_size for row in rows if row > 1)
        if trained == 0:
            longest = max(self._units)
            raise CorpusError(
                f"the longest train shard in {self.files.train_dir} has {longest} {self.dictionary.unit_of.plural}; "
                f"mini_batch_size={mini_batch_size} needs at least {2 * mini_batch_size}. "
                "Lower mini_batch_size, or prepare more text or larger shards."
            )
        return trained

    def shard_order(self, seed: int, epoch: int) -> list[int]:
        """The shards of an epoch in the random order in which they are read."""
        if not self.shuffle:
            return list(range(len(self.shards)))
        order: list[int] = np.random.default_rng([seed, epoch]).permutation(len(self.shards)).tolist()
        return order

    def streams(self, shard: int, mini_batch_size: int, *, seed: int, epoch: int) -> np.ndarray:
        """A shard or group of shards as equal streams side by side, (R, B), of the ids' stored type."""
        paths = self.shards[shard]
        seeds = np.random.SeedSequence([seed, epoch, shard]).generate_state(len(paths), np.uint64)
        parts = [
            training_ids(
                path,
                self.dictionary,
                seed=int(own_seed),
                shuffle=self.shuffle,
                random_case_flip=self.random_case_flip,
                is_forward_lm=self.forward,
            )
            for path, own_seed in zip(paths, seeds, strict=True)
        ]
        ids = parts[0] if len(parts) == 1 else np.concatenate(parts)
        rows = len(ids) // mini_batch_size
        return ids[: rows * mini_batch_size].reshape(mini_batch_size, rows).T  # a view: shards can be large


def choose_shards(
    manifest: CorpusManifest, *, old_share: float, seed: int, known_revision: int | None = None
) -> list[FileRecord]:
    """The shards of the new revisions, and shards of earlier ones that make up `old_share` of their characters.

    New is what came after `known_revision`, by default the newest revision alone.
    """
    num_old = manifest.revision - 1 if known_revision is None else known_revision
    chosen = [file for revision in manifest.revisions[num_old:] for file in revision.train_files]
    old = [file for revision in manifest.revisions[:num_old] for file in revision.train_files]
    remaining = old_share * sum(file.characters for file in old)
    for position in np.random.default_rng(seed).permutation(len(old)):
        if remaining <= 0:
            break
        chosen.append(old[position])
        remaining -= old[position].characters
    return chosen


def side_by_side(shards: Sequence[FileRecord]) -> list[list[str]]:
    """Groups of shards that are read together, by name: at least two each, and about 100 MB.

    Neighbours in `shards`, such as those of one revision, come into different groups: a model that reads one kind of
    text and then another forgets the first.
    """
    num_bytes = sum(file.bytes for file in shards)
    num_groups = max(1, min(math.ceil(num_bytes / _BYTES_TOGETHER), len(shards) // 2))
    names = [Path(file.name).name for file in shards]
    return [names[number::num_groups] for number in range(num_groups)]


class ShardReader(Generic[Prepared]):
    """Reads the streams of shard after shard, always one ahead in the background, where `prepare` takes them over."""

    def __init__(
        self, corpus: TextCorpus, mini_batch_size: int, *, seed: int, prepare: Callable[[np.ndarray], Prepared]
    ) -> None:
        self._corpus = corpus
        self._mini_batch_size = mini_batch_size
        self._seed = seed
        self._prepare = prepare
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shard-reader")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read_from(self, epoch: int, split: int) -> Iterator[Prepared]:
        """The streams of every shard from place `split` in the order of `epoch` on, without end."""
        places = self._places(epoch, split)
        ahead: Future[Prepared] = self._submit(*next(places))
        while True:
            current, ahead = ahead, self._submit(*next(places))
            yield current.result()

    def _places(self, epoch: int, split: int) -> Iterator[tuple[int, int]]:
        while True:
            for shard in self._corpus.shard_order(self._seed, epoch)[split:]:
                yield epoch, shard
            epoch, split = epoch + 1, 0

    def _submit(self, epoch: int, shard: int) -> "Future[Prepared]":
        return self._pool.submit(self._read, epoch, shard)

    def _read(self, epoch: int, shard: int) -> Prepared:
        return self._prepare(self._corpus.streams(shard, self._mini_batch_size, seed=self._seed, epoch=epoch))
