"""What a training has read, and whether more helps: a line below its score.

Reads  runs/RUN/journal.jsonl
"""

import json
from collections.abc import Sequence
from statistics import mean

from charlm.artifacts import RunFiles
from charlm.trainers.events import Event, StartEvent, TrainEvent, ValidationEvent

_WORTH_MORE = 0.01
"""Share of the loss: trainings that differ in their seed alone differ by less."""


def outlook(run: RunFiles) -> str:
    """What a finished run has read, and what the last half of it was good for.

    As much text again brings a little less than the last half has brought: a loss falls about as a power of the text
    (Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically).
    """
    start: StartEvent | None = None
    validations: list[ValidationEvent] = []
    steps: list[TrainEvent] = []
    for row in run.journal.read_bytes().splitlines():
        event: Event = json.loads(row)
        if event["event"] == "start" and start is None:
            start = event
        elif event["event"] == "validation":
            validations.append(event)
        elif event["event"] == "train":
            steps.append(event)
    assert start is not None, f"{run.journal} has no start"
    read = max(event["characters"] for event in (*validations, *steps))
    there_is = start["train_characters"]
    times = f"{read / max(1, there_is):.1f} ×" if read > there_is else f"{_short(read)} of"
    line = f"read {times} {_short(there_is)} characters"
    gain = _gain(validations, read)
    gain = _gain(steps, read) if gain is None else gain  # a short run has few validations
    if gain is None:
        return line
    verdict = "more helps" if gain > _WORTH_MORE else "little to gain"
    return f"{line}; last half: loss -{max(gain, 0):.1%}, {verdict}"  # with a direction, no more than 80 columns


def _gain(events: Sequence[ValidationEvent] | Sequence[TrainEvent], read: int) -> float | None:
    """By what share the loss fell from halfway to the end; None where no event is near the one or the other."""
    halfway = [event["loss"] for event in events if 0.4 * read <= event["characters"] <= 0.6 * read]
    at_end = [event["loss"] for event in events if event["characters"] >= 0.9 * read]
    return 1 - mean(at_end) / mean(halfway) if halfway and at_end else None


def _short(number: int) -> str:
    for unit, size, least in (("G", 1e9, 1e9), ("M", 1e6, 1e5)):
        if number >= least:
            return f"{number / size:.1f}{unit}"
    return f"{number / 1e3:.0f}k" if number >= 10_000 else f"{number:,}"
