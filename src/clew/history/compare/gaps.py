"""Fairer or less fair: is the distance from evenness smaller or larger, on the same rows of the same groups?

Rows are drawn with replacement within each group. A row is one of 4 × 4 kinds (true or false positive or negative,
before and after), so drawing n of them is drawing from a multinomial distribution, and both sides see the same draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.errors import DataError
from clew.evaluation import intervals
from clew.evaluation.predictions import Row
from clew.fairness import groups, measures
from clew.history.compare import paired
from clew.history.compare.model import Paired
from clew.history.compare.numbers import EVEN

if TYPE_CHECKING:
    from clew import params

TESTED = ("statistical_parity_difference", "equal_opportunity_difference", "average_abs_odds_difference")
UNTESTED = {
    "disparate_impact": "not tested: it asks the same as the statistical parity difference",
    "average_odds_difference": "not tested: opposite differences cancel in it",
}
"""Measures that would only make the correction harsher."""


def audit(described: Sequence[Any], task: str, attribute: str) -> params.Audit | str:
    """The question that both sides asked, or why it is not one question. described: {privileged, …} of each side."""
    from pydantic import ValidationError

    from clew import params

    if described[0] != described[1] or not isinstance(described[0], Mapping):
        return "the two sides compare other groups or outcomes"
    try:
        return params.Audit.model_validate({"task": task, "attribute": attribute, **described[0]})
    except ValidationError:
        return "metrics/fairness.json describes its audit in another form"


def tests(
    asked: params.Audit,
    rows: tuple[Sequence[Row], Sequence[Row]],
    draws: int,
    confidence: float,
    seed: int,
    *,
    coarse: bool,
) -> dict[str, Paired | str]:
    """TESTED measure → the paired test of its distance from evenness, or why there is none.

    rows: of the audit's task on each side, in one order.
    """
    try:
        tables = joint(asked, rows)
    except DataError as error:
        return dict.fromkeys(TESTED, error.what)
    if isinstance(tables, str):
        return dict.fromkeys(TESTED, tables)
    rng = intervals.generator(seed, f"{asked.task}/{asked.attribute}")
    n = int(sum(table.sum() for table in tables))
    otherwise = n - int(sum(table.reshape(4, 4).trace() for table in tables))
    how = paired.Rows(n, paired.least(otherwise), confidence, coarse)
    points = distances(tables[0][None], tables[1][None])
    spread = distances(*(rng.multinomial(int(t.sum()), t / t.sum(), size=draws).astype(float) for t in tables))
    found: dict[str, Paired | str] = {}
    for name in TESTED:
        (before, after), (others, samples) = points[name], spread[name]
        found[name] = paired.test(float(after[0]), float(before[0]), samples, others, how)
    return found


def joint(
    asked: params.Audit, rows: tuple[Sequence[Row], Sequence[Row]]
) -> tuple[intervals.Array, intervals.Array] | str:
    """Counts of the 16 kinds of rows of the unprivileged and the privileged group; raises DataError."""
    where = "fairness"
    first, second = (groups.members(asked, side, where=where) for side in rows)
    if not np.array_equal(first.positions, second.positions) or not np.array_equal(first.privileged, second.privileged):
        return "the groups of the shared rows differ"
    kinds = np.zeros(len(first.rows), dtype=np.int64)
    for members in (first, second):
        actual, predicted = (
            groups.favorable(asked, members.rows, name, where=where) for name in ("label", "prediction")
        )
        kinds = 4 * kinds + np.where(predicted, np.where(actual, 0, 1), np.where(actual, 2, 3))  # tp, fp, fn, tn
    sides = (kinds[~first.privileged], kinds[first.privileged])
    return np.bincount(sides[0], minlength=16).astype(float), np.bincount(sides[1], minlength=16).astype(float)


def distances(
    unprivileged: intervals.Array, privileged: intervals.Array
) -> dict[str, tuple[intervals.Array, intervals.Array]]:
    """Measure → distance from evenness before and after, from counts of shape (draws, 16)."""
    sides = []
    for axis in (2, 1):  # summing over what they are after leaves what they are before
        ours, theirs = (table.reshape(-1, 4, 4).sum(axis=axis) for table in (unprivileged, privileged))
        with np.errstate(all="ignore"):
            sides.append(measures.differences(ours, theirs))
    return {name: (abs(sides[0][name] - EVEN[name]), abs(sides[1][name] - EVEN[name])) for name in TESTED}
