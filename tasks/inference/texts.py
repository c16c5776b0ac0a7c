"""Find the texts to embed, and name the files that their embeddings go to."""

import glob
from collections.abc import Sequence
from pathlib import Path

from charlm.artifacts import Workspace
from charlm.errors import ConfigError, SourceError
from charlm.remote.workspace import push
from charlm.storage.user_paths import user_path
from tasks.registry.versions import find_version


def find_texts(names: Sequence[str]) -> list[str]:
    """The files that `names` refer to, each once: files, folders with files at any depth, or globs.

    Hidden files are left out. Any other name is kept as it is.
    """
    found: dict[str, None] = {}
    for name in names:
        path = user_path(name)
        if path.is_dir():
            matches = [file for file in path.rglob("*") if not _is_hidden(file.relative_to(path))]
        elif not path.exists() and glob.has_magic(name):
            matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207  # may be absolute
        else:
            matches = [path]
        found |= dict.fromkeys(str(match) for match in sorted(matches) if not match.is_dir())
    return list(found)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def texts_of_model(workspace: Workspace, model: str) -> list[str]:
    """The texts of the workspace that every champion of a registered model embeds."""
    if not model.startswith("models:"):
        return []
    folder = workspace.texts_dir(find_version(model).name)
    return find_texts([str(folder)]) if folder.is_dir() else []


def no_texts(workspace: Workspace, model: str) -> str:
    """What to say where no texts were given, and none wait for the model: where they would."""
    if not model.startswith("models:"):
        return "no texts were given"
    return f"no texts were given, and there are none in {workspace.texts_dir(find_version(model).name)}"


def embeddings_folder(workspace: Workspace, model: str) -> Path:
    """Where the embeddings of a registered version go by default; raises ConfigError for other models."""
    if not model.startswith("models:"):
        raise ConfigError(f"embeddings with {model} have no default folder; give an output folder")
    version = find_version(model)
    return workspace.embeddings_dir(version.name, version.version)


def keep_embeddings(workspace: Workspace, folder: Path) -> None:
    """Send embeddings in the default folder to the object store of the workspace, where it has one."""
    push(workspace, folder)


def embedding_outputs(texts: Sequence[str], folder: Path) -> dict[str, Path]:
    """The Parquet file of each text: its name in `folder`. Raises where a text is missing or two share a name."""
    outputs: dict[str, Path] = {}
    for text in texts:
        if not user_path(text).is_file():
            raise SourceError(f"there is no text file {text!r} to embed")
        output = user_path(folder).absolute() / f"{Path(text).name}.parquet"
        if output in outputs.values():
            raise ConfigError(
                f"two texts are named {Path(text).name}, and both would be written to {output}; rename one"
            )
        outputs[text] = output
    if not outputs:
        raise ConfigError("no text was given; give at least one file to embed")
    return outputs


def pinned_model(model: str) -> str:
    """`model` with a version instead of an alias, which may be moved meanwhile."""
    return find_version(model).address if model.startswith("models:") else model
