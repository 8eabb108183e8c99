"""Whom an audit compares: the rows of its task whose attribute has the one value or the other."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clew.errors import DataError
from clew.fairness.toolkit import Bools

if TYPE_CHECKING:
    from clew import params

Row = Mapping[str, Any]

CORRECT = "correct"
"""The favourable outcome of multiple choice: being answered rightly."""


@dataclass(frozen=True)
class Members:
    """The audited rows, in the order of all rows."""

    rows: list[Row]
    positions: NDArray[np.intp]
    """Where they stand among all rows."""
    privileged: Bools
    """Which of them are; the others are unprivileged."""
    neither: int
    """The number of the task's rows that are in neither group."""


def members(audit: params.Audit, rows: Sequence[Row], *, where: str) -> Members:
    """The rows of the audit's task that are in one of its two groups.

    Raises DataError when the task has no rows, or a group has no members.
    """
    ours = [index for index, row in enumerate(rows) if row["task"] == audit.task]
    if not ours:
        raise _no_task(audit, {row["task"] for row in rows}, where)
    values = {index: (rows[index]["groups"] or {}).get(audit.attribute) for index in ours}
    count = Counter(value for value in values.values() if value is not None)
    pair = (audit.privileged, audit.unprivileged)
    for group in pair:
        if not count[group]:
            raise _no_members(audit, group, count, where)
    found = [index for index in ours if values[index] in pair]
    return Members(
        rows=[rows[index] for index in found],
        positions=np.array(found),
        privileged=np.array([values[index] == audit.privileged for index in found]),
        neither=len(ours) - len(found),
    )


def favorable(audit: params.Audit, rows: Sequence[Row], column: str, *, where: str) -> Bools:
    """Whether each row's `column` (label or prediction) is the favourable outcome.

    Raises DataError when the rows have no labels, or the favourable one is none of their choices.
    """
    if any(row["label"] is None for row in rows):
        raise DataError(
            f"task {audit.task} has rows without a label, so no outcome is favourable",
            where=where,
            fix="Audit a task of labels or of multiple choice.",
        )
    if audit.favorable == CORRECT:
        return np.array([row[column] == row["label"] for row in rows], dtype=bool)
    known = {row["label"] for row in rows} | {choice for row in rows for choice in row["choices"] or []}
    if audit.favorable not in known:
        raise DataError(
            f"no row of task {audit.task} has `{audit.favorable}` as label or choice ({_hint(audit.favorable, known)})",
            where=where,
            fix="Correct `favorable`.",
        )
    return np.array([row[column] == audit.favorable for row in rows], dtype=bool)


def described(audit: params.Audit) -> dict[str, str]:
    """What an audit asked, to stand beside its numbers."""
    return {
        "privileged": audit.privileged,
        "unprivileged": audit.unprivileged,
        "favorable": audit.favorable,
    }


def _no_task(audit: params.Audit, tasks: Collection[str], where: str) -> DataError:
    return DataError(
        f"there are no rows of task `{audit.task}` ({_hint(audit.task, tasks)})",
        where=where,
        fix="Correct `task`, or raise its limits in split.limits.",
    )


def _no_members(audit: params.Audit, group: str, count: Counter[str], where: str) -> DataError:
    values = ", ".join(f"{value} ({n})" for value, n in sorted(count.items())) or "none"
    return DataError(
        f"no row of task {audit.task} has {audit.attribute} `{group}`; the values that occur are: {values}",
        where=where,
        fix="Correct `privileged` or `unprivileged`, or take more rows.",
    )


def _hint(name: str, valid: Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(valid), n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(sorted(valid))}"
