"""What answers the requests to a registered model: torch on the bundle, or onnxruntime on an export beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from charlm.artifacts import Workspace
from charlm.config.serving import Runtime
from charlm.errors import ModelFileError
from charlm.storage.atomic import JsonObject
from tasks.registry.flavour import ONNX_LIBRARIES, TORCH_LIBRARIES
from tasks.registry.onnx_export import write_exported


@dataclass(frozen=True, kw_only=True)
class Server:
    """The code that answers, what it reads, and the packages that it needs."""

    code: Path
    artifacts: Mapping[str, Path]
    libraries: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


def make_server(
    workspace: Workspace, name: str, bundle: Path, manifest: JsonObject, runtime: Runtime, folder: Path
) -> Server:
    """The server of a bundle; with a runtime without torch its export is written into `folder`.

    Raises ModelFileError where there is no export of the models: they stay trained, and can be registered with torch.
    """
    here = Path(__file__).parent
    if runtime == "torch":
        return Server(code=here / "pyfunc_model.py", artifacts={"bundle": bundle}, libraries=TORCH_LIBRARIES)
    from charlm.language_models.language_model import load_language_models

    info = {key: value for key, value in manifest.items() if key not in ("format", "dictionary", "models")}
    valid = workspace.corpus(name, train_text=False).valid
    folder.mkdir()
    try:
        loss = write_exported(
            folder,
            load_language_models(bundle),
            info,
            int8=runtime == "onnx-int8",
            held_out=valid if valid.is_file() else None,
        )
    except ModelFileError as error:
        raise ModelFileError(f"--runtime {runtime}: {error}; --resume --runtime torch registers it as it is") from error
    tags = {"runtime": runtime} | {f"runtime.{key}": f"{value:.6g}" for key, value in loss.items() if key != "text"}
    return Server(
        code=here / "pyfunc_onnx_model.py",
        artifacts={"bundle": bundle, "onnx": folder},
        libraries=ONNX_LIBRARIES,
        tags=tags,
    )
