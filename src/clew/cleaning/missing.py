"""Empty fields: a row without text, answer or label teaches nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clew.cleaning.finding import Finding, Findings

if TYPE_CHECKING:
    from clew.params import MissingRule


def find(rows: list[dict[str, Any]], rule: MissingRule, seed: int) -> Findings:  # noqa: ARG001 - a rule's form
    """Drop rows in which one of `rule.fields` is empty or blank; `label` counts only where a row has choices."""
    found = {}
    for position, row in enumerate(rows):
        empty = [name for name in rule.fields if _is_empty(row, name)]
        if empty:
            found[position] = Finding("dropped", "missing", detail=", ".join(empty))
    return Findings(found)


def _is_empty(row: dict[str, Any], name: str) -> bool:
    if name == "label" and not row["choices"]:
        return False
    return not (row[name] or "").strip()
