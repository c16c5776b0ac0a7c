"""Continue an existing language model on other text.

Direction and dictionary are the model's, because its ids have no meaning in another dictionary. Unknown characters of
the new text stay `<unk>`, or get new ids after the old ones.
"""

import dataclasses

from charlm.artifacts import CorpusFiles
from charlm.config import ARCHITECTURE, DictionaryConfig, TrainingConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ConfigError
from charlm.language_models.language_model import LanguageModel
from charlm.text.corpus.counting import choose_items, count_text, read_counts
from charlm.text.corpus.manifest import load_manifest
from charlm.units.counts import Counts
from charlm.units.unit import Unit, find_unit, unit_of_split


def initial_model(model: LanguageModel, corpus: CorpusFiles, *, extend_dictionary: bool) -> LanguageModel:
    """The model that a fine-tuning of `model` on `corpus` starts from.

    Raises ConfigError when the model cannot predict, or its unit is not the corpus's.
    """
    unit = find_unit(load_manifest(corpus).split.unit)
    if find_unit(model.unit) is not unit:
        raise ConfigError(f"the model's unit is {model.unit}, that of the corpus {corpus.name!r} is {unit.name}")
    if model.decoder is None:
        raise ConfigError("the model was saved without its decoder; a model that cannot predict cannot be fine-tuned")
    return model.with_dictionary(extended(model.dictionary, corpus)) if extend_dictionary else model


def extended(dictionary: Dictionary, corpus: CorpusFiles) -> Dictionary:
    """`dictionary` extended at its end by the units that the corpus's own cut-off keeps."""
    record = load_manifest(corpus).dictionary
    config = record.config if record is not None else DictionaryConfig()
    result = Dictionary.from_json(dictionary.to_json())
    for item in choose_items(_counts(corpus, dictionary.unit_of), config, dictionary.unit_of):
        result.add_item(item)
    return result


def _counts(corpus: CorpusFiles, unit: Unit) -> Counts:
    """The counts of a corpus by `unit`; they are taken anew where the corpus was cut into other words."""
    if unit_of_split(load_manifest(corpus).split) == unit:
        return read_counts(corpus.total_counts)
    return Counts.merge([count_text(shard, unit) for shard in corpus.shards()]).ranked()


def adapted(config: TrainingConfig, model: LanguageModel) -> TrainingConfig:
    """`config` with the architecture of `model`, which fine-tuning cannot change."""
    return dataclasses.replace(config, **{name: getattr(model.config, name) for name in ARCHITECTURE})
