"""AIF360's measures of a variant's predictions between two groups, with bootstrap intervals.

AIF360 computes every reported value. The intervals need the same measures of some thousand resamples: those are
written here over tables of counts, and a test holds the two equal. Rows are resampled within each group, so the
groups keep their sizes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clew.evaluation import intervals
from clew.fairness import toolkit
from clew.fairness.toolkit import Array, Bools

DIFFERENCES = (
    "statistical_parity_difference",
    "disparate_impact",
    "equal_opportunity_difference",
    "average_odds_difference",
    "average_abs_odds_difference",
)
"""Unprivileged minus privileged (disparate impact: unprivileged over privileged). AIF360's methods' names."""

BY_GROUP = ("accuracy", "base_rate", "selection_rate")
"""Of each group alone. AIF360's methods' names, too."""


def counts(actual: Bools, predicted: Bools) -> Array:
    """True positives, false positives, false negatives and true negatives, shape (4,); positive is favourable."""
    cells = [actual & predicted, ~actual & predicted, actual & ~predicted, ~actual & ~predicted]
    return np.array([cell.sum() for cell in cells], dtype=np.float64)


def rates(table: Array) -> dict[str, Array]:
    """The rates of one group from counts of shape (…, 4); NaN where a rate has nothing to divide by."""
    tp, fp, fn, tn = np.moveaxis(table, -1, 0)
    n = tp + fp + fn + tn
    return {
        "accuracy": (tp + tn) / n,
        "base_rate": (tp + fn) / n,
        "selection_rate": (tp + fp) / n,
        "true_positive_rate": tp / (tp + fn),
        "false_positive_rate": fp / (fp + tn),
    }


def differences(unprivileged: Array, privileged: Array) -> dict[str, Array]:
    """DIFFERENCES from the counts of both groups, each of shape (…, 4)."""
    ours, theirs = rates(unprivileged), rates(privileged)
    tpr, fpr = (ours[name] - theirs[name] for name in ("true_positive_rate", "false_positive_rate"))
    return {
        "statistical_parity_difference": ours["selection_rate"] - theirs["selection_rate"],
        "disparate_impact": ours["selection_rate"] / theirs["selection_rate"],
        "equal_opportunity_difference": tpr,
        "average_odds_difference": (fpr + tpr) / 2,
        "average_abs_odds_difference": (np.abs(fpr) + np.abs(tpr)) / 2,
    }


def resample(table: Array, resamples: int, rng: np.random.Generator) -> Array:
    """Counts of a group's rows drawn with replacement, shape (resamples, 4).

    Drawing n rows of four kinds is drawing from a multinomial distribution, so the rows themselves are not needed.
    """
    n = int(table.sum())
    return rng.multinomial(n, table / n, size=resamples).astype(np.float64)


def measure(
    actual: Bools,
    predicted: Bools,
    privileged: Bools,
    names: tuple[str, str],
    *,
    resamples: int,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """measure → {value, low, high}, and measure → group → {value, low, high} for BY_GROUP.

    The arrays have shape (n,) and are true where the outcome is favourable and where the row is privileged;
    `names` are those of the privileged and the unprivileged group. A value that is not defined is null with a reason.
    """
    metric = toolkit.classification_metric(actual, predicted, privileged)
    sides = {False: counts(actual[~privileged], predicted[~privileged])}
    sides[True] = counts(actual[privileged], predicted[privileged])
    with np.errstate(all="ignore"):
        drawn = {side: resample(table, resamples, rng) for side, table in sides.items()}
        spread = differences(drawn[False], drawn[True])
        spread_by_group = {side: rates(table) for side, table in drawn.items()}

    found: dict[str, Any] = {}
    for name in DIFFERENCES:
        value = toolkit.number(getattr(metric, name))
        found[name] = _entry(value, spread[name], confidence, _undefined(name, sides, names))
    for name in BY_GROUP:
        found[name] = {}
        for side, group in ((True, names[0]), (False, names[1])):
            value = toolkit.number(getattr(metric, name), side)
            found[name][group] = _entry(value, spread_by_group[side][name], confidence, "")
    return found


def _entry(value: float, samples: Array, confidence: float, reason: str) -> dict[str, Any]:
    if not math.isfinite(value):
        return {"value": None, "reason": reason}
    return intervals.entry(value, samples, confidence)


def _undefined(name: str, sides: dict[bool, Array], names: tuple[str, str]) -> str:
    """Why a difference has no value, in words."""
    for side, group in ((True, names[0]), (False, names[1])):
        tp, fp, fn, tn = sides[side]
        if name == "disparate_impact" and side and tp + fp == 0:
            return f"nothing favourable was predicted for `{group}`, so there is nothing to divide by"
        if "odds" in name and fp + tn == 0:
            return f"every true label of `{group}` is favourable, so it has no false-positive rate"
        if ("odds" in name or "opportunity" in name) and tp + fn == 0:
            return f"no true label of `{group}` is favourable, so it has no true-positive rate"
    return "it is not a finite number"
