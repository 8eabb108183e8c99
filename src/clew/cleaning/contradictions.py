"""The same text twice in one task with different labels, or the same answer to it wanted and not: neither can be
trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any

from clew.cleaning.duplicates import ANSWERS, judged, judging, meant, same_texts
from clew.cleaning.finding import Context, Finding, Findings

if TYPE_CHECKING:
    from clew.cleaning.store import Rows
    from clew.params_clean import ContradictionsRule


def find(rows: Rows, rule: ContradictionsRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows whose normalised text has another label, or whose answer to it another verdict, elsewhere in the task."""
    tasks = judging(rows)
    found = {}
    for same in same_texts(rows, ["label", "options", *(ANSWERS if tasks else ())]):
        different = sorted({meant(row) or "" for row in same.values()})
        if len(different) > 1:
            lettered = any(row["options"] for row in same.values())
            told = f"{len(different)} right answers" if lettered else " / ".join(different)
            found.update(dict.fromkeys(same, Finding(rule.action, detail=told)))
        for wanted, unwanted in _by_verdict(same, tasks):
            if wanted and unwanted:
                told = f"the answer {len(wanted)} × wanted, {len(unwanted)} × unwanted"
                found.update(dict.fromkeys([*wanted, *unwanted], Finding(rule.action, detail=told)))
    return Findings(found)


def _by_verdict(same: Mapping[int, Mapping[str, Any]], tasks: Set[str]) -> Iterable[tuple[list[int], list[int]]]:
    """Of each judged answer the rows in which it was wanted, and those in which it was not."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for position, row in same.items():
        if (one := judged(row, tasks)) is not None:
            found.setdefault(one[0], ([], []))[0 if one[1] else 1].append(position)
    return found.values()
