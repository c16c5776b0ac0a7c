"""A model in MLflow that stands alone: its files, the code that loads them, and the packages that this code needs.

The code is the library `charlm` as it is now (a megabyte), so that a version gives the same answers for as long as its
packages can be had, whatever charlm is installed where it is loaded, if any.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import charlm
from charlm.errors import decoration
from tasks.registry.logged_models import ModelRecord, record_model

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

TORCH_LIBRARIES = ("mlflow", "torch", "numpy", "pyarrow", "safetensors", "xxhash", "filelock")
ONNX_LIBRARIES = ("mlflow", "onnxruntime", "numpy", "pyarrow", "xxhash", "filelock")
EXAMPLE_TEXTS = ["I love Berlin"]


def log_standalone_model(
    run_id: str,
    name: str,
    code: Path,
    artifacts: Mapping[str, Path],
    record: ModelRecord,
    *,
    params: Mapping[str, Any] | None = None,
    libraries: Sequence[str] = TORCH_LIBRARIES,
) -> "ModelInfo":
    """Log a pyfunc model `name`, made from the file `code`, on the run `run_id`, with its record.

    `params` are the parameters of a request and their defaults, `libraries` what the code needs.
    """
    import mlflow

    with mlflow.start_run(run_id=run_id), _no_bytecode():
        model: ModelInfo = mlflow.pyfunc.log_model(
            name=re.sub(r"""[/:.%"']""", "-", name),  # which MLflow does not allow in it
            python_model=str(code),
            code_paths=[str(Path(charlm.__file__).parent)],
            artifacts={name: str(path) for name, path in artifacts.items()},
            pip_requirements=pip_requirements(libraries),
            params=record.shown_params(),
            tags=dict(record.tags),
            # The signature comes from the types of `predict`, and from the parameters here.
            input_example=(EXAMPLE_TEXTS, dict(params)) if params else EXAMPLE_TEXTS,
        )
    with decoration("scores and lineage on MLflow's page of the model"):
        record_model(model.model_id, run_id, record)
    return model


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Keep Python from compiling the code inside of the model, which MLflow runs there once before it is stored."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def pip_requirements(libraries: Sequence[str] = TORCH_LIBRARIES) -> list[str]:
    """The packages that must be installed where a registered model is served."""
    return [f"{library}=={_public_version(library)}" for library in libraries]


def _public_version(library: str) -> str:
    """`"2.13.0+cpu" -> "2.13.0"`: a model trained on one kind of machine is served on another."""
    return installed_version(library).partition("+")[0]
