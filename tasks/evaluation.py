"""Score models on text files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charlm.artifacts import Workspace
from charlm.errors import CorpusError, SourceError
from tasks.display import terminal
from tasks.registry import resolve_model


def evaluate_model(workspace: Workspace, model: str, texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The scores of each direction of `model` over all `texts` together.

    Raises ModelFileError or RegistryError for the model, SourceError or CorpusError for a text.
    """
    paths = [_checked(text) for text in texts]
    models = _load(model, workspace)
    scores = {}
    for direction, language_model in models.items():
        with terminal.step(f"evaluate {direction}") as bar:
            total = None
            for number, path in enumerate(paths):
                bar.update(number / len(paths), path.name)
                score = _score_file(language_model, path)
                total = score if total is None else total + score
            assert total is not None
            scores[direction] = total.to_json()
            bar.finish(f"{total.bits_per_character:.3f} bits per character")
    return scores


def _checked(text: str) -> Path:
    """The path of a text; a missing or empty one is an error before any model is loaded."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise SourceError(f"there is no text file {text!r} to score")
    if path.stat().st_size == 0:
        raise CorpusError(f"{path} is empty; give a text to score")
    return path


def _load(model: str, workspace: Workspace) -> dict[str, Any]:
    path = resolve_model(model, workspace)
    from charlm.models.language_model import load_language_models

    return dict(load_language_models(path))


def _score_file(model: Any, path: Path) -> Any:
    from charlm.metrics import score_file

    return score_file(model, path)
