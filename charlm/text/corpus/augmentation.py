"""Read an encoded shard as one epoch of training does: shuffled lines, a few in another case, backward if configured.

Reads  encoded/FINGERPRINT/*.arrow

All of it works on ids, each time that a shard is read.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from charlm.arrays.arrow import binary_values, take_numbers, to_numpy
from charlm.data.dictionary import Dictionary
from charlm.text.corpus.encoding import open_rows

_LOWER, _UPPER, _FLIP_SIDES = 0, 1, 100  # the sides of a die with 100 sides that flip a line
_LINES_PER_TAKE = 1 << 15


def training_ids(
    path: Path, dictionary: Dictionary, *, seed: int, shuffle: bool, random_case_flip: bool, is_forward_lm: bool
) -> np.ndarray:
    """The ids of a train shard as one epoch reads them, in the stored type; equal arguments give equal ids.

    Lines are shuffled uniformly; of 100 lines about one is lower-cased and one upper-cased; a backward model reads all
    of it from the end. A character whose case mapping is longer than itself (`ß`, `ŉ`, `İ`) keeps its case, where Flair
    would write the mapping out; `<unk>` stays `<unk>`; of the byte unit only ASCII letters are flipped.
    """
    generator = np.random.default_rng(seed)
    ids, ends = _read_lines(path, dictionary.id_type, generator if shuffle else None)
    if random_case_flip:
        _flip_case(ids, ends, dictionary, generator)
    return ids if is_forward_lm else np.ascontiguousarray(ids[::-1])


def _read_lines(
    path: Path, id_type: np.dtype[np.unsignedinteger], generator: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of a file and the end of each line in them, in an order of `generator` where there is one.

    Lines are taken from the memory-mapped pages. Every record batch adds a value for the bytes before it, and one for
    each of its lines.
    """
    pages, batches = open_rows(path)
    offsets, lines = [np.zeros(1, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    num_values = num_ids = 0
    for rows in batches:
        start = rows.values.buffers()[-1].address - pages.address
        offsets.append(start + to_numpy(rows.offsets) * id_type.itemsize)
        lines.append(np.arange(num_values + 1, num_values + 1 + len(rows)))
        num_values += 1 + len(rows)
        num_ids += len(rows.values)
    values, order = binary_values(pages, np.concatenate(offsets)), np.concatenate(lines)
    if generator is not None:
        generator.shuffle(order)
    ids, ends = np.empty(num_ids, dtype=id_type), np.empty(len(order), dtype=np.int64)
    num_taken = 0
    for part in range(0, len(order), _LINES_PER_TAKE):  # in parts, so that Arrow uses the same memory again
        some_ids, some_ends = take_numbers(values, order[part : part + _LINES_PER_TAKE], id_type)
        ids[num_taken : num_taken + len(some_ids)] = some_ids
        ends[part : part + _LINES_PER_TAKE] = num_taken + some_ends
        num_taken += len(some_ids)
    return ids, ends


def _flip_case(ids: np.ndarray, ends: np.ndarray, dictionary: Dictionary, generator: np.random.Generator) -> None:
    """Lower-case one line in a hundred and upper-case another one, in place."""
    die = generator.integers(_FLIP_SIDES, size=len(ends))
    for side, change in ((_LOWER, str.lower), (_UPPER, str.upper)):
        places = _places_of_lines(np.flatnonzero(die == side), ends)
        before = ids[places]
        ids[places] = _case_table(dictionary, change)[before]
        if side == _LOWER:
            _write_final_sigmas(ids, places, before, dictionary)


def _places_of_lines(lines: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The index of every id of the given lines."""
    starts = np.where(lines > 0, ends[lines - 1], 0)
    lengths = ends[lines] - starts
    shift = starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    return np.repeat(shift, lengths) + np.arange(lengths.sum())


def _case_table(dictionary: Dictionary, change: Callable[[str], str]) -> np.ndarray:
    """The id of every item after `change`; its own id where the result is more than one item."""
    unit = dictionary.unit_of
    table = np.arange(len(dictionary), dtype=dictionary.id_type)
    for idx, item in enumerate(dictionary.get_items()):
        if idx > 0 and (changed := unit.with_case(item, change)) != item:
            table[idx] = dictionary.get_idx_for_item(unit.to_item(changed))
    return table


def _write_final_sigmas(ids: np.ndarray, places: np.ndarray, before: np.ndarray, dictionary: Dictionary) -> None:
    """Write `ς` for a lower-cased `Σ` at the end of a word: the one character whose lower case depends on others.

    `before` are the ids that stood at `places` in upper and lower case.
    """
    capital = dictionary.item2idx.get("Σ".encode(), 0)
    if not dictionary.unit_of.case_depends_on_neighbours or not capital or not np.any(before == capital):
        return
    text = dictionary.decode(before.tolist()).replace("İ", "I")  # the one character that would grow
    is_final = np.array([character == "ς" for character in text.lower()], dtype=bool)
    ids[places[is_final & (before == capital)]] = dictionary.get_idx_for_item("ς")
