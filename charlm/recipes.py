"""Named recipes: functions that return a full training configuration.

A variant is `dataclasses.replace(demo(), hidden_size=512)`. Budgets are in epochs or characters, never in time, so that
a recipe gives the same model on every machine.
"""

from collections.abc import Callable

from charlm.config import TrainingConfig
from charlm.errors import ConfigError


def demo() -> TrainingConfig:
    """A small model of a few megabytes of text, trained within minutes on one core."""
    return TrainingConfig(recipe="demo", hidden_size=256, mini_batch_size=16, max_characters=5_000_000)


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
        max_epochs=1000,
        precision="fp32",
    )


RECIPES: dict[str, Callable[[], TrainingConfig]] = {recipe.__name__: recipe for recipe in (demo, flair_classic)}


def find_recipe(name: str) -> TrainingConfig:
    """The recipe called `name`; raises ConfigError that lists the ones there are."""
    if name not in RECIPES:
        raise ConfigError(f"no recipe named {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()
