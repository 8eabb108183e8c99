"""What a stage decided about each row, and why: nothing is dropped silently.

    {"row_id": "5f0c…", "file": "dreaddit_training.csv", "record": 17, "source": "dreaddit", "stage": "clean",
     "decision": "dropped", "rule": "length", "score": 2.0, "threshold": 3.0, "detail": "2 words",
     "start": None, "end": None, "also": [{"rule": "hygiene", "action": "fix", …}], "parent_ids": []}

One entry an occurrence of a row. rule, score, threshold and detail are of the finding that decided; `also` holds what
other rules found, in their order. A kept row with a rule was found and left for a person to review. start and end mark
the offending part of the text, in characters.
Rows in = rows kept or changed + rows dropped; rows out = rows kept or changed + rows added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from clew import io, paths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clew.cleaning.finding import Finding

DIGITS = 6
"""Of a score: the last digits of a probability differ from one processor family to the next, and mean nothing."""

Decision = Literal["kept", "changed", "dropped", "added"]


FOUND = pa.struct(
    [
        ("rule", pa.string()),
        ("action", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("detail", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
    ]
)

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
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("also", pa.list_(FOUND)),
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


def rounded(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Scores as they are written. Rules decide by these, so that a score that somebody reads works as a threshold."""
    import numpy as np

    return np.asarray(np.round(scores.astype(np.float64), DIGITS), dtype=np.float64)


def found(rule: str, finding: Finding) -> dict[str, Any]:
    """A finding of a cleaning rule as FOUND has it."""
    return {
        "rule": rule,
        "action": finding.action,
        "score": None if finding.score is None else round(finding.score, DIGITS),
        "threshold": finding.threshold,
        "detail": finding.detail,
        "start": finding.start,
        "end": finding.end,
    }


def table(stage: str, columns: Mapping[str, Any]) -> pa.Table:
    """Entries from columns: lists or arrays (n,), `row_id` among them. Without parents, and null what is not given."""
    n = len(columns["row_id"])
    given = {"stage": pa.repeat(stage, n), "parent_ids": [[]] * n, **columns}
    arrays = []
    for field in SCHEMA:
        values = given.get(field.name, [None] * n)
        arrays.append(pa.array(values, type=field.type) if isinstance(values, list) else values)
    return pa.table(arrays, schema=SCHEMA)


class Book:
    """A ledger that is being written."""

    def __init__(self, stage: str, put: Callable[[pa.Table], None]) -> None:
        self._stage, self._put = stage, put
        self._count: Counter[str] = Counter()

    def put(self, entries: pa.Table) -> None:
        """Append entries (a table in SCHEMA)."""
        for pair in entries["decision"].value_counts().to_pylist():
            self._count[pair["values"]] += pair["counts"]
        self._put(entries)

    def check(self, *, rows_in: int, rows_out: int) -> None:
        """Refuse a ledger that does not account for every row."""
        count = self._count
        stay = count["kept"] + count["changed"]
        if rows_in != stay + count["dropped"] or rows_out != stay + count["added"]:
            what = f"the ledger does not add up: {rows_in} in, {rows_out} out, {dict(count)}"
            raise AssertionError(f"{self._stage}: {what}")


@contextmanager
def writer(stage: str) -> Iterator[Book]:
    """A stage's ledger, which appears when the block ends well. `Book.check` belongs to the block's end."""
    with io.parquet_writer(paths.ledger(stage), SCHEMA) as put:
        yield Book(stage, put)


def write(stage: str, entries: list[dict[str, Any]] | pa.Table, *, rows_in: int, rows_out: int) -> None:
    """Write a stage's ledger (entries, or a table in SCHEMA); refuse one that does not account for every row."""
    with writer(stage) as book:
        book.put(entries if isinstance(entries, pa.Table) else pa.Table.from_pylist(entries, schema=SCHEMA))
        book.check(rows_in=rows_in, rows_out=rows_out)


def read(stage: str) -> list[dict[str, Any]]:
    """Read a stage's ledger."""
    return io.read_parquet(paths.ledger(stage), SCHEMA)
