"""What programs written for Flair import from `models.relation_classifier_model`, which is not part of charlm."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {
        **dict.fromkeys(
            (
                "EncodedSentence",
                "EncodingStrategy",
                "EntityMask",
                "TypedEntityMask",
                "EntityMarker",
                "TypedEntityMarker",
                "EntityMarkerPunct",
                "TypedEntityMarkerPunct",
                "RelationClassifier",
            ),
            "relations between spans",
        ),
    },
)
