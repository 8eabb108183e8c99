"""clean: data/rows.parquet → data/clean.parquet, rule by rule, each decision in the ledger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from clew import io, ledger, paths, rows
from clew.cleaning import RULES, Finding
from clew.errors import DataError

if TYPE_CHECKING:
    from clew import params


def run(clean: params.Clean, seed: int) -> dict[str, Any]:
    """Apply the rules in order; a rule sees only the rows that those before it left."""
    before = rows.read(paths.ROWS)
    left, verdicts, figures = apply(before, clean, seed)
    if not left:
        dropped = Counter(finding.rule for finding in verdicts.values()).most_common()
        counts = ", ".join(f"{rule} {count:,}" for rule, count in dropped) or "none came in"
        raise DataError(f"no row is left of {len(before):,}: {counts}", where="clean", fix="Loosen these rules.")
    entries = [_entry(row, verdicts.get(position)) for position, row in enumerate(before)]
    rows.write(paths.CLEAN, left)
    ledger.write("clean", entries, rows_in=len(before), rows_out=len(left))
    io.write_json(paths.CLEAN_METRICS, _figures(before, verdicts, len(left)) | figures)
    return {"rows": len(left)}


def apply(
    before: list[dict[str, Any]], clean: params.Clean, seed: int
) -> tuple[list[dict[str, Any]], dict[int, Finding], dict[str, Any]]:
    """The rows left (with their weights), the last finding by position in `before`, and each rule's figures."""
    current = dict(enumerate(before))
    verdicts: dict[int, Finding] = {}
    figures: dict[str, Any] = {}
    for name, find in RULES.items():
        if not current:
            break
        positions = list(current)
        findings = find([current[position] for position in positions], getattr(clean, name), seed)
        for local, finding in findings.by_position.items():
            position = positions[local]
            verdicts[position] = finding
            if finding.decision == "dropped":
                del current[position]
            elif finding.weight is not None:
                current[position] = {**current[position], "weight": finding.weight}
        if findings.figures:
            figures[name] = findings.figures
    return list(current.values()), verdicts, figures


def _entry(row: dict[str, Any], finding: Finding | None) -> dict[str, Any]:
    if finding is None:
        return ledger.entry(row, "clean", "kept")
    return ledger.entry(
        row,
        "clean",
        finding.decision,
        finding.rule,
        score=finding.score,
        threshold=finding.threshold,
        detail=finding.detail,
    )


def _figures(before: list[dict[str, Any]], verdicts: dict[int, Finding], left: int) -> dict[str, Any]:
    by_task: dict[str, Any] = {}
    for task in sorted({row["task"] for row in before}):
        positions = [position for position, row in enumerate(before) if row["task"] == task]
        found = [verdicts[position] for position in positions if position in verdicts]
        dropped = Counter(finding.rule for finding in found if finding.decision == "dropped")
        changed = Counter(finding.rule for finding in found if finding.decision == "changed")
        by_task[task] = {
            "in": len(positions),
            "out": len(positions) - dropped.total(),
            "dropped": dict(dropped),
            "changed": dict(changed),
        }
    return {"rows_in": len(before), "rows_out": left, "by_task": by_task}
