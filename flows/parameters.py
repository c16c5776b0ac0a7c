"""Types of the parameters that several flows share; the forms in the Prefect UI and its server keep their limits."""

from typing import Annotated

from pydantic import Field

from charlm.recipes import RECIPES

CorpusName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Directions = Annotated[list[str], Field(min_length=1, json_schema_extra={"items": {"enum": ["forward", "backward"]}})]
RecipeName = Annotated[str, Field(json_schema_extra={"enum": list(RECIPES)})]
Minutes = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
