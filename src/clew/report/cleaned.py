"""What the page shows of cleaning: a few rows that each rule found, and the labels before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from clew import io, ledger, paths, rows

EXAMPLES = 3
HIDDEN = ("personal_data",)
"""Rules whose rows are shown as they were left, never as they came."""


class Example(NamedTuple):
    """A row that a rule found. start, end: the offending part of `text`, in characters; None where there is none."""

    row_id: str
    source: str
    text: str | None
    decision: str
    score: float | None
    threshold: float | None
    detail: str | None
    start: int | None
    end: int | None


class Cleaned(NamedTuple):
    """examples: rule → a few. balance: task → label → rows in (data/rows, data/clean, data/train)."""

    examples: Mapping[str, Sequence[Example]]
    balance: Mapping[str, Mapping[str, tuple[int, int, int]]]


def read() -> Cleaned:
    """Read the ledger and the rows that lie below the current folder; whole texts leave the columns only if shown."""
    return Cleaned(_examples(), _balance())


def _examples() -> dict[str, list[Example]]:
    """Of each rule's rows those farthest beyond the threshold, then by row id: fixed by the data."""
    columns = ["row_id", "source", "decision", "rule", "score", "threshold", "detail", "start", "end"]
    table = io.read_table(paths.ledger("clean"), ledger.SCHEMA, columns)
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for position, entry in enumerate(table.to_pylist()):
        if entry["rule"]:
            found.setdefault(entry["rule"], []).append((position, entry))
    chosen = {rule: sorted(some, key=_surest)[:EXAMPLES] for rule, some in sorted(found.items())}
    texts = _texts([position for some in chosen.values() for position, _ in some])
    left = dict(_left([entry["row_id"] for rule in HIDDEN for _, entry in chosen.get(rule, ())]))
    return {
        rule: [_example(rule, entry, texts[position], left) for position, entry in some]
        for rule, some in chosen.items()
    }


def _surest(one: tuple[int, Mapping[str, Any]]) -> tuple[float, str]:
    score, threshold = one[1]["score"], one[1]["threshold"]
    far = 0.0 if score is None or threshold is None else abs(score - threshold)
    return -far, one[1]["row_id"]


def _example(rule: str, entry: Mapping[str, Any], text: str | None, left: Mapping[str, str | None]) -> Example:
    hidden = rule in HIDDEN
    shown = left.get(entry["row_id"]) if hidden else text
    start, end = (None, None) if hidden else (entry["start"], entry["end"])
    facts = {name: entry[name] for name in ("row_id", "source", "decision", "score", "threshold", "detail")}
    return Example(text=shown, start=start, end=end, **facts)


def _texts(positions: Sequence[int]) -> dict[int, str | None]:
    """The texts at some positions of data/rows.parquet, as they came."""
    column = io.read_table(paths.ROWS, rows.SCHEMA, ["text"])["text"]
    return dict(zip(positions, column.take(positions).to_pylist(), strict=True)) if positions else {}


def _left(row_ids: Sequence[str]) -> list[tuple[str, str | None]]:
    """(row_id, text as cleaning left it) of those that are left."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not row_ids:
        return []
    table = io.read_table(paths.CLEAN, rows.SCHEMA, ["row_id", "text"])
    some = table.filter(pc.is_in(table["row_id"], pa.array(row_ids)))
    return list(zip(some["row_id"].to_pylist(), some["text"].to_pylist(), strict=True))


def _balance() -> dict[str, dict[str, tuple[int, int, int]]]:
    counted = [_labels(path) for path in (paths.ROWS, paths.CLEAN, paths.TRAIN)]
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for task, label in sorted({pair for counts in counted for pair in counts}):
        first, second, third = (counts.get((task, label), 0) for counts in counted)
        found.setdefault(task, {})[label] = (first, second, third)
    return found


def _labels(path: Any) -> dict[tuple[str, str], int]:
    """(task, label) → rows, of rows that have a label."""
    table = io.read_table(path, rows.SCHEMA, ["task", "label"])
    counted = table.group_by(["task", "label"]).aggregate([([], "count_all")]).to_pylist()
    return {(row["task"], row["label"]): row["count_all"] for row in counted if row["label"] is not None}
