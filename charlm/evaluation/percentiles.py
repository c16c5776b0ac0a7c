"""Where a score lies among those of a model's own held-out documents.

Writes corpora/NAME/held-out-scores/*.parquet    the bits per byte of each of these documents, sorted

Each document is scored by itself, as the texts are that are compared with them. A pair's bits per byte are the mean of
both directions. Two million characters of test documents, chosen by their hashes, make a percentile certain to about
one; a corpus with less test text has all of them.
"""

# D = held-out documents, R = texts

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.arrays.arrow import numbers, to_numpy
from charlm.artifacts import CorpusFiles
from charlm.config import ScoreBounds
from charlm.evaluation.domains import write_whole_domains
from charlm.evaluation.held_out_limit import choose_documents, held_out_limit, write_documents
from charlm.evaluation.rows import AloneScorer
from charlm.language_models.digest import model_digest
from charlm.language_models.language_model import LanguageModel
from charlm.storage.atomic import atomic_write
from charlm.storage.fingerprints import fingerprint
from charlm.text.corpus.held_out import held_out_documents
from charlm.text.corpus.manifest import load_manifest

_MOST_CHARACTERS = 2_000_000
_COLUMN = "bits_per_byte"


def percentiles(values: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """For each value the percentage of the sorted `held_out` (D,) below it; an equal one counts half."""
    below = np.searchsorted(held_out, values, side="left")
    not_above = np.searchsorted(held_out, values, side="right")
    return np.where(np.isnan(values), np.nan, 50 * (below + not_above) / len(held_out))


def are_within(bounds: ScoreBounds, bits_per_byte: np.ndarray, percentile: np.ndarray | None = None) -> np.ndarray:
    """Which texts lie between the bounds, (R,) bool, by their scores, (R,) each; a score that is no number does not."""
    kept = np.ones(len(bits_per_byte), dtype=bool)
    for name, values in (("bits_per_byte", bits_per_byte), ("percentile", percentile)):
        low, high = getattr(bounds, f"min_{name}"), getattr(bounds, f"max_{name}")
        kept &= True if low is None else values >= low
        kept &= True if high is None else values <= high
    return kept


def held_out_bits(models: Mapping[str, LanguageModel], corpus: CorpusFiles) -> np.ndarray:
    """The bits per byte of held-out documents of `corpus` under models by direction, sorted, (D,).

    They are computed once for the same models and documents.
    """
    limit = min(held_out_limit() or _MOST_CHARACTERS, _MOST_CHARACTERS)
    text = load_manifest(corpus).files[corpus.test.name].sha256
    path = corpus.held_out_scores(fingerprint([text, limit, [model_digest(model) for model in models.values()]]))
    if path.is_file():
        known: np.ndarray = to_numpy(pq.read_table(path).column(_COLUMN).combine_chunks())
        return known
    with tempfile.TemporaryDirectory(prefix="charlm-held-out-") as folder:
        texts = list(_held_out_texts(corpus, limit, Path(folder)))
    directions = [AloneScorer(model).score(texts).bits_per_byte for model in models.values()]
    bits: np.ndarray = np.sort(np.mean(directions, axis=0))
    with atomic_write(path) as file:
        pq.write_table(pa.table({_COLUMN: numbers(bits)}), file)
    return bits


def _held_out_texts(corpus: CorpusFiles, limit: int, folder: Path) -> Iterator[bytes]:
    """About `limit` characters of test documents, of all domains, without their empty lines."""
    documents = held_out_documents(corpus, "test")
    chosen = choose_documents(documents, limit)
    for domain, whole in write_whole_domains(corpus, "test", folder).items():
        read = folder / "chosen.txt"
        write_documents(whole, documents[domain], chosen[domain], read)
        with read.open("rb") as file:
            for num_lines in documents[domain].lines[chosen[domain]].tolist():
                yield b"".join(file.readline() for _ in range(num_lines))
