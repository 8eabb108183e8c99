"""The same text twice in one task: the first row is enough, and where the labels differ neither can be trusted."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from clew.cleaning.finding import Finding, Findings
from clew.rows import normalise

if TYPE_CHECKING:
    from clew.params import DuplicatesRule


def find(rows: list[dict[str, Any]], rule: DuplicatesRule, seed: int) -> Findings:  # noqa: ARG001 - a rule's form
    """Drop all but the first of the rows with one normalised text and task; all of them where labels differ."""
    if not rule.enabled:
        return Findings()
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        groups[row["task"], normalise(row["text"] or "")].append(position)
    found = {}
    for positions in groups.values():
        labels = sorted({rows[position]["label"] or "" for position in positions})
        first = rows[positions[0]]
        if len(labels) > 1:
            for position in positions:
                found[position] = Finding("dropped", "contradiction", detail=" / ".join(labels))
        else:
            for position in positions[1:]:
                found[position] = Finding("dropped", "duplicate", detail=f"of row {first['row_id']}")
    return Findings(found)
