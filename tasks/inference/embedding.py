"""Embed text with the models of a path or a registry address.

Reads  a text file, or sentences that are given
Writes the Parquet file of `charlm embed`
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from charlm.artifacts import Workspace
from charlm.errors import ConfigError, CorpusError, SourceError
from charlm.evaluation.neighbours import EmbeddedWord, nearest_words
from charlm.storage.user_paths import user_path
from tasks.registry.download import OpenedModel, open_model
from tasks.terminal import terminal

__all__ = ["EmbeddedText", "EmbeddedWord", "embed_text", "embed_words", "nearest_words"]


class EmbeddedTextJson(TypedDict):
    """What `charlm embed --json` shows."""

    output: str
    tokens: int
    dimensions: int


@dataclass(frozen=True)
class EmbeddedText:
    """The result of `embed_text`."""

    output: Path
    num_tokens: int
    num_dimensions: int
    seconds: float

    def to_json(self) -> EmbeddedTextJson:
        return {"output": str(self.output), "tokens": self.num_tokens, "dimensions": self.num_dimensions}


def embed_text(
    workspace: Workspace,
    model: str | OpenedModel,
    text: str,
    output: Path,
    *,
    text_format: str | None = None,
    pooling: str = "token",
    dtype: str = "float32",
    precision: str = "fp32",
    encoding: str = "utf-8",
    header: bool | None = None,
    tokenizer: str | None = None,
) -> EmbeddedText:
    """Write the embeddings of every token (or sentence) of the file `text` to the Parquet file `output`.

    Many texts share one opened model. Raises ConfigError for an unknown option, SourceError or CorpusError for a
    missing or empty text, ModelFileError or RegistryError for the model.
    """
    for name, value, known in (
        ("format", text_format, (None, "text", "conll", "parquet")),
        ("pooling", pooling, ("token", "mean", "first_last")),
        ("dtype", dtype, ("float32", "float16")),
        ("precision", precision, ("fp32", "bf16", "int8")),
    ):
        if value not in known:
            raise ConfigError(f"{name} is one of {', '.join(word for word in known if word)}; got {value!r}")
    started = time.monotonic()
    path, output = user_path(text), user_path(output).absolute()
    if not path.is_file():
        raise SourceError(f"there is no text file {text!r} to embed")
    if path.stat().st_size == 0:
        raise CorpusError(f"{path} is empty; give a text to embed")
    opened = model if isinstance(model, OpenedModel) else open_model(model, workspace)
    from charlm.datasets.lines import ReadingRules
    from charlm.embeddings.export import embed_file

    with terminal.step(f"embed {path.name}") as bar:
        result = embed_file(
            opened.models,
            path,
            output,
            format=text_format,  # type: ignore[arg-type]  # checked above
            pooling=pooling,  # type: ignore[arg-type]
            dtype=dtype,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
            rules=ReadingRules(encoding=encoding, header=header, tokenizer=tokenizer or True),
            on_progress=lambda done, total: bar.update(done / max(total, 1)),
        )
        bar.finish(f"{result.tokens:,} tokens, {result.dimensions} dimensions")
    return EmbeddedText(output, result.tokens, result.dimensions, time.monotonic() - started)


def embed_words(workspace: Workspace, model: str, sentences: list[list[str]]) -> list[EmbeddedWord]:
    """Every word of `sentences` (each a list of words) with its embedding, in order."""
    from charlm.embeddings import words_in_context

    return words_in_context.embed_words(open_model(model, workspace).models.values(), sentences)
