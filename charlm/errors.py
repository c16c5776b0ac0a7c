"""The mistakes that a user can fix, and what a user should know.

Every error here carries one line: what was found, where, and what to do. The command line prints that line and ends
with exit code 2; anything else that is raised is a fault of ours.
"""

from collections.abc import Callable
from typing import NoReturn


class CharLMError(Exception):
    """Something that the user can fix; its text is one line."""


class ConfigError(CharLMError):
    """A setting has a value that makes no sense, or does not exist."""


class SourceError(CharLMError):
    """Raw text is missing, unreadable, or of another format than its name shows."""


class CorpusError(CharLMError):
    """A prepared corpus is missing, too small, or prepared with other settings."""


class DatasetError(CharLMError):
    """Labelled sentences are missing, or their file has another format than given."""


class DictionaryError(CharLMError):
    """A dictionary file is missing, damaged, or not to be trusted."""


class ModelFileError(CharLMError):
    """A model file is missing, damaged, or not to be trusted."""


class RunError(CharLMError):
    """A training run is missing, in use, or cannot go on."""


class TrainingInterruptedError(RunError):
    """The user ended a training; what it had reached is on disk."""


class PeerLostError(RunError):
    """Another of the processes that train one model has ended; the last checkpoint is on disk."""


class PeerSilentError(PeerLostError):
    """Another of the processes that train one model does not answer; the last checkpoint is on disk."""


class RegistryError(CharLMError):
    """The model registry has no such model, version or alias."""


class GateError(CharLMError):
    """Scores that a decision rests on are missing, or cannot be compared."""


class CharLMWarning(UserWarning):
    """Something is done otherwise than asked for, with a right result; its text is one line."""


class NotInCharLMError(CharLMError, ImportError):
    """Flair has it and charlm does not; an ImportError, so that `from charlm.data import Relation` shows its line."""


def outside_charlm(module: str, names: dict[str, str]) -> Callable[[str], NoReturn]:
    """A module's `__getattr__` that says of each of Flair's `names` what it is about, and where it is.

    `outside_charlm(__name__, {"Relation": "relations between spans"})`
    """

    def find(name: str) -> NoReturn:
        if name in names:
            raise NotInCharLMError(f"{module}.{name}: {names[name]} are not part of charlm; Flair has them")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find
