"""Write a model as graphs that are read without torch, and measure what that changes.

Writes what charlm/serialization/onnx_folder.py says
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.storage.atomic import JsonObject
from tasks.terminal import terminal

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel
    from charlm.runtime import Embedder


def write_exported(
    folder: Path,
    models: "Mapping[str, LanguageModel]",
    info: Mapping[str, object],
    *,
    int8: bool,
    held_out: Path | None,
    probe: "Callable[[Embedder], JsonObject] | None" = None,
) -> JsonObject:
    """Write the models by direction into `folder`; returns what their vectors lose on the text `held_out`.

    `probe` measures more of it. The loss is in the folder too. Raises ModelFileError for models that cannot be written.
    """
    from charlm.embeddings.exported import compare_vectors
    from charlm.runtime import load
    from charlm.serialization.onnx_folder import record_loss, write_onnx_folder

    states = {direction: model.language_model_state() for direction, model in models.items()}
    with terminal.step(f"export in {'int8' if int8 else 'fp32'}") as bar:
        write_onnx_folder(folder, states, "int8" if int8 else "fp32", info)
        embedder = load(folder)
        loss: JsonObject = {}
        if held_out is not None:
            bar.update(None, f"compare vectors on {held_out.name}")
            with held_out.open(encoding="utf-8", errors="replace") as lines:
                loss = {"text": held_out.name, **asdict(compare_vectors(list(models.values()), embedder, lines))}
        if probe is not None:
            bar.update(None, "compare a tagger on both")
            loss |= probe(embedder)
        if loss:
            record_loss(folder, embedder.settings, loss)
        bar.finish(_summary(loss))
    return loss


def _summary(loss: JsonObject) -> str:
    parts = []
    if "words" in loss:
        median, lowest = (f"{loss[f'{name}_cosine']:.5f}" for name in ("median", "lowest"))
        parts.append(f"cosine to torch's vectors {median} (median), {lowest} (lowest) over {loss['words']:,} words")
    if "tagger_f1" in loss:
        parts.append(f"F1 of a tagger {loss['exported_tagger_f1']:.2%}, on torch's vectors {loss['tagger_f1']:.2%}")
    return "; ".join(parts) or "not compared: there is no held-out text of it here (--held-out TEXT)"
