"""What every section of params.yaml shares."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from None
    return pattern


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="lower case letters, digits and _")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Regex = Annotated[str, AfterValidator(_regex), Field(description="a Python regular expression")]


class Section(BaseModel):
    """A part of params.yaml: strict, frozen, nothing unknown."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
