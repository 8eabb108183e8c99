"""The same text twice in one task with different labels: neither can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clew.cleaning.duplicates import same_texts
from clew.cleaning.finding import Context, Finding, Findings

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import ContradictionsRule


def find(rows: pa.Table, rule: ContradictionsRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """Rows whose normalised text has another label elsewhere in the task."""
    labels = rows["label"].to_pylist()
    found = {}
    for positions in same_texts(rows):
        different = sorted({labels[position] or "" for position in positions})
        if len(different) > 1:
            found.update(dict.fromkeys(positions, Finding(rule.action, detail=" / ".join(different))))
    return Findings(found)
