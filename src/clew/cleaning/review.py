"""What people decided about single rows: a line of JSON each, in files under data/review/decisions/, kept in git.

    {"row_id": "5f0c…", "decision": "label", "label": "no", "by": "ada@example.org", "on": "2026-03-01"}

decision: keep, drop, or label (with the new one). Files are read in the order of their names; of several decisions
about a row the last counts.

A decision is about a row's content: it holds for all rows of that id. Where a rule asked whether one of several copies
is needed, it says which (`"copy": 2`, the second row of that id) and holds for this one alone, whatever is said of all
of them before or after; a label holds for all that are not dropped.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clew import answers
from clew.cleaning.finding import Finding
from clew.errors import DataError

if TYPE_CHECKING:
    from clew.cleaning.store import Rows

KINDS = ("keep", "drop", "label")
COPIES = ("duplicates", "near_duplicates")
"""Rules that look for copies: what a person said of a row's content does not stand over them for its later copies."""


class Decision(NamedTuple):
    """kind: one of KINDS. label: of `label` the new one; of `keep` the one that the person saw, if it is told.

    by, on: who decided and when, in their words. copy: which of the rows with the id, 1 the first; None: all of them.
    """

    kind: str
    label: str | None
    by: str
    on: str
    copy: int | None


Decisions = Mapping[str, Mapping[int | None, Decision]]
"""row_id → copy (None: all that are not named) → what was decided last."""


class Said(NamedTuple):
    """A decision about the row at some position. copies: whether it stands over COPIES, too."""

    decision: Decision
    copies: bool


def read(folder: Path) -> Decisions:
    """The decisions of a folder; raises DataError with file and line."""
    found: dict[str, dict[int | None, Decision]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(text(path).split("\n"), 1):
            if line.strip():
                row_id, decision = parse(line, f"{path}:{number}")
                of_row = found.setdefault(row_id, {})
                of_row[decision.copy] = decision
                if decision.kind == "label":
                    of_row[None] = decision
                    of_row.update({copy: decision for copy, one in of_row.items() if one.kind != "drop"})
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
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error})", where=where, fix=fix) from None
    if not isinstance(value, dict):
        raise DataError("not a JSON object", where=where, fix=fix)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError("an escape such as \\ud800 in it is half a character", where=where, fix=fix) from None
    row_id, kind, label = (value.get(name) for name in ("row_id", "decision", "label"))
    if not isinstance(row_id, str) or not re.fullmatch("[0-9a-f]{64}", row_id):
        raise DataError(f"row_id {row_id!r} is not 64 hex digits", where=where, fix=fix)
    if kind not in KINDS:
        raise DataError(f"decision {kind!r} is none of {', '.join(KINDS)}", where=where, fix=fix)
    if kind == "label" and not (isinstance(label, str) and label):
        raise DataError("the decision is `label`, and no label is given", where=where, fix=fix)
    copy = value.get("copy")
    if copy is not None and not (type(copy) is int and copy > 0):
        raise DataError(f"copy {copy!r} is no number from 1 on", where=where, fix=fix)
    by, on = (str(value.get(name) or "") for name in ("by", "on"))
    told = label if kind != "drop" and isinstance(label, str) and label else None
    return row_id, Decision(kind, told, by, on, copy)


def said(row_ids: Iterable[str], decisions: Decisions) -> tuple[dict[int, Said], dict[str, int]]:
    """What was decided about rows, by position, and how many decisions there are, and are about none of them."""
    counts: Counter[str] = Counter()
    found = {}
    for position, row_id in enumerate(row_ids if decisions else ()):
        if row_id in decisions:
            counts[row_id] += 1
            copy, of_row = counts[row_id], decisions[row_id]
            if decision := of_row.get(copy) or of_row.get(None):
                found[position] = Said(decision, copy == 1 or copy in of_row)
    told = [(row_id, decision) for row_id, of_row in decisions.items() for decision in {*of_row.values()}]
    of_none = sum((decision.copy or 1) > counts[row_id] for row_id, decision in told)
    return found, {"decisions": len(told), "of_no_row": of_none}


def findings(rows: Rows, said: Mapping[int, Said]) -> dict[int, Finding]:
    """What a person said of some rows, as findings; raises DataError where a label is none of the row's choices."""
    told = rows.take(
        np.fromiter(said, np.int64), ["row_id", "label", "labels", "choices", "completion", "rejected"]
    ).to_pylist()
    return {position: _finding(row, one.decision) for (position, one), row in zip(said.items(), told, strict=True)}


def overruled(rule: str, finding: Finding, said: Said) -> Finding:
    """What is left of a rule's finding about a row that a person decided about.

    Mends and fillings, which the person saw; but no other label than the one that was said. Personal data is masked,
    whatever its action: in a queue it may have been.
    """
    if finding.within:
        return finding._replace(action="fix")
    if rule in COPIES and not said.copies:
        return finding
    if finding.action == "fix" and not (said.decision.label and "label" in (finding.changes or ())):
        return finding
    return finding._replace(action="keep")


def named(decisions: Decisions) -> AbstractSet[str]:
    """The ids of which single copies were decided about."""
    return {row_id for row_id, of_row in decisions.items() if any(of_row)}


def copies(row_ids: Iterable[str], some: Collection[str], positions: Collection[int]) -> dict[int, int]:
    """Which of the rows with its id each row at `positions` is, 1 the first, where there are several; of `some` ids."""
    counts: Counter[str] = Counter()
    found = {}
    for position, row_id in enumerate(row_ids if some else ()):
        if row_id in some:
            counts[row_id] += 1
            if position in positions:
                found[position] = (row_id, counts[row_id])
    return {position: copy for position, (row_id, copy) in found.items() if counts[row_id] > 1}


def _finding(row: Mapping[str, Any], decision: Decision) -> Finding:
    told = " ".join(filter(None, [decision.by and f"by {decision.by}", decision.on and f"on {decision.on}"])) or None
    if decision.kind == "drop":
        return Finding("drop", detail=told)
    if decision.label is None or decision.label == row["label"]:
        return Finding("keep", detail=told)
    label = answers.as_label(decision.label, row["choices"] or (), several=row["labels"] is not None)
    if label is None:
        raise DataError(
            f"label `{decision.label}` is none of the row's choices ({', '.join(row['choices'] or ()) or 'none'})",
            where=f"data/review/decisions, row {row['row_id'][:12]}",
            fix="Mend the decision.",
        )
    if label == row["label"]:
        return Finding("keep", detail=told)
    changes = relabelled(row, label)
    return Finding("fix", detail=f"{told or 'a person'}: {row['label']} → {label}", changes=changes)


def relabelled(row: Mapping[str, Any], label: str) -> dict[str, Any]:
    """A row's new values where `label` is the right one: a completion that was the label follows, and where the new
    label was the rejected answer, the old one is it now."""
    changes: dict[str, Any] = {"label": label}
    if row["labels"] is not None:
        changes["labels"] = answers.parted(label, row["choices"])
    if row["completion"] == row["label"]:
        changes["completion"] = label
    if row["rejected"] == label:
        changes["rejected"] = row["label"]
    return changes
