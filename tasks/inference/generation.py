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
    seed: int | None = None,
) -> dict[str, str]:
    """A sample of `num_characters` from each direction of `model`; a backward one continues `prefix` to the left."""
    if num_characters < 1:
        raise ConfigError(f"--characters must be at least 1, got {num_characters}")
    if not temperature > 0:
        raise ConfigError(f"--temperature must be greater than 0, got {temperature}")
    return {
        direction: language_model.generate_text(prefix, num_characters, temperature, seed=seed)[0]
        for direction, language_model in open_model(model, workspace).models.items()
    }
