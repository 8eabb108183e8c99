"""The same text twice in one task with different labels: neither can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clew.cleaning.duplicates import meant, same_texts
from clew.cleaning.finding import Context, Finding, Findings

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import ContradictionsRule


def find(rows: pa.Table, rule: ContradictionsRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows whose normalised text has another label elsewhere in the task."""
    labels, lettered = meant(rows), rows["options"].is_valid().to_pylist()
    found = {}
    for positions in same_texts(rows):
        different = sorted({labels[position] or "" for position in positions})
        if len(different) > 1:
            told = f"{len(different)} right answers" if lettered[positions[0]] else " / ".join(different)
            found.update(dict.fromkeys(positions, Finding(rule.action, detail=told)))
    return Findings(found)
