"""What programs written for Flair import from `nn.decoder`, which is not part of charlm."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {
        **dict.fromkeys(
            (
                "PrototypicalDecoder",
                "DeepNCMDecoder",
                "LabelVerbalizerDecoder",
            ),
            "decoders by prototypes",
        ),
    },
)
