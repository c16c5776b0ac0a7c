"""The n-gram model of a corpus and its scores: what a language model has to beat.

Reads  encoded/FINGERPRINT/*.arrow
Writes baseline/order-5-forward.safetensors, baseline/order-5.json: caches of the text
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.config import BaselineConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import CorpusError, ModelFileError
from charlm.evaluation.domains import write_domains
from charlm.evaluation.scores import Baseline, LMScore
from charlm.language_models.ngrams import NgramConfig, NgramModel
from charlm.storage.atomic import read_json, write_json
from charlm.storage.fingerprints import fingerprint
from charlm.text.corpus.encoding import EncodedInfo, encode_file, encoded_info, ensure_encoded, read_ids, split_files
from charlm.text.corpus.manifest import load_manifest

_FORMAT = "charlm.baseline/1"


def score_baseline(corpus: CorpusFiles, config: BaselineConfig | None = None) -> Baseline:
    """The scores of the n-gram model of a corpus, which is trained where that was not done for the present text.

    Those of a model that has counted more of the same text are as good.
    """
    config = config or BaselineConfig()
    source = _source(corpus, config)
    stored = _stored(corpus, config.order)
    if stored is not None:
        known = stored.baseline
        if stored.source == source or known.share == 1 or known.units >= config.max_units:
            return known
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    model = open_ngrams(corpus, config)
    scores = {}
    for split, encoded in ensure_encoded(corpus, dictionary, ["valid", "test"]).items():
        scores[split] = score_ngrams(model, encoded, encoded_info(encoded, dictionary), dictionary).to_json()
    baseline = Baseline(
        order=config.order,
        units=model.config.units,
        share=model.config.units / sum(_train_units(corpus, dictionary).values()),
        ngrams=model.num_ngrams,
        valid=scores["valid"],
        test=scores["test"],
    )
    write_json(
        corpus.baseline(config.order), {"source": source, "text": _text(corpus, dictionary), **baseline.to_json()}
    )
    return baseline


def known_baseline(corpus: CorpusFiles, order: int = BaselineConfig.order) -> Baseline | None:
    """The scores of the n-gram model that was trained last on the present text, or a part of it; none without one."""
    stored = _stored(corpus, order)
    return None if stored is None else stored.baseline


@dataclasses.dataclass(frozen=True)
class _Stored:
    source: str
    baseline: Baseline


def _stored(corpus: CorpusFiles, order: int) -> _Stored | None:
    """What is stored for the present text."""
    file = corpus.baseline(order)
    if not file.is_file():
        return None
    known = read_json(file, remedy="delete it; it is made again", error=CorpusError)
    source = known.pop("source", "")
    if known.pop("text", None) != _text(corpus, Dictionary.load_from_file(corpus.dictionary)):
        return None
    return _Stored(source, Baseline(**known))


def score_baseline_by_domain(
    corpus: CorpusFiles, config: BaselineConfig | None = None, split: str = "test"
) -> dict[str, LMScore]:
    """The score of the n-gram model on the held-out text of each domain of a corpus."""
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    model = open_ngrams(corpus, config or BaselineConfig())
    scores = {}
    with tempfile.TemporaryDirectory(prefix="charlm-domains-") as folder:
        for domain, path in write_domains(corpus, split, Path(folder)).items():
            encoded = path.with_suffix(".arrow")
            info = encode_file(path, encoded, dictionary)
            if info.units:
                scores[domain] = score_ngrams(model, encoded, info, dictionary)
    return scores


def score_ngrams(model: NgramModel, encoded: Path, info: EncodedInfo, dictionary: Dictionary) -> LMScore:
    """The score of an n-gram model on an encoded file, which `info` describes; each unit counts, as for others."""
    return LMScore(
        nats=float(model.nats(read_ids(encoded)).sum(dtype=np.float64)),
        units=info.units,
        characters=info.characters,
        bytes=info.bytes,
        unknown=info.unknown,
        unknown_bits=info.unknown_bits,
        unit=dictionary.unit,
    )


def open_ngrams(
    corpus: CorpusFiles, config: BaselineConfig, direction: str = "forward", *, dictionary: Dictionary | None = None
) -> NgramModel:
    """The n-gram model of the training text of a corpus: the stored one, or a new one where the text is another.

    With `dictionary`, of the text in its ids; where they are not those of the corpus, the model is not stored.
    """
    source = _source(corpus, config)
    file = corpus.ngrams(config.order, direction)
    own = Dictionary.load_from_file(corpus.dictionary)
    is_own = dictionary is None or dictionary == own
    if is_own and file.is_file():
        try:
            model = NgramModel.load(file)
        except ModelFileError:  # it is a cache: damaged, it is made again
            pass
        else:
            if model.config.source == source:
                return model
    dictionary = own if is_own or dictionary is None else dictionary
    newline = dictionary.get_idx_for_item("\n")
    ids = _train_ids(corpus, dictionary, newline, config.max_units)
    model = NgramModel.train(
        ids,
        NgramConfig(
            order=config.order,
            num_items=len(dictionary),
            newline=newline,
            is_forward=direction == "forward",
            source=source,
            units=len(ids),
        ),
    )
    if is_own:
        model.save(file)
    return model


def _source(corpus: CorpusFiles, config: BaselineConfig) -> str:
    dictionary = Dictionary.load_from_file(corpus.dictionary)
    return fingerprint([_FORMAT, load_manifest(corpus).fingerprint, dictionary.fingerprint, dataclasses.asdict(config)])


def _text(corpus: CorpusFiles, dictionary: Dictionary) -> str:
    return fingerprint([_FORMAT, load_manifest(corpus).fingerprint, dictionary.fingerprint])


def _train_units(corpus: CorpusFiles, dictionary: Dictionary) -> dict[Path, int]:
    """The units of each encoded train shard; missing ones are encoded."""
    names = [name for name in split_files(corpus) if name not in ("valid", "test")]
    encoded = ensure_encoded(corpus, dictionary, names)
    return {path: encoded_info(path, dictionary).units for path in encoded.values()}


def _train_ids(corpus: CorpusFiles, dictionary: Dictionary, newline: int, max_units: int) -> np.ndarray:
    """The ids of the training text in the order of the shards; of more than `max_units`, the first lines of each."""
    units = _train_units(corpus, dictionary)
    total = sum(units.values())
    parts = []
    for path, num_units in units.items():
        ids = read_ids(path)
        if total > max_units:
            ids = ids[: num_units * max_units // total]
            (ends,) = np.nonzero(ids == newline)
            ids = ids[: ends[-1] + 1 if len(ends) else 0]
        parts.append(ids)
    ids = np.concatenate(parts) if parts else np.empty(0, dtype=dictionary.id_type)
    if total and not len(ids):
        raise CorpusError(f"max_units={max_units} holds no whole line of the training text; raise it")
    return ids
