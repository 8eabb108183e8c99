"""Measures of the training labels by group, and weights that make label and group independent.

Kamiran and Calders, "Data preprocessing techniques for classification without discrimination", 2012: a row of group
g and label l gets the weight P(g) P(l) / P(g, l).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.errors import DataError
from clew.fairness import groups, toolkit
from clew.fairness.toolkit import Array, Bools

if TYPE_CHECKING:
    from clew import params


@dataclass(frozen=True)
class Audited:
    """An audit with the training rows that it is about."""

    audit: params.Audit
    members: groups.Members
    favorable: Bools
    """Which of the members have the favourable label."""


def audited(audit: params.Audit, rows: Sequence[groups.Row], *, where: str) -> Audited:
    """Find an audit's rows among all training rows.

    Raises DataError when a group has no members, or the labels are of one class only.
    """
    if audit.favorable == groups.CORRECT:
        raise DataError(
            "`correct` is about predictions: every training label is right",
            where=where,
            fix="Name a label as `favorable`, or audit this task in fairness.audits only.",
        )
    found = groups.members(audit, rows, where=where)
    favorable = groups.favorable(audit, found.rows, "label", where=where)
    if favorable.all() or not favorable.any():
        raise DataError(
            f"the labels of task {audit.task} are of one class only: "
            f"{'all' if favorable.all() else 'none'} of {len(favorable)} are `{audit.favorable}`",
            where=where,
            fix="Take more rows of it in split.limits, or leave this audit out.",
        )
    return Audited(audit, found, favorable)


def bias(ours: Audited, weights: Array) -> dict[str, Any]:
    """AIF360's measures of the labels under these weights (of all rows): measure → {value} and a reason for null.

    mean_difference is the statistical parity difference of the labels, unprivileged minus privileged.
    """
    members = ours.members
    metric = toolkit.label_metric(ours.favorable, members.privileged, weights[members.positions])
    base_rates = {
        ours.audit.privileged: _entry(toolkit.number(metric.base_rate, True)),
        ours.audit.unprivileged: _entry(toolkit.number(metric.base_rate, False)),
    }
    return {
        "mean_difference": _entry(toolkit.number(metric.mean_difference)),
        "disparate_impact": _entry(toolkit.number(metric.disparate_impact)),
        "base_rate": base_rates,
        "mean_weight": _mean_weights(ours, weights[members.positions]),
    }


def sizes(ours: Audited) -> dict[str, Any]:
    """group → label → number of rows, and the number of the task's rows that are in neither group."""
    found = {group: {label: int(cell.sum()) for label, cell in cells.items()} for group, cells in _cells(ours)}
    return {**found, "neither": ours.members.neither}


def reweigh(ours: Audited, weights: Array) -> Array:
    """The weights of all rows with those of the audited rows reweighed; their sum stays the same.

    A (group, label) without rows cannot be weighed: label and group are then as independent as the rest allows.
    """
    positions = ours.members.positions
    changed = weights.copy()
    changed[positions] = toolkit.reweighing(ours.favorable, ours.members.privileged, weights[positions])
    return changed


def _mean_weights(ours: Audited, weights: Array) -> dict[str, Any]:
    """group → label → {value}: what a row of that group and label weighs on average; labels that occur only."""
    return {
        group: {label: _entry(float(weights[cell].mean())) for label, cell in cells.items() if cell.any()}
        for group, cells in _cells(ours)
    }


def _cells(ours: Audited) -> Iterator[tuple[str, dict[str, Bools]]]:
    """Each group's name, and for each label which of the members are of that group and label."""
    labels = np.array([row["label"] for row in ours.members.rows])
    privileged = ours.members.privileged
    for group, own in ((ours.audit.privileged, privileged), (ours.audit.unprivileged, ~privileged)):
        yield group, {str(label): own & (labels == label) for label in np.unique(labels)}


def _entry(value: float) -> dict[str, Any]:
    if math.isfinite(value):
        return {"value": value}
    return {"value": None, "reason": "no weight to divide by: a group or its favourable label has none"}
