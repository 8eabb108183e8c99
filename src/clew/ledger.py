"""What a stage decided about each row, and why: nothing is dropped silently.

    {"row_id": "5f0c…", "file": "dreaddit_training.csv", "record": 17, "source": "dreaddit", "stage": "clean",
     "decision": "dropped", "rule": "length", "score": 2.0, "threshold": 3.0, "detail": "2 words",
     "parent_ids": []}

Rows in = rows kept or changed + rows dropped; rows out = rows kept or changed + rows added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa

from clew import io, paths

DIGITS = 6
"""Of a score: the last digits of a probability differ from one processor family to the next, and mean nothing."""

Decision = Literal["kept", "changed", "dropped", "added"]

SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("record", pa.int64()),
        ("stage", pa.string()),
        ("decision", pa.string()),
        ("rule", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("detail", pa.string()),
        ("parent_ids", pa.list_(pa.string())),
    ]
)


def entry(
    row: Mapping[str, Any],
    stage: str,
    decision: Decision,
    rule: str | None = None,
    *,
    score: float | None = None,
    threshold: float | None = None,
    detail: str | None = None,
) -> dict[str, Any]:
    """One decision about one occurrence of a row (its row_id, source, origin and parent_ids are read)."""
    return {
        "row_id": row["row_id"],
        "source": row["source"],
        "file": row["origin"]["file"],
        "record": row["origin"]["record"],
        "stage": stage,
        "decision": decision,
        "rule": rule,
        "score": None if score is None else round(score, DIGITS),
        "threshold": threshold,
        "detail": detail,
        "parent_ids": row["parent_ids"],
    }


def write(stage: str, entries: list[dict[str, Any]], *, rows_in: int, rows_out: int) -> None:
    """Write a stage's ledger; refuse to write one that does not account for every row."""
    count = Counter(entry["decision"] for entry in entries)
    stay = count["kept"] + count["changed"]
    if rows_in != stay + count["dropped"] or rows_out != stay + count["added"]:
        raise AssertionError(f"{stage}: the ledger does not add up: {rows_in} in, {rows_out} out, {dict(count)}")
    io.write_parquet(paths.ledger(stage), entries, SCHEMA)


def read(stage: str) -> list[dict[str, Any]]:
    """Read a stage's ledger."""
    return io.read_parquet(paths.ledger(stage), SCHEMA)
