"""What a paper has found, for the report to put beside a study's own result."""

from __future__ import annotations

from pydantic import Field

from trainables.method import Settings


class Published(Settings):
    """A published result that a study asks about."""

    paper: str = Field(description="authors, year and arXiv number")
    claim: str = Field(description="what was found, in a sentence, with data set and metric")
    metric: str = Field("", description="metric of the values, and what it was measured on")
    values: dict[str, float] = Field(default_factory=dict, description="published values by variant")
