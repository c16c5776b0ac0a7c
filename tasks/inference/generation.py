"""Sample text from models."""

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from tasks.registry.download import open_model


def generate_text(
    workspace: Workspace,
    model: str,
    *,
    prefix: str = "\n",
    num_characters: int = 500,
    temperature: float = 0.7,
    top_k: int | None = None,
    seed: int | None = None,
) -> dict[str, str]:
    """A sample of `num_characters` (bytes or words, as the model has them) from each direction of `model`.

    A backward one continues `prefix` to the left.
    """
    if num_characters < 1:
        raise ConfigError(f"--characters must be at least 1, got {num_characters}")
    if not temperature > 0:
        raise ConfigError(f"--temperature must be greater than 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ConfigError(f"--top-k must be at least 1, got {top_k}")
    return {
        direction: language_model.generate_text(prefix, num_characters, temperature, top_k=top_k, seed=seed)[0]
        for direction, language_model in open_model(model, workspace).models.items()
    }
