"""Which rows a stage learns preferences from, evenly from its tasks, and why the others were left out.

choose(rows, ("stress", "exam"), 96, check_pair, fit, …)
→  Choice(rows=[…], items=[Pair(…), …], left={id(row): ("too_long", "…")})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from clew import ledger
from clew.errors import DataError
from clew.rows import is_unwanted

Row = Mapping[str, Any]
Item = TypeVar("Item")


class Unfit(Exception):  # noqa: N818 - a row's verdict, not an error of the program
    """A row that nothing can be learnt from: rule (a word for the ledger) and detail (what was found)."""

    def __init__(self, rule: str, detail: str | None = None) -> None:
        super().__init__(rule, detail)
        self.rule, self.detail = rule, detail


@dataclass(frozen=True)
class Choice(Generic[Item]):
    """rows: those that were chosen. items: what `fit` made of each. left: by id(row), rule and detail of the unfit."""

    rows: list[Row]
    items: list[Item]
    left: dict[int, tuple[str, str | None]]


def choose(
    rows: Sequence[Row],
    tasks: Sequence[str],
    limit: int,
    check: Callable[[Row], None],
    fit: Callable[[Row], Item],
    where: str,
) -> Choice[Item]:
    """At most `limit` rows that `check` and `fit` take, as evenly from the tasks as they allow, by row_id.

    By row_id: a choice that does not change with the order of the rows. check, fit: raise Unfit for rows to leave out;
    every row of the tasks is checked, and only as many are fitted as it takes.
    where: the param that names the tasks, for the DataError where a task has no row that fits.
    """
    left: dict[int, tuple[str, str | None]] = {}
    waiting: dict[str, list[Row]] = {}
    for task in tasks:
        of_task = [row for row in rows if row["task"] == task]
        by_id = {row["row_id"]: row for row in of_task if _passes(row, check, left)}
        waiting[task] = [by_id[row_id] for row_id in sorted(by_id)]
    found: dict[str, int] = dict.fromkeys(tasks, 0)
    chosen: list[Row] = []
    items: list[Item] = []
    while len(chosen) < limit and any(waiting.values()):
        for task in tasks:
            if len(chosen) == limit:
                break
            one = _next(waiting[task], fit, left)
            if one is not None:
                chosen.append(one[0])
                items.append(one[1])
                found[task] += 1
    for task, n in found.items():
        if not n and not waiting[task]:
            raise _none(task, [left[id(row)] for row in rows if row["task"] == task and id(row) in left], where)
    return Choice(chosen, items, left)


def _passes(row: Row, check: Callable[[Row], None], left: dict[int, tuple[str, str | None]]) -> bool:
    try:
        check(row)
    except Unfit as unfit:
        left[id(row)] = unfit.rule, unfit.detail
        return False
    return True


def _next(
    waiting: list[Row], fit: Callable[[Row], Item], left: dict[int, tuple[str, str | None]]
) -> tuple[Row, Item] | None:
    while waiting:
        row = waiting.pop(0)
        try:
            return row, fit(row)
        except Unfit as unfit:
            left[id(row)] = unfit.rule, unfit.detail
    return None


def _none(task: str, reasons: Sequence[tuple[str, str | None]], where: str) -> DataError:
    stage = where.partition(".")[0]
    why = {rule for rule, _ in reasons}
    if why <= {"no_rejected_answer"}:
        return DataError(
            f"no training row of task `{task}` has a rejected answer" if why else f"task `{task}` has no training row",
            where=where,
            fix=f"Set prepare.tasks.{task}.rejected: true, take the task out, or set {stage}.enabled: false.",
        )
    if why <= {"no_rejected_answer", "no_wanted_answer"}:
        return DataError(
            f"no training row of task `{task}` has both a wanted and an unwanted answer",
            where=where,
            fix="Learn from them by align.algorithm: kto, which needs no pairs, or take the task out.",
        )
    told = ", ".join(sorted(f"{rule} {sum(one == rule for one, _ in reasons)}" for rule in why))
    return DataError(
        f"no training row of task `{task}` can be used ({told})",
        where=where,
        fix=f"Mend the rows under prepare or clean, raise {stage}.max_length, or take the task out.",
    )


def entries(
    train: Sequence[Row], choice: Choice[Any], tasks: Sequence[str], stage: str, cut: Set[str]
) -> list[dict[str, Any]]:
    """The ledger: each training row was chosen, or why not. cut: ids of rows whose prompt lost its middle."""
    taken = {id(row) for row in choice.rows}
    ids = {row["row_id"] for row in choice.rows}
    found = []
    for row in train:
        if id(row) in taken:
            rule = "cut" if row["row_id"] in cut else None
            found.append(ledger.entry(row, stage, "changed" if rule else "kept", rule))
            continue
        reason, detail = choice.left.get(id(row), ("limit", None))
        if row["task"] not in tasks:
            reason = "other_task"
        elif row["row_id"] in ids:
            reason = "duplicate"
        found.append(ledger.entry(row, stage, "dropped", reason, detail=detail))
    return found


def check_any(row: Row) -> None:
    """Take every row."""


def check_pair(row: Row) -> None:
    """Raise Unfit for a row that is no preference pair: an answer is missing or empty, or both are the same."""
    if row["rejected"] is None:
        raise Unfit("no_rejected_answer")
    if is_unwanted(row):
        raise Unfit("no_wanted_answer")
    for side in ("completion", "rejected"):
        if not (row[side] or "").strip():
            raise Unfit("empty_answer", side)
    if row["completion"].strip() == row["rejected"].strip():
        raise Unfit("same_answers", "the completion is the rejected answer")
