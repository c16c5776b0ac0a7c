"""Continue an existing language model on other text.

Direction and architecture are the model's, and so is its dictionary, because ids have no meaning in another one. What
it does not know of the new text stays `<unk>`; or the dictionary is extended at its end; or the model moves to the
dictionary of the new text, with the weights of all items that it knows.
"""

import dataclasses

from charlm.artifacts import CorpusFiles
from charlm.config import ARCHITECTURE, DictionaryChange, DictionaryConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError
from charlm.language_models.language_model import LanguageModel
from charlm.nn.cutoffs import choose_cutoffs
from charlm.serialization.new_dictionary import mapped_state
from charlm.text.corpus.counting import choose_items, count_text, load_dictionary, read_counts
from charlm.text.corpus.manifest import load_manifest
from charlm.trainers.lm.given_vectors import start_at_vectors
from charlm.units.counts import Counts
from charlm.units.unit import Unit, find_unit, unit_of_split


@dataclasses.dataclass(frozen=True)
class InitialModel:
    """What a fine-tuning starts from."""

    model: LanguageModel

    new: int
    """Items that the model before did not know."""

    from_vectors: int
    """Those of them that start at a given vector."""


def initial_model(model: LanguageModel, corpus: CorpusFiles, change: DictionaryChange) -> InitialModel:
    """What a fine-tuning of `model` on `corpus` starts from.

    Raises ConfigError when the model cannot predict, its unit is not the corpus's, or vectors do not fit.
    """
    unit = find_unit(load_manifest(corpus).split.unit)
    if find_unit(model.unit) is not unit:
        raise ConfigError(f"the model's unit is {model.unit}, that of the corpus {corpus.name!r} is {unit.name}")
    if model.decoder is None:
        raise ConfigError("the model was saved without its decoder; a model that cannot predict cannot be fine-tuned")
    if change.kind == "keep":
        return InitialModel(model, 0, 0)
    changed = (
        mapped(model, corpus) if change.kind == "map" else model.with_dictionary(extended(model.dictionary, corpus))
    )
    new = [item for item in changed.dictionary.idx2item if item not in model.dictionary.item2idx]
    given = 0 if change.vectors is None else start_at_vectors(changed, model, change.vectors)
    return InitialModel(changed, len(new), given)


def extended(dictionary: Dictionary, corpus: CorpusFiles) -> Dictionary:
    """`dictionary` extended at its end by the units that the corpus's own cut-off keeps."""
    record = load_manifest(corpus).dictionary
    config = record.config if record is not None else DictionaryConfig()
    result = Dictionary.from_json(dictionary.to_json())
    for item in choose_items(_counts(corpus, dictionary.unit_of), config, dictionary.unit_of):
        result.add_item(item)
    return result


def mapped(model: LanguageModel, corpus: CorpusFiles) -> LanguageModel:
    """`model` with the dictionary of the corpus, and so with its tokenizer; known items keep their weights."""
    dictionary = load_dictionary(corpus)
    cutoffs: tuple[int, ...] = ()
    if model.cutoffs:
        cutoffs = choose_cutoffs(read_counts(corpus.total_counts).by_id(dictionary.get_items()))
    return LanguageModel.from_state(mapped_state(model.language_model_state(), dictionary, cutoffs))


def _counts(corpus: CorpusFiles, unit: Unit) -> Counts:
    """The counts of a corpus by `unit`; they are taken anew where the corpus was cut into other words."""
    if unit_of_split(load_manifest(corpus).split) == unit:
        return read_counts(corpus.total_counts)
    return Counts.merge([count_text(shard, unit) for shard in corpus.shards()]).ranked()


def adapted(config: TrainingConfig, model: LanguageModel) -> TrainingConfig:
    """`config` with the architecture of `model`, which fine-tuning cannot change."""
    return dataclasses.replace(config, **{name: getattr(model.config, name) for name in ARCHITECTURE})
