"""What people decided about single rows: a line of JSON each, in files under data/review/decisions/, kept in git.

    {"row_id": "5f0c…", "decision": "label", "label": "no", "by": "ada@example.org", "on": "2026-03-01"}

decision: keep, drop, or label (with the new one). Files are read in the order of their names; of several decisions
about a row the last counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.cleaning.finding import Finding
from clew.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("keep", "drop", "label")


class Decision(NamedTuple):
    """kind: one of KINDS. label: the new one, where kind is label. by, on: who decided and when, in their words."""

    kind: str
    label: str | None
    by: str
    on: str


def read(folder: Path) -> dict[str, Decision]:
    """row_id → the last decision about it; raises DataError with file and line."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(text(path).split("\n"), 1):
            if line.strip():
                row_id, decision = parse(line, f"{path}:{number}")
                found[row_id] = decision
    return found


def text(path: Path) -> str:
    """A file's text; raises DataError where it has none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        fix = "Decisions are lines of JSON in UTF-8; `clew review export` writes the form."
        raise DataError(f"it cannot be read ({error})", where=str(path), fix=fix) from None


def parse(line: str, where: str) -> tuple[str, Decision]:
    """(row_id, decision) of a line; raises DataError."""
    fix = 'A line is {"row_id": …, "decision": "keep", "drop" or "label", "label": …, "by": …, "on": …}.'
    try:
        value: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"not JSON ({error})", where=where, fix=fix) from None
    if not isinstance(value, dict):
        raise DataError("not a JSON object", where=where, fix=fix)
    row_id, kind, label = (value.get(name) for name in ("row_id", "decision", "label"))
    if not isinstance(row_id, str) or not re.fullmatch("[0-9a-f]{64}", row_id):
        raise DataError(f"row_id {row_id!r} is not 64 hex digits", where=where, fix=fix)
    if kind not in KINDS:
        raise DataError(f"decision {kind!r} is none of {', '.join(KINDS)}", where=where, fix=fix)
    if kind == "label" and not (isinstance(label, str) and label):
        raise DataError("the decision is `label`, and no label is given", where=where, fix=fix)
    by, on = (str(value.get(name) or "") for name in ("by", "on"))
    return row_id, Decision(kind, label if kind == "label" else None, by, on)


def findings(rows: pa.Table, decisions: Mapping[str, Decision]) -> dict[int, Finding]:
    """What the decisions say of these rows, by position. Those about other rows are passed over.

    Raises DataError where a label is none of the row's choices.
    """
    if not decisions:
        return {}
    found = {}
    for position, row_id in enumerate(rows["row_id"].to_pylist()):
        if row_id in decisions:
            found[position] = _finding(rows.slice(position, 1).to_pylist()[0], decisions[row_id])
    return found


def _finding(row: Mapping[str, Any], decision: Decision) -> Finding:
    told = " ".join(filter(None, [decision.by and f"by {decision.by}", decision.on and f"on {decision.on}"])) or None
    if decision.kind == "drop":
        return Finding("drop", detail=told)
    if decision.label is None or decision.label == row["label"]:
        return Finding("keep", detail=told)
    if decision.label not in (row["choices"] or ()):
        raise DataError(
            f"label `{decision.label}` is none of the row's choices ({', '.join(row['choices'] or ()) or 'none'})",
            where=f"data/review/decisions, row {row['row_id'][:12]}",
            fix="Mend the decision.",
        )
    changes = relabelled(row, decision.label)
    return Finding("fix", detail=f"{told or 'a person'}: {row['label']} → {decision.label}", changes=changes)


def relabelled(row: Mapping[str, Any], label: str) -> dict[str, str]:
    """A row's new values where `label` is the right one: a completion that was the label follows, and where the new
    label was the rejected answer, the old one is it now."""
    changes = {"label": label}
    if row["completion"] == row["label"]:
        changes["completion"] = label
    if row["rejected"] == label:
        changes["rejected"] = row["label"]
    return changes
