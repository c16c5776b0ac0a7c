"""Publish a bundle on the Hugging Face Hub, and use one that was published there.

What goes up are the bundle's own files, with the model card as the page of the repository. What comes down are files of
those names alone, checked against the manifest: safetensors and JSON, of which nothing is executed.

Repository, token and server are those of huggingface_hub: HF_TOKEN, HF_ENDPOINT, HF_HOME.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.artifacts import DIRECTIONS, BundleFiles
from charlm.config.metadata import hub_languages, hub_licence
from charlm.errors import ConfigError, ModelFileError, how_to_install
from charlm.serialization.bundle import read_bundle
from charlm.storage.atomic import JsonObject

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_PIPELINE = "feature-extraction"


def push_to_hub(bundle: Path | str, repo_id: str, *, private: bool = False, message: str | None = None) -> str:
    """Publish the bundle in the folder `bundle` as `repo_id`, `OWNER/NAME`, which is made if need be; its address.

    All goes up in one commit, and what an earlier bundle had besides goes away. Raises ModelFileError when the folder
    holds no sound bundle, or the Hub refuses it.
    """
    files = BundleFiles(Path(bundle))
    manifest = read_bundle(files.root).manifest
    names = [name for name in _bundle_names() if (files.root / name).is_file()]
    with _hub(f"cannot publish {files.root} as {repo_id}"):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        stale = [name for name in api.list_repo_files(repo_id) if name in _bundle_names() and name not in names]
        card = _front_matter(manifest) + files.card.read_text(encoding="utf-8")
        operations = [
            CommitOperationAdd(name, card.encode() if name == files.card.name else files.root / name) for name in names
        ] + [CommitOperationDelete(name) for name in stale]
        commit = api.create_commit(
            repo_id, operations, commit_message=message or f"Bundle {manifest['fingerprint']} of charlm"
        )
    return str(commit.repo_url)


def from_pretrained(repo_id: str, *, revision: str | None = None) -> Path:
    """The folder of the bundle that was published as `repo_id`, downloaded where it is not in the cache yet.

    `revision` is a branch, tag or commit. The folder is what `load_language_models` takes; `FOLDER/forward` is what
    `FlairEmbeddings` takes. Raises ModelFileError when there is none, or it is damaged.
    """
    with _hub(f"cannot get {repo_id}"):
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(repo_id, revision=revision, allow_patterns=_bundle_names()))
    read_bundle(folder)
    return folder


def _bundle_names() -> list[str]:
    """The files that a bundle can have, as they are called in a repository."""
    files = BundleFiles(Path())
    parts = [part(direction) for direction in DIRECTIONS for part in (files.model, files.config, files.best_lm)]
    return [path.as_posix() for path in (files.manifest, files.dictionary, files.card, *parts)]


def _front_matter(manifest: JsonObject) -> str:
    """What the Hub sorts models by, as the YAML at the head of the card: licence, languages, held-out scores."""
    from huggingface_hub import ModelCardData

    name = str(manifest.get("corpus", {}).get("name", "character language models"))
    licence, licence_name = hub_licence(manifest.get("licence"))
    languages = manifest.get("languages", [])
    codes = hub_languages(languages)
    tags = {} if codes == languages else {"language_bcp47": languages}
    data = ModelCardData(
        model_name=name,
        library_name="charlm",
        pipeline_tag=_PIPELINE,
        tags=["character-language-model"],
        eval_results=list(_results(manifest, name)),
        ignore_metadata_errors=False,
        language=codes or None,
        license=licence,
        license_name=licence_name,
        **tags,
    )
    return f"---\n{data.to_yaml()}\n---\n\n"


def _results(manifest: JsonObject, name: str) -> "Iterator[EvalResult]":
    """The scores of each direction on each held-out split."""
    from huggingface_hub import EvalResult

    for direction, splits in manifest.get("scores", {}).items():
        for split, scores in splits.items():
            for score in ("bits_per_byte", "bits_per_character", "perplexity"):
                if scores.get(score) is not None:
                    yield EvalResult(
                        task_type=_PIPELINE,
                        dataset_type=name,
                        dataset_name=f"{name} {split}",
                        dataset_split=split,
                        metric_type=score,
                        metric_name=f"{direction} {score}",
                        metric_value=round(scores[score], 6),
                    )


@contextmanager
def _hub(failure: str) -> Iterator[None]:
    """Raise ModelFileError, one line that begins with `failure`, for whatever goes wrong with the Hub in the block."""
    if find_spec("huggingface_hub") is None:
        raise ConfigError(f"the Hugging Face Hub needs the package huggingface_hub; {how_to_install('hub')}")
    import httpx
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except (OSError, httpx.HTTPError, HFValidationError) as error:  # its other errors are kinds of OSError
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelFileError(f"{failure}: {reason}") from error
