"""Layers of networks; and, under Flair's names, the base classes of taggers and classifiers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.models.downstream_model import DownstreamModel as Classifier
    from charlm.models.downstream_model import DownstreamModel as Model

__all__ = ["Classifier", "Model"]


def __getattr__(name: str) -> object:
    """`Classifier` and `Model` are above this package, so they are imported on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from charlm.models.downstream_model import DownstreamModel

    return DownstreamModel
