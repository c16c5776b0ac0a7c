"""What programs written for Flair import from `models.prefixed_tagger`, which is not part of charlm."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {
        **dict.fromkeys(
            (
                "PrefixedSentence",
                "SentenceAugmentationStrategy",
                "EntityTypeTaskPromptAugmentationStrategy",
                "PrefixedSequenceTagger",
            ),
            "taggers with prefixes",
        ),
    },
)
