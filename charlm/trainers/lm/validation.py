"""Validations: score the model on the validation text, keep the best one, and anneal the rate when it is stuck."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from charlm.artifacts import RunFiles
from charlm.config import TrainingConfig
from charlm.distributed.group import ProcessGroup
from charlm.errors import RunError
from charlm.evaluation.language_model import limited_units, score_encoded
from charlm.evaluation.scores import LMScore
from charlm.language_models.language_model import LanguageModel, load_language_models
from charlm.text.corpus.encoding import encoded_info
from charlm.trainers.lm.averaging import note_loss
from charlm.trainers.lm.checkpoint import Progress
from charlm.trainers.lm.text_corpus import TextCorpus

VALIDATION_SHARE = 0.05
"""Share of a budget of minutes that validations before the last one may take."""
_THRESHOLD = 1e-4  # share of the best loss that an improvement must save, as in torch's and Flair's plateau


@dataclass(frozen=True)
class Validation:
    """What one validation has found."""

    score: LMScore | None
    """None in all but the main process, which alone reads the text."""

    is_best: bool
    """True when no earlier validation had a lower loss."""


def is_validation_due(config: TrainingConfig, progress: Progress, share: float) -> bool:
    """True when one of the `validations` is due at this share of the budget.

    A short budget of minutes goes into training: those before its end wait where they would take too much of it.
    """
    if config.validations is None or share * config.validations < progress.validations + 1:
        return False
    may_wait = config.max_minutes is not None and share < 1
    return not may_wait or progress.validation_seconds <= VALIDATION_SHARE * progress.seconds


def validate(
    model: LanguageModel, corpus: TextCorpus, config: TrainingConfig, progress: Progress, group: ProcessGroup
) -> Validation:
    """Score `model` on the validation text of `corpus` and bring `progress` up to date; all processes agree on it."""
    score, started = None, time.monotonic()
    if group.is_main:
        info = encoded_info(corpus.valid, model.dictionary)
        limit = config.validation_characters
        units = None if limit is None else math.ceil(limit / max(1.0, info.characters / info.units))
        score = score_encoded(model, corpus.valid, info, max_units=units)
    group.barrier()  # the others wait here, however long it takes
    loss = group.broadcast(math.nan if score is None else score.loss)
    progress.validation_seconds += group.broadcast(time.monotonic() - started)
    progress.validations += 1
    progress.validated_units = progress.units
    is_best = loss < progress.best_loss
    has_improved = loss < progress.best_loss * (1 - _THRESHOLD)
    if is_best:
        progress.best_loss, progress.best_units = loss, progress.units
    if config.schedule == "plateau":
        _anneal(config, progress, corpus, has_improved=has_improved)
    if config.averaging_patience is not None:
        note_loss(progress, loss, config.averaging_patience)
    return Validation(score, is_best)


def _anneal(config: TrainingConfig, progress: Progress, corpus: TextCorpus, *, has_improved: bool) -> None:
    """Lower the rate when validation has not improved for longer than `patience` allows."""
    progress.bad_validations = 0 if has_improved else progress.bad_validations + 1
    progress.patient_since = progress.units if has_improved else progress.patient_since
    if config.patience_characters is not None:
        waited = (progress.units - progress.patient_since) * corpus.characters_per_unit
        is_stuck = waited >= config.patience_characters
    else:
        is_stuck = progress.bad_validations > config.patience
    if is_stuck:
        progress.bad_validations, progress.patient_since = 0, progress.units
        progress.rate_factor *= config.anneal_factor


def reason_to_stop_early(config: TrainingConfig, progress: Progress, corpus: TextCorpus) -> str | None:
    """Why a training ends before its budget is spent; None while it should continue."""
    if config.stop_characters is None:
        return None
    without_gain = round((progress.units - progress.best_units) * corpus.characters_per_unit)
    if without_gain >= config.stop_characters and progress.validations:
        return f"validation has not improved for {without_gain:,} characters"
    return None


def score_best(
    files: RunFiles, corpus: TextCorpus, device: torch.device, best_score: LMScore | None
) -> tuple[LanguageModel, LMScore, LMScore]:
    """The best model of a run on `device`, and its scores on the validation and the test text.

    `best_score` is that of the validation that has found it, where this process made it: if it has read the whole text,
    it is the score. Raises RunError when there is no best model.
    """
    if not files.best_lm.is_file():
        raise RunError(f"no validation of {files.root} gave a finite loss; lower the learning rate")
    (best,) = (model.to(device) for model in load_language_models(files.best_lm).values())

    def score(text: Path) -> LMScore:
        info = encoded_info(text, corpus.dictionary)
        limit = limited_units(info)
        if text == corpus.valid and limit is None and best_score is not None and best_score.units == info.units:
            return best_score
        return score_encoded(best, text, info, max_units=limit)

    return best, score(corpus.valid), score(corpus.test)
