"""What programs written for Flair import from `models.entity_mention_linking`, which is not part of charlm."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {
        **dict.fromkeys(
            (
                "EntityMentionLinker",
                "BiEncoderEntityRetriever",
                "ExactMatchEntityRetriever",
            ),
            "entity linkers",
        ),
    },
)
