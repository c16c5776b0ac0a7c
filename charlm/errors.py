"""The mistakes that a user can mend, and what a user should know.

Every error here carries one line: what was found, where, and what to do. The command line prints that line and ends
with exit code 2; anything else that is raised is a fault of ours.
"""


class CharLMError(Exception):
    """Something that the user can mend; its text is one line."""


class ConfigError(CharLMError):
    """A setting has a value that makes no sense, or does not exist."""


class SourceError(CharLMError):
    """Raw text is missing, unreadable, or not what its name says."""


class CorpusError(CharLMError):
    """A prepared corpus is missing, too small, or prepared with other settings."""


class DatasetError(CharLMError):
    """Labelled sentences are missing, or their file is not in the form that was asked for."""


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


class RegistryError(CharLMError):
    """The model registry has no such model, version or alias."""


class GateError(CharLMError):
    """Scores that a decision rests on are missing, or cannot be compared."""


class CharLMWarning(UserWarning):
    """Something is done otherwise than asked for, with a right result; its text is one line."""
