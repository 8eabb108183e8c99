"""Two ledgers of a stage: which rows a rule drops or changes now and did not before, and the other way round.

clean.parquet of main, of strict  →  DecisionChange("clean", "length", dropped=(5, 61), newly_dropped=56, …)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew.lineage import arrow, row_tables
from clew.lineage.data_changes import DecisionChange
from clew.lineage.row_tables import Mask, Match, Positions

COLUMNS = ("row_id", "source", "file", "record", "decision", "rule", "score", "detail")
PLACE = ("source", "file", "record")
SPLIT = "split"
"""The stage whose detail is the side that a row was put on."""


def compare(stage: str, files: tuple[Path, Path], sample: int) -> tuple[list[DecisionChange], dict[str, int]]:
    """The rules whose decisions differ, and for the split how many rows moved ("train → test"); raises DataError."""
    was, now = (row_tables.read(file, COLUMNS) for file in files)
    by_id, by_place = row_tables.match_rows(was, now, PLACE)
    left, right = np.r_[by_id.left, by_place.left], np.r_[by_id.right, by_place.right]
    both = Match(left, right, by_place.left_alone, by_place.right_alone)
    rules = [rule for rule in dict.fromkeys([*_rules(was), *_rules(now)]) if rule]
    changes = [_change(stage, rule, was, now, both, sample) for rule in rules]
    return [one for one in changes if _differs(one)], dict(_moved(was, now, both)) if stage == SPLIT else {}


def _rules(ledger: pa.Table) -> list[str | None]:
    decided = pc.or_(arrow.equal(ledger["decision"], "dropped"), arrow.equal(ledger["decision"], "changed"))
    return list(ledger["rule"].filter(decided).unique().to_pylist())


def _change(stage: str, rule: str, was: pa.Table, now: pa.Table, both: Match, sample: int) -> DecisionChange:
    dropped_before, dropped_after = _is(was, "dropped", rule), _is(now, "dropped", rule)
    changed_before, changed_after = _is(was, "changed", rule), _is(now, "changed", rule)
    left_dropped, right_dropped = dropped_before[both.left], dropped_after[both.right]
    left_changed, right_changed = changed_before[both.left], changed_after[both.right]
    still = np.flatnonzero(left_changed & right_changed)
    otherwise = still[_scored_otherwise(was, now, both.left[still], both.right[still])]
    touched = (left_dropped != right_dropped) | (left_changed != right_changed)
    touched[otherwise] = True
    examples = arrow.taken(now["row_id"], row_tables.spread(np.sort(both.right[touched]), sample)).to_pylist()
    return DecisionChange(
        stage=stage,
        rule=rule,
        dropped=(_sum(dropped_before), _sum(dropped_after)),
        changed=(_sum(changed_before), _sum(changed_after)),
        newly_dropped=_sum(right_dropped & ~left_dropped),
        no_longer_dropped=_sum(left_dropped & ~right_dropped),
        newly_changed=_sum(right_changed & ~left_changed),
        no_longer_changed=_sum(left_changed & ~right_changed),
        otherwise_changed=len(otherwise),
        sample=tuple(examples),
    )


def _is(ledger: pa.Table, decision: str, rule: str) -> Mask:
    return row_tables.is_value(ledger["decision"], decision) & row_tables.is_value(ledger["rule"], rule)


def _scored_otherwise(was: pa.Table, now: pa.Table, left: Positions, right: Positions) -> Mask:
    found: Mask = np.zeros(len(left), dtype=np.bool_)
    for name in ("score", "detail"):
        found |= row_tables.differ(arrow.taken(was[name], left), arrow.taken(now[name], right))
    return found


def _differs(change: DecisionChange) -> bool:
    moved = change.newly_dropped, change.no_longer_dropped, change.newly_changed, change.no_longer_changed
    totals = change.dropped[0] != change.dropped[1] or change.changed[0] != change.changed[1]
    return totals or any(moved) or bool(change.otherwise_changed)


def _sum(mask: Mask) -> int:
    return int(mask.sum())


def _moved(was: pa.Table, now: pa.Table, both: Match) -> Iterator[tuple[str, int]]:
    before, after = arrow.taken(was["detail"], both.left), arrow.taken(now["detail"], both.right)
    sides = pa.table({"was": before, "now": after})
    for old, new, n in row_tables.counts(sides, np.arange(sides.num_rows), ["was", "now"]):
        if old and new and old != new:
            yield f"{old} → {new}", n
