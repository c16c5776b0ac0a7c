"""What programs written for Flair import from `models.multitask_model`, which is not part of charlm."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {
        "MultitaskModel": "models of several tasks",
    },
)
