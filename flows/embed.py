"""The flow that embeds many texts with one version of a model.

texts --> token embeddings, a Parquet file each
"""

from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.parameters import FloatType, Pooling, Precision, TextFormat, TokenizerName
from flows.workspace_flow import flow
from tasks import steps
from tasks.inference.embedding import EmbeddedText
from tasks.inference.texts import (
    embedding_outputs,
    embeddings_folder,
    find_texts,
    keep_embeddings,
    no_texts,
    pinned_model,
    texts_of_model,
)
from tasks.registry.download import open_model
from tasks.reporting import publish_embeddings
from tasks.services.session import use_workspace


@flow(name="charlm-embed", flow_run_name="embeddings with {model}")
def embed_corpus(
    model: str,
    texts: list[str] = [],  # noqa: B006  # never changed; the form in the UI shows it
    output: Path | None = None,
    workspace: Path = Path("workspace"),
    text_format: TextFormat | None = None,
    pooling: Pooling = "token",
    dtype: FloatType = "float32",
    precision: Precision = "fp32",
    encoding: str = "utf-8",
    header: bool | None = None,
    tokenizer: TokenizerName | None = None,
) -> State[list[EmbeddedText]]:
    """Write the token embeddings of every text; a text that was cut short is continued, a finished one is kept.

    Args:
        model: best-lm.pt, a run folder, a bundle folder, or `models:/NAME@champion`.
        texts: Files with a sentence a line, CoNLL columns, or Parquet; or folders and globs of such files.
            By default those in the folder of the workspace named `to-embed/` and the name of the model.
        output: Folder that takes `TEXT.parquet` for each of them; by default one of the workspace for this version.
        workspace: Folder that holds the registry where no server does.
        text_format: `text`, `conll` or `parquet`; by default by name and content of each file.
        pooling: `token` for a row a token, `mean` or `first_last` for a row a sentence.
        dtype: `float32`, or `float16` for half the space.
        precision: `fp32`, or for speed `bf16` or `int8`, where the processor computes it.
        encoding: Encoding of the texts.
        header: Whether the first row of a table names the columns; by default its content decides.
        tokenizer: Name of what cuts texts into words: `rules` (the default), `whitespace`, `unicode` or `moses`.
    """
    space = use_workspace(workspace)
    found = find_texts(texts) or texts_of_model(space, model)
    if not found:
        return Completed(message=f"nothing to do: {no_texts(space, model)}", data=[])
    pinned = pinned_model(model)
    folder = output or embeddings_folder(space, pinned)
    outputs = embedding_outputs(found, folder)
    opened = open_model(pinned, space)
    embedded = [
        steps.embed_text(space, opened, text, path, text_format, pooling, dtype, precision, encoding, header, tokenizer)
        for text, path in outputs.items()
    ]
    if output is None:
        keep_embeddings(space, folder)
    publish_embeddings(pinned, folder, embedded)
    tokens = sum(text.num_tokens for text in embedded)
    return Completed(message=f"{tokens:,} tokens of {len(embedded):,} texts with {pinned}", data=embedded)
