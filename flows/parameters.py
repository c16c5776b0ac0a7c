"""Types of the parameters that several flows share; the forms in the Prefect UI and its server keep their limits."""

from typing import Annotated

from pydantic import Field

from charlm.recipes import RECIPES

CorpusName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Directions = Annotated[list[str], Field(min_length=1, json_schema_extra={"items": {"enum": ["forward", "backward"]}})]
RecipeName = Annotated[str, Field(json_schema_extra={"enum": list(RECIPES)})]
TextFormat = Annotated[str, Field(json_schema_extra={"enum": ["text", "conll", "parquet"]})]
Pooling = Annotated[str, Field(json_schema_extra={"enum": ["token", "mean", "first_last"]})]
FloatType = Annotated[str, Field(json_schema_extra={"enum": ["float32", "float16"]})]
Precision = Annotated[str, Field(json_schema_extra={"enum": ["fp32", "bf16", "int8"]})]
_TOKENIZERS = ["rules", "whitespace", "unicode", "moses", "SegtokTokenizer", "SpaceTokenizer"]
TokenizerName = Annotated[str, Field(json_schema_extra={"enum": _TOKENIZERS})]
Granularity = Annotated[str, Field(json_schema_extra={"enum": ["document", "line", "record", "text"]})]
Minutes = Annotated[float, Field(gt=0)]
Days = Annotated[float, Field(gt=0, le=365)]
Count = Annotated[int, Field(ge=1)]

_LAST = """
directions settings split dictionary metadata reading drift gate approval_days extend_dictionary map_dictionary vectors
label_type columns text_format encoding header tokenizer pooling dtype precision task_runner num_processes digests
workspace
"""
EXPERT = {name: place for place, name in enumerate(_LAST.split())}
"""The parameters that most people leave as they are, by their place at the end of a form."""
