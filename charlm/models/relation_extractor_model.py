"""What programs written for Flair import from `models.relation_extractor_model`, which is not part of charlm."""

from charlm.errors import outside_charlm

__getattr__ = outside_charlm(
    __name__,
    {
        "RelationExtractor": "relations between spans",
    },
)
