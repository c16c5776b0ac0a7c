"""What programs written for Flair import from `models.tars_model`, which is not part of charlm."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {
        **dict.fromkeys(
            (
                "FewshotClassifier",
                "TARSClassifier",
                "TARSTagger",
            ),
            "few-shot models",
        ),
    },
)
