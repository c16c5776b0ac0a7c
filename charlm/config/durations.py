"""Times in minutes that environment variables set."""

import math
import os

from charlm.errors import ConfigError


def minutes_of(variable: str, default: float) -> float:
    """The minutes in an environment variable; raises ConfigError when it is not a number greater than 0."""
    text = os.environ.get(variable) or str(default)
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise ConfigError(f"{variable} is a number of minutes greater than 0, got {text!r}")
    return minutes


def duration(minutes: float) -> str:
    """For people: `0.75` -> `"45 seconds"`, `5.0` -> `"5 minutes"`."""
    return f"{60 * minutes:g} seconds" if minutes < 1 else f"{minutes:g} minutes"
