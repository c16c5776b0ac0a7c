"""The flow that shows whether a language model was worth it: a tagger or classifier is trained on its embeddings.

language models + labelled data --> tagger / classifier --> registry
"""

from pathlib import Path
from typing import Literal

from charlm.config import DownstreamConfig, with_settings
from flows.parameters import CorpusName, TokenizerName
from flows.workspace_flow import flow
from tasks import steps
from tasks.downstream.training import DownstreamRequest, TrainedDownstreamModel
from tasks.services.session import use_workspace


@flow(name="charlm-downstream", flow_run_name="{task} {name}", closing=lambda trained: trained.summary())
def train_downstream(
    name: CorpusName,
    task: Literal["tagger", "classifier"],
    data: list[str],
    models: list[str] = [],  # noqa: B006  # never changed; the form in the UI shows it
    vectors: list[str] = [],  # noqa: B006
    label_type: str | None = None,
    columns: str | None = None,
    encoding: str = "utf-8",
    header: bool | None = None,
    tokenizer: TokenizerName | None = None,
    settings: list[str] = [],  # noqa: B006
    workspace: Path = Path("workspace"),
) -> TrainedDownstreamModel:
    """Train a tagger or classifier on language models, and register it with the versions that it came from.

    A finished training of the same data, models and settings is reused, an unfinished one is continued.

    Args:
        name: Name of the registered model.
        task: `tagger` for labels of words and spans, `classifier` for labels of texts.
        data: Folders with labelled train, dev and test files, or names of prepared corpora such as `UD_ENGLISH`.
        models: Language models: `models:/NAME@champion`, files, run folders or bundles.
        vectors: Files of word vectors, or their names in CHARLM_CACHE.
        label_type: The layer of labels to learn, such as `ner` or `upos`; by default the usual one of such data.
        columns: What the columns of the files hold, `_` for a column that is not read: `text,_,ner`.
        encoding: Encoding of the labelled files.
        header: Whether the first row of each file names the columns; by default its content decides.
        tokenizer: Name of what cuts texts into words: `rules` (the default), `whitespace`, `unicode` or `moses`. The
            model remembers it.
        settings: Changes to the settings of the training, as `field=value`.
        workspace: Folder that holds everything a run leaves.
    """
    request = DownstreamRequest(
        task=task,
        name=name,
        data=tuple(data),
        models=tuple(models),
        vectors=tuple(vectors),
        label_type=label_type,
        columns=columns,
        encoding=encoding,
        header=header,
        tokenizer=tokenizer,
        config=with_settings(DownstreamConfig(), settings),
    )
    return steps.train_downstream(use_workspace(workspace), request)
