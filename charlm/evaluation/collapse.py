"""Whether a model has learned nothing but one answer, which an average of scores hides."""

from charlm.data.spans import OUTSIDE
from charlm.evaluation.labels import NOTHING, LabelScores


def collapse_of(scores: LabelScores) -> str | None:
    """One line where all predictions are the same, or there are none, although the truth differs; else None.

    Example: a classifier that calls every text `ham` scores 0.87 where 87 % of the texts are.
    """
    true = {gold for gold, _ in scores.pairs} - {NOTHING}
    predicted = {guess for _, guess in scores.pairs} - {NOTHING}
    if not true - {OUTSIDE}:
        return None
    if not predicted:
        return "the model predicts no label at all: it has learned nothing yet"
    if predicted == {OUTSIDE}:
        return "the model gives no word a label: it has learned nothing yet"
    if len(predicted) == 1 and len(true) > 1:
        return (
            f"the model predicts {next(iter(predicted))!r} for everything it labels; the truth has {len(true)} labels"
        )
    return None
