"""Training of taggers and classifiers. Versions registered before version 0.2 import `prediction_json` from here."""

__all__ = ["prediction_json"]


def __getattr__(name: str) -> object:
    if name != "prediction_json":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from charlm.trainers.downstream.build import prediction_json

    return prediction_json
