"""The flow that embeds many texts with one version of a model.

texts --> token embeddings, a Parquet file each
"""

from pathlib import Path

from prefect import flow

from tasks import steps
from tasks.embedding import EmbeddedText, embedding_outputs, pinned_model
from tasks.reporting import publish_embeddings
from tasks.services import use_workspace


@flow(name="charlm-embed", flow_run_name="embeddings with {model}")
def embed_corpus(
    model: str,
    texts: list[str],
    output: Path,
    workspace: Path = Path("workspace"),
    text_format: str | None = None,
    pooling: str = "token",
    dtype: str = "float32",
    precision: str = "fp32",
) -> list[EmbeddedText]:
    """Write the token embeddings of every text; a text that was cut short is continued.

    Args:
        model: best-lm.pt, a run folder, a bundle folder, or `models:/NAME@champion`.
        texts: Files with a sentence a line, CoNLL columns, or Parquet.
        output: Folder that takes `TEXT.parquet` for each of them.
        workspace: Folder that holds the registry where no server does.
        text_format: `text`, `conll` or `parquet`; by default by the name of each file.
        pooling: `token` for a row a token, `mean` or `first_last` for a row a sentence.
        dtype: `float32`, or `float16` for half the space.
        precision: `fp32`, or `bf16` for speed.
    """
    space = use_workspace(workspace)
    outputs = embedding_outputs(texts, output)
    pinned = pinned_model(model)
    embedded = [
        steps.embed_text(space, pinned, text, path, text_format, pooling, dtype, precision)
        for text, path in outputs.items()
    ]
    publish_embeddings(pinned, output, embedded)
    return embedded
