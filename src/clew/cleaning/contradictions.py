"""The same text twice in one task with different labels: neither can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clew.cleaning.duplicates import meant, same_texts
from clew.cleaning.finding import Context, Finding, Findings

if TYPE_CHECKING:
    from clew.cleaning.store import Rows
    from clew.params_clean import ContradictionsRule


def find(rows: Rows, rule: ContradictionsRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows whose normalised text has another label elsewhere in the task."""
    found = {}
    for same in same_texts(rows, ["label", "options"]):
        different = sorted({meant(row) or "" for row in same.values()})
        if len(different) > 1:
            lettered = any(row["options"] for row in same.values())
            told = f"{len(different)} right answers" if lettered else " / ".join(different)
            found.update(dict.fromkeys(same, Finding(rule.action, detail=told)))
    return Findings(found)
