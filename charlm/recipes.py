"""Named recipes: functions that return a full training configuration.

A variant is `dataclasses.replace(demo(), hidden_size=512)`. Budgets are in epochs or characters, never in time, so that
a recipe gives the same model on every machine.
"""

import dataclasses
from collections.abc import Callable, Sequence

from charlm.config import TrainingConfig, with_settings
from charlm.errors import ConfigError, known_names

MIN_STEPS = {"demo": 2_000, "cpu_small": 2_000}
"""`min_steps` of recipes with a budget in minutes: a few hundred steps learn more from shorter sequences, and so more
steps. Other recipes were not tried (lab notebook)."""


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
    """Hidden 1024 on one GPU: gigabytes of text.

    Embedding and mini-batch are those for which cuDNN keeps the recurrent weights on the chip (docs/adr/0015-gpus.md).
    """
    return TrainingConfig(
        recipe="gpu_base",
        hidden_size=1024,
        embedding_size=128,
        dropout=0.05,
        sequence_length=250,
        mini_batch_size=128,
        learning_rate=3e-3,
        max_epochs=10,
        max_characters=5_000_000_000,
        validations=50,
    )


def gpu_large() -> TrainingConfig:
    """Hidden 2048, the size of Flair's news models: a billion words and more.

    Its recurrent weights fit on no chip and are read at every step, so many streams share that.
    """
    return dataclasses.replace(
        gpu_base(),
        recipe="gpu_large",
        hidden_size=2048,
        mini_batch_size=384,
        learning_rate=2e-3,
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


# ---- words ---------------------------------------------------------------------------------------------------------


def word_demo() -> TrainingConfig:
    """A small model of words, trained within a minute or two on one core."""
    return dataclasses.replace(
        word_cpu(), recipe="word_demo", hidden_size=128, embedding_size=128, nlayers=1, max_epochs=2, max_words=500_000
    )


def word_cpu() -> TrainingConfig:
    """Two layers of 200 on a CPU: a few million words an hour with a clustered softmax."""
    return TrainingConfig(
        recipe="word_cpu",
        hidden_size=200,
        embedding_size=200,
        nlayers=2,
        tie_weights=True,
        softmax="clustered",
        dropout=0.1,
        sequence_length=35,
        mini_batch_size=40,
        learning_rate=1e-2,
        weight_decay=0.0,
        warmup_share=0.03,
        shuffle_lines=False,
        random_case_flip=False,
        validation_characters=None,
        max_epochs=5,
        max_words=20_000_000,
    )


def word_gpu() -> TrainingConfig:
    """Three layers of 1150 on one GPU, with dropout of everything: for a few million to a hundred million words."""
    return dataclasses.replace(
        awd_lstm_lm_1150(),
        recipe="word_gpu",
        initialization="gatewise",
        optimizer="adamw",
        learning_rate=2e-3,
        l2=0.0,
        clip=1.0,
        schedule="linear",
        warmup_share=0.03,
        averaging_patience=None,  # a rate that falls to zero does the same
        validations=30,
        max_epochs=100,
        max_words=500_000_000,
        precision="auto",
    )


def word_large() -> TrainingConfig:
    """Two cells of 2048, projected to 512: for a hundred million words and more on one GPU."""
    return TrainingConfig(
        recipe="word_large",
        hidden_size=2048,
        projection=512,
        embedding_size=512,
        nlayers=2,
        tie_weights=True,
        softmax="clustered",
        dropout=0.1,
        locked_dropout=True,
        sequence_length=35,
        mini_batch_size=128,
        learning_rate=2e-3,
        weight_decay=0.0,
        warmup_share=0.03,
        shuffle_lines=False,
        random_case_flip=False,
        validation_characters=None,
        validations=50,
        max_epochs=10,
        max_words=2_000_000_000,
    )


def _standard_lstm_lm(size: int, dropout: float) -> TrainingConfig:
    """GluonNLP's: its model, and the training of its tutorial."""
    return TrainingConfig(
        recipe=f"standard_lstm_lm_{size}",
        hidden_size=size,
        embedding_size=size,
        nlayers=2,
        tie_weights=True,
        dropout=dropout,
        locked_dropout=True,
        initialization="flair",
        sequence_length=35,
        mini_batch_size=20,
        optimizer="sgd",
        learning_rate=20.0,
        clip=0.25,
        schedule="plateau",
        patience=0,
        shuffle_lines=False,
        random_case_flip=False,
        validations=None,
        validation_characters=None,
        max_epochs=750,
        precision="fp32",
    )


def standard_lstm_lm_200() -> TrainingConfig:
    """GluonNLP's small model of words: published perplexity of WikiText-2 108.25 / 102.26 (valid / test)."""
    return _standard_lstm_lm(200, dropout=0.2)


def standard_lstm_lm_650() -> TrainingConfig:
    """GluonNLP's medium model of words: published perplexity of WikiText-2 98.96 / 93.90."""
    return _standard_lstm_lm(650, dropout=0.5)


def standard_lstm_lm_1500() -> TrainingConfig:
    """GluonNLP's large model of words: published perplexity of WikiText-2 98.29 / 92.83."""
    return _standard_lstm_lm(1500, dropout=0.65)


def awd_lstm_lm_1150() -> TrainingConfig:
    """GluonNLP's AWD-LSTM: published perplexity of WikiText-2 73.32 / 69.74 (Merity et al. 2018)."""
    return dataclasses.replace(
        _standard_lstm_lm(1150, dropout=0.4),
        recipe="awd_lstm_lm_1150",
        embedding_size=400,
        nlayers=3,
        input_dropout=0.65,
        hidden_dropout=0.2,
        embedding_dropout=0.1,
        weight_dropout=0.5,
        sequence_length=70,
        random_sequence_length=True,
        mini_batch_size=80,
        learning_rate=30.0,
        l2=1.2e-6,
        activation_penalty=2.0,
        slowness_penalty=1.0,
        patience=30,
        anneal_factor=0.1,
        averaging_patience=5,
    )


def awd_lstm_lm_600() -> TrainingConfig:
    """GluonNLP's small AWD-LSTM: published perplexity of WikiText-2 84.61 / 80.96."""
    return dataclasses.replace(
        awd_lstm_lm_1150(),
        recipe="awd_lstm_lm_600",
        hidden_size=600,
        embedding_size=200,
        dropout=0.2,
        input_dropout=0.3,
        hidden_dropout=0.1,
        embedding_dropout=0.05,
        weight_dropout=0.2,
    )


RECIPES: dict[str, Callable[[], TrainingConfig]] = {
    recipe.__name__: recipe
    for recipe in (
        demo,
        cpu_small,
        gpu_base,
        gpu_large,
        finetune,
        flair_classic,
        word_demo,
        word_cpu,
        word_gpu,
        word_large,
        standard_lstm_lm_200,
        standard_lstm_lm_650,
        standard_lstm_lm_1500,
        awd_lstm_lm_600,
        awd_lstm_lm_1150,
    )
}


def find_recipe(name: str) -> TrainingConfig:
    """The recipe called `name`; raises ConfigError that lists the ones there are."""
    if name not in RECIPES:
        raise ConfigError(f"no recipe named {name!r}; {known_names(name, RECIPES)}")
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
        config = dataclasses.replace(
            config,
            max_minutes=max_minutes,
            max_epochs=None,
            max_characters=None,
            max_words=None,
            min_steps=MIN_STEPS.get(name),
        )
    config = with_settings(config, list(settings))
    config.check_divisible(num_processes)
    return config
