"""The section `select` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from clew.params_clean import Features
from clew.params_section import Name, Section


def _keep(value: float) -> float:
    if value <= 0 or (isinstance(value, float) and value > 1):
        raise ValueError("neither a share of the rows (0.5, 1.0) nor a number of them (1, 200)")
    return value


Keep = Annotated[int | float, AfterValidator(_keep)]


class SelectScore(Section):
    """A column of data/scores.parquet: what a rule of `clean` measured of each row."""

    rule: Name
    best: Literal["high", "low"]
    """Which end of it is good. Rows of which the rule measured nothing come first: nothing stands against them."""


class Diversity(Section):
    """Of the best rows of a task and label, some that together cover all of them."""

    method: Literal["facility_location", "farthest_point"]
    """facility_location: every candidate has a kept row that is like it (lazy greedy; Minoux, 1978). farthest_point:
    no candidate is far from a kept row (Gonzalez, 1985), so that odd ones are kept first."""
    pool: Annotated[float, Field(ge=1)]
    """Candidates: the best of `pool` times as many rows as are kept. Without a score, all."""
    features: Features


class Select(Section):
    """The best rows of train, kept, or a pass-through: a small good set, to compare with the large one."""

    enabled: bool
    keep: dict[Name, Keep]
    """task: a share of its rows (0.5, 1.0) or how many (1, 200); each label keeps its share of them. Tasks that are
    not named here stay whole."""
    score: SelectScore | None
    """null: all rows are equally good."""
    diversity: Diversity | None
    """null: the best by score; without a score either, a random sample."""
