"""Settings say in one line what is wrong with them."""

from typing import Any

import pytest

from charlm.config import (
    DictionaryConfig,
    DownstreamConfig,
    DriftConfig,
    GateConfig,
    ReadConfig,
    RunConfig,
    SplitConfig,
    TrainingConfig,
)
from charlm.config.language_model import LanguageModelConfig
from charlm.errors import CharLMError, ConfigError

BUDGET = {"max_epochs": 1}


@pytest.mark.parametrize(
    ("config", "field", "value", "kind"),
    [
        (TrainingConfig, "hidden_size", 256.5, "a whole number"),
        (TrainingConfig, "hidden_size", "256", "a whole number"),
        (TrainingConfig, "hidden_size", True, "a whole number"),
        (TrainingConfig, "hidden_size", None, "a whole number"),
        (TrainingConfig, "nout", 1.5, "a whole number or none"),
        (TrainingConfig, "learning_rate", "fast", "a number"),
        (TrainingConfig, "learning_rate", False, "a number"),
        (TrainingConfig, "max_minutes", [1], "a number or none"),
        (TrainingConfig, "shuffle_lines", 1, "true or false"),
        (TrainingConfig, "recipe", 7, "text"),
        (DownstreamConfig, "max_epochs", 2.5, "a whole number"),
        (SplitConfig, "shard_size", "50MB", "a whole number"),
        (SplitConfig, "valid_share", "0.1", "a number"),
        (DictionaryConfig, "max_size", 3.5, "a whole number or none"),
        (ReadConfig, "text_column", 3, "text or none"),
        (GateConfig, "margin", "small", "a number"),
        (DriftConfig, "seed", 1.5, "a whole number"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_field(config: Any, field: str, value: Any, kind: str) -> None:
    settings = (BUDGET if config is TrainingConfig else {}) | {field: value}
    with pytest.raises(ConfigError, match=f"^{field} is {kind}, got ") as caught:
        config.from_json(settings)
    assert "\n" not in str(caught.value)


def test_a_whole_number_will_do_where_a_number_is_wanted() -> None:
    assert TrainingConfig(learning_rate=1, max_epochs=2).learning_rate == 1


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ConfigError, match="RunConfig needs a value for 'corpus_dir'"):
        RunConfig.from_json({"run_dir": "run", "direction": "forward", "training": BUDGET})


def test_the_settings_inside_a_run_are_checked_too() -> None:
    run = {"run_dir": "run", "corpus_dir": "corpus", "direction": "forward"}
    with pytest.raises(ConfigError, match="hidden_size is a whole number"):
        RunConfig.from_json({**run, "training": BUDGET | {"hidden_size": "256"}})


def test_the_settings_of_a_model_file_are_checked_as_strictly() -> None:
    with pytest.raises(CharLMError, match="hidden_size is a number from 1 to"):
        LanguageModelConfig(is_forward_lm=True, hidden_size=256.5, nlayers=1)  # type: ignore[arg-type]


def test_every_configuration_comes_back_from_json() -> None:
    for config in (
        TrainingConfig(**BUDGET),
        DownstreamConfig(),
        SplitConfig(),
        DictionaryConfig(),
        ReadConfig(deduplicate=True),
        GateConfig(),
        DriftConfig(),
    ):
        assert type(config).from_json(config.to_json()) == config
