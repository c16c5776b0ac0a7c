"""What programs written for Flair import from `nn.multitask`, which is not part of charlm."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {
        "make_multitask_model_and_corpus": "models of several tasks",
    },
)
