"""Character language models: from raw text to word embeddings. No scheduler or tracker is needed here.

`charlm.data`, `charlm.models` and the other rooms are imported when they are first named; so `import charlm` is light.

Attributes:
    device: where tensors are computed: what was set here, else by CHARLM_DEVICE and the machine (nn/device.py).
    cache_root: the folder where models, vectors and data sets are found by name (data/cache.py); may be set.
    set_seed: see nn/seed.py.
    encode: a vector for each of many texts (embeddings/encode.py).
"""

from importlib import import_module

TYPE_CHECKING = False  # for type checkers it is true; to import `typing` takes longer than all of this
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.2.0"
_ROOMS = frozenset(
    [
        *("config", "data", "datasets", "distributed", "embeddings", "errors", "evaluation", "hub", "language_models"),
        *("models", "nn", "recipes", "serialization", "splitter", "text", "tokenization", "trainers", "training_utils"),
        *("runtime", "samplers", "units", "visual"),
    ]
)


def __getattr__(name: str) -> "Any":
    if name in _ROOMS:
        return import_module(f"charlm.{name}")
    if name == "device":
        return import_module("charlm.nn.device").find_device()
    if name == "cache_root":
        return import_module("charlm.data.cache").cache_dir()
    if name == "set_seed":
        return import_module("charlm.nn.seed").set_seed
    if name == "encode":
        return import_module("charlm.embeddings.encode").encode
    raise AttributeError(f"module 'charlm' has no attribute {name!r}")
