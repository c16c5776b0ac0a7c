"""Named recipes: functions that return a full training configuration.

A variant is `dataclasses.replace(demo(), hidden_size=512)`. Budgets are in epochs or characters, never in time, so that
a recipe gives the same model on every machine.
"""

import dataclasses
from collections.abc import Callable, Sequence

from charlm.config import TrainingConfig, with_settings
from charlm.errors import ConfigError


def demo() -> TrainingConfig:
    """A small model of a few megabytes of text, trained within minutes on one core."""
    return TrainingConfig(recipe="demo", hidden_size=256, mini_batch_size=16, max_characters=5_000_000)


def cpu_small() -> TrainingConfig:
    """A model for daily use from a few CPU cores and an hour: tens of megabytes of text."""
    return TrainingConfig(
        recipe="cpu_small",
        hidden_size=512,
        mini_batch_size=32,
        learning_rate=5e-3,
        max_epochs=10,
        max_characters=100_000_000,
        validations=20,
    )


def gpu_base() -> TrainingConfig:
    """Hidden 1024 on one GPU: gigabytes of text."""
    return TrainingConfig(
        recipe="gpu_base",
        hidden_size=1024,
        dropout=0.05,
        sequence_length=250,
        mini_batch_size=100,
        learning_rate=3e-3,
        max_epochs=10,
        max_characters=5_000_000_000,
        validations=50,
    )


def gpu_large() -> TrainingConfig:
    """Hidden 2048, the size of Flair's news models: a billion words and more."""
    return dataclasses.replace(
        gpu_base(),
        recipe="gpu_large",
        hidden_size=2048,
        learning_rate=1.5e-3,
        max_characters=20_000_000_000,
        validations=100,
    )


def finetune() -> TrainingConfig:
    """Continues an existing model on new text, within minutes; width and depth are the model's."""
    return TrainingConfig(
        recipe="finetune",
        learning_rate=2e-3,
        max_epochs=4,
        max_characters=6_000_000,
        old_share=0.2,
    )


def flair_classic() -> TrainingConfig:
    """What Flair's LanguageModelTrainer does: SGD, clipping at 0.25, a rate cut when validation is stuck."""
    return TrainingConfig(
        recipe="flair_classic",
        hidden_size=1024,
        dropout=0.1,
        initialization="flair",
        sequence_length=250,
        mini_batch_size=100,
        optimizer="sgd",
        learning_rate=20.0,
        clip=0.25,
        schedule="plateau",
        validations=None,
        validation_characters=None,
        max_epochs=1000,
        precision="fp32",
    )


RECIPES: dict[str, Callable[[], TrainingConfig]] = {
    recipe.__name__: recipe for recipe in (demo, cpu_small, gpu_base, gpu_large, finetune, flair_classic)
}


def find_recipe(name: str) -> TrainingConfig:
    """The recipe called `name`; raises ConfigError that lists the ones there are."""
    if name not in RECIPES:
        raise ConfigError(f"no recipe named {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()


def changed_recipe(
    name: str, settings: Sequence[str], *, max_minutes: float | None = None, num_processes: int = 1
) -> TrainingConfig:
    """The recipe `name` with every `field=value` of `settings`; a budget in minutes takes the place of its own.

    Raises ConfigError where `num_processes` could not train it together.
    """
    config = find_recipe(name)
    if any(setting.partition("=")[0].strip() == "recipe" for setting in settings):
        raise ConfigError("the recipe is chosen with --recipe NAME; --set changes its other fields")
    if max_minutes is not None:
        config = dataclasses.replace(config, max_minutes=max_minutes, max_epochs=None, max_characters=None)
    config = with_settings(config, list(settings))
    config.check_divisible(num_processes)
    return config
