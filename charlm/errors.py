"""The mistakes that a user can fix, and what a user should know.

Every error here carries one line: what was found, where, and what to do. The command line prints that line and ends
with exit code 2; anything else that is raised is a fault of ours.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

DISTRIBUTION = "charlm-pipeline"
"""The name to install charlm by; `charlm` on PyPI is another program."""


def how_to_install(extra: str) -> str:
    """What to do where a package of one of our extras is missing, as the end of a line."""
    return f"install it with: pip install '{DISTRIBUTION}[{extra}]'"


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
    """A training run is missing, in use, or cannot continue."""


class TrainingInterruptedError(RunError):
    """The user ended a training; what it had reached is on disk."""


class PeerLostError(RunError):
    """Another of the processes that train one model has ended; the last checkpoint is on disk."""


class PeerSilentError(PeerLostError):
    """Another of the processes that train one model does not answer; the last checkpoint is on disk."""


class PeerFailedError(PeerLostError):
    """Another of the processes that train one model has ended with this reason, which the user can fix."""


class RegistryError(CharLMError):
    """The model registry has no such model, version or alias."""


class StoreError(CharLMError):
    """The object store of a workspace does not answer, denies access, or holds what cannot be used."""


class GateError(CharLMError):
    """Scores that a decision rests on are missing, or cannot be compared."""


class CharLMWarning(UserWarning):
    """Something is done in another way than requested, with a correct result; its text is one line."""


def known_names(name: str, known: Iterable[str]) -> str:
    """For a message about a `name` that is not `known`: the nearest of them, or else all.

    `("demmo", ["demo", "cpu_small"]) -> "did you mean 'demo'?"`, `("x", ["demo"]) -> "there is demo"`
    """
    from difflib import get_close_matches

    known = list(known)
    if near := get_close_matches(name, known, n=1, cutoff=0.7):
        return f"did you mean {near[0]!r}?"
    shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return f"there {'is' if len(known) == 1 else 'are'} {shown or 'none'}"


class NotInCharLMError(CharLMError, ImportError):
    """Flair has it and charlm does not."""


class _Outside(type):
    """The type of what Flair has and charlm does not: it can be imported and named, and any use raises its line.

    So a program runs that imports `Relation` beside what it needs, or asks `isinstance(label.data_point, Relation)`.
    """

    line: str

    def __call__(cls, *arguments: object, **named: object) -> NoReturn:
        raise NotInCharLMError(cls.line)

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotInCharLMError(cls.line)


def outside(path: str, line: str) -> type:
    """A class that stands for the name at `path`, such as `charlm.data.Relation`; `line` is said when it is used."""
    module, _, name = path.rpartition(".")

    def refuse(cls: object, /, **named: object) -> NoReturn:
        raise NotInCharLMError(line)

    members = {"__module__": module, "line": line, "__init_subclass__": classmethod(refuse)}
    return _Outside(name, (), members)


def outside_charlm(module: str, names: dict[str, str]) -> Callable[[str], type]:
    """A module's `__getattr__` for Flair's `names`: the line names the subject of each, and where to find it.

    `outside_charlm(__name__, {"Relation": "relations between spans"})`
    """

    def find(name: str) -> type:
        if name in names:
            path = f"{module}.{name}"
            return outside(path, f"{path}: {names[name]} are not part of charlm; Flair has them")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


@contextmanager
def decoration(what: str) -> Iterator[None]:
    """For a block that makes something only to look at: if it fails, `what` is left out with a warning of one line.

    Pictures, samples, reports and descriptions come after the work and must not cost it. Ctrl-C passes.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        warnings.warn(f"{what} is left out: {reason}", CharLMWarning, stacklevel=3)
