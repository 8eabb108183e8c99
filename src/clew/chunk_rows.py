"""A chunk of records becomes rows and ledger entries: pure, so that any process can do it.

Chunk(jsonl, "posts.jsonl", first=0, raw=[b'{"text": "I slept badly", "label": "1"}', b"{broken"])
→ one row, two entries (kept; dropped, malformed)
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from clew import ledger, mapping, missing_values, records, rows

if TYPE_CHECKING:
    from clew import params

MISSING = "missing"
"""The rule of records that were dropped as `missing` declares it."""


class Job(NamedTuple):
    """What is the same for all records of a task. fillings: column → what fills it where it is missing."""

    task: str
    declared: params.Mapping
    fillings: Mapping[str, Any]
    key: bytes


class Unfit(NamedTuple):
    """A record that does not fit its mapping."""

    file: str
    record: int
    detail: str


class Made(NamedTuple):
    """What a chunk became. reasons: of all its records, None for those that became rows. first: that did not fit."""

    file: str
    rows: pa.Table
    entries: pa.Table
    reasons: Counter[str | None]
    labels: Counter[str]
    unlabelled: int
    unwanted: int
    """Rows whose answer was not wanted."""
    imputed: int
    first: Unfit | None


_render = functools.cache(mapping.renderer)


def made(job: Job, chunk: records.Chunk) -> Made:
    """Pure: the same chunk, the same rows."""
    return told(
        chunk.file,
        [row(job, record, chunk.file, number) for number, record in enumerate(records.records(chunk), chunk.first)],
    )


def told(file: str, found: list[dict[str, Any]]) -> Made:
    """Rows (see `row`) and the reasons of those that are none, as what is written and counted."""
    fit = [row for row in found if "reason" not in row]
    unfit = (row for row in found if row.get("detail") is not None and row.get("reason", MISSING) != MISSING)
    return Made(
        file,
        rows.table(fit),
        _entries(found),
        Counter(row.get("reason") for row in found),
        Counter(label for row in fit for label in row.get("labels", [row["label"]]) if label is not None),
        sum(row["label"] is None for row in fit),
        sum(map(rows.is_unwanted, fit)),
        sum("imputed" in row for row in found),
        next((Unfit(file, row["origin"]["record"], row["detail"]) for row in unfit), None),
    )


def row(job: Job, record: records.Record, file: str, number: int) -> dict[str, Any]:
    """The record's row, with `imputed` where values were filled in.

    A record that does not fit comes with `reason` and `detail` and no content.
    """
    source = job.declared.source
    found: dict[str, Any] = {"source": source, "origin": {"file": file, "record": number}, "parent_ids": []}
    whole, filled = record, None
    try:
        if job.declared.missing and None not in record:
            where = f"{source}/{file}, record {number}"
            whole, filled = missing_values.filled(record, job.declared.missing, job.fillings, where)
        content = mapping.content(job.task, job.declared, whole, _render())
    except mapping.Unfit as unfit:
        return {**found, "row_id": _record_id(record, job.key), "reason": unfit.reason, "detail": unfit.detail}
    except missing_values.Dropped as dropped:
        return {**found, "row_id": _record_id(record, job.key), "reason": MISSING, "detail": str(dropped)}
    found |= {"row_id": rows.content_id(content, job.key), **content, "weight": 1.0}
    return found | {"imputed": filled} if filled else found


def _record_id(record: records.Record, key: bytes) -> str:
    return rows.row_id({"record": {str(name): str(value) for name, value in record.items()}}, key)


def _entries(found: list[dict[str, Any]]) -> pa.Table:
    dropped = [("reason" in row, row.get("imputed")) for row in found]
    return ledger.table(
        "prepare",
        {
            "row_id": [row["row_id"] for row in found],
            "source": [row["source"] for row in found],
            "file": [row["origin"]["file"] for row in found],
            "record": [row["origin"]["record"] for row in found],
            "decision": ["dropped" if out else "changed" if told else "kept" for out, told in dropped],
            "rule": [row.get("reason") or ("impute" if "imputed" in row else "mapping") for row in found],
            "detail": [row.get("detail", row.get("imputed")) for row in found],
        },
    )
