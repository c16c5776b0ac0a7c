"""Models by address: `models:/books@champion/forward` names a registered model, of which a package here makes a path.

An address begins with a scheme and `:/`. A package that knows a scheme registers, under its name, a function from an
address to a path in the entry-point group `charlm.model_resolvers`. It is imported when such an address is opened.
"""

import re
from importlib.metadata import entry_points
from pathlib import Path

from charlm.artifacts import DIRECTIONS, BundleFiles
from charlm.errors import ModelFileError, how_to_install

GROUP = "charlm.model_resolvers"
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)")  # two letters at least: `C:/` is a drive


def is_address(name: str) -> bool:
    """Whether a name has the form of an address."""
    return _ADDRESS.match(name) is not None


def resolve_address(address: str) -> Path:
    """The path of the one language model at `address`, which may end in `/forward` or `/backward`.

    Raises ModelFileError as `resolve_models` does, and when it has both directions and none is named.
    """
    path = resolve_models(address)
    if len(held := BundleFiles(path).directions()) > 1:
        pair = ", ".join(f'FlairEmbeddings("{address}/{name}")' for name in held)
        raise ModelFileError(f"{address} holds both directions; name one, or stack both: StackedEmbeddings([{pair}])")
    return path


def resolve_file(address: str) -> Path:
    """The file of the tagger or classifier at `address`; raises ModelFileError where a language model is."""
    path = resolve_models(address)
    if path.is_dir():
        raise ModelFileError(f"{address} holds a language model, not a tagger or classifier")
    return path


def resolve_models(address: str) -> Path:
    """The path of all language models at `address`: a bundle, or the direction of it that is named at its end.

    Raises ModelFileError when no installed package knows the scheme, and when the model lacks the direction that is
    named; and whatever CharLMError the package raises.
    """
    match = _ADDRESS.match(address)
    scheme = match[1] if match else ""
    found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        raise ModelFileError(
            f"{address}: nothing that is installed here opens addresses of {scheme}:/; give a path, or "
            f"{how_to_install('pipeline')}"
        )
    model, _, direction = address.rpartition("/")
    if direction not in DIRECTIONS:
        model, direction = address, ""
    folder = Path(found[0].load()(model))
    held = BundleFiles(folder).directions()
    if direction and direction not in held:
        raise ModelFileError(f"{address}: {model} holds {' and '.join(held) or 'no language model'}")
    return folder / direction if direction else folder
