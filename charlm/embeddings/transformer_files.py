"""Where transformers are found: a folder, the cache of charlm, or that of Hugging Face. Nothing is downloaded."""

import os
from pathlib import Path
from typing import Any

from charlm.embeddings.base import find_model
from charlm.errors import ConfigError, ModelFileError, how_to_install
from charlm.serialization.addresses import is_address


def find_transformer(model: str | os.PathLike[str]) -> Path:
    """The folder of a transformer; raises ModelFileError where it is in none of the places that have a name for it."""
    from huggingface_hub import snapshot_download

    try:
        return find_model(model, [], "transformer")
    except ModelFileError:
        if is_address(os.fspath(model)):
            raise
        try:
            return Path(snapshot_download(os.fspath(model), local_files_only=True))
        except (OSError, ValueError):  # not there, or no name of a repository
            pass
        raise


def transformers_library() -> Any:
    """The package transformers; raises ConfigError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"transformer embeddings need the package transformers; {how_to_install('transformers')}"
        ) from error
    return transformers
