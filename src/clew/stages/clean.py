"""clean: data/rows.parquet → data/clean.parquet, rule by rule, each decision in the ledger.

Beside it data/scores.parquet (what each rule measured of every row) and data/review/queue.parquet (rows for a person to
decide about; the decisions, data/review/decisions/*.jsonl, are read here and stand over every rule).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew import io, ledger, paths, rows
from clew.cleaning import chain, messages, review, store
from clew.errors import DataError

if TYPE_CHECKING:
    from clew import params
    from clew.cleaning.store import Rows

QUEUE = pa.schema(
    [
        *(rows.SCHEMA.field(name) for name in ("row_id", "source", "origin", "task", "text", "completion", "label")),
        *(rows.SCHEMA.field(name) for name in ("choices", "rejected", "labels")),
        *(ledger.SCHEMA.field(name) for name in ("rule", "score", "threshold", "detail", "also")),
        pa.field("copy", pa.int32()),
    ]
)
"""rule, score, threshold and detail are of the first rule that asks; `also` holds what others ask. copy: where a rule
asks about one of several rows of an id as a copy, or a person did, which of them each that waits is, 1 the first; else
null."""

ASKED = pa.schema([(chain.BESIDE, pa.string())])


def run(clean: params.Clean, prepare: params.Prepare, seed: int) -> dict[str, Any]:
    """Apply the rules in order; a rule sees only the rows that those before it left."""
    decisions = review.read(paths.REVIEW_DECISIONS)
    with io.scratch_folder(paths.CLEAN) as scratch:
        seen = store.of_parquet(paths.ROWS, rows.SCHEMA, scratch)
        known = messages.templates(prepare.tasks)
        seen.put(ASKED, _asked(seen, known))
        outcome = chain.apply(seen, clean, seed, decisions, known)
        _check_answers(seen)
        left = len(seen)
        deciding = {position: outcome.deciding(position) for position in sorted(outcome.found)}
        rows_in = len(seen.left)
        if not left:
            dropped = Counter(found.rule for found in deciding.values() if found).most_common()
            counts = ", ".join(f"{rule} {count:,}" for rule, count in dropped) or "none came in"
            raise DataError(f"no row is left of {rows_in:,}: {counts}", where="clean", fix="Loosen these rules.")
        with io.parquet_writer(paths.CLEAN, rows.SCHEMA) as write:
            for batch in _cleaned(outcome, known):
                write(batch)
        with ledger.writer("clean") as book:
            for entries in _entries(outcome, deciding):
                book.put(entries)
            book.check(rows_in=rows_in, rows_out=left)
        _write_scores(outcome)
        _write_queue(outcome, review.named(decisions))
        io.write_json(paths.CLEAN_METRICS, _figures(outcome, deciding))
    return {"rows": left}


def _prompts(seen: Rows) -> Iterator[list[messages.Row]]:
    """Every row's task, text and messages, as they came, batch by batch."""
    for _, batch in seen.given(["task", "text", "messages"]):
        yield list(zip(*(batch[name].to_pylist() for name in batch.column_names), strict=True))


def _asked(seen: Rows, known: messages.Templates) -> Iterator[pa.Table]:
    """Of each row chain.BESIDE."""
    for prompts in _prompts(seen):
        beside = [messages.beside(row, known) for row in prompts]
        yield pa.table([pa.array(beside, pa.string())], schema=ASKED)


def _check_answers(seen: Rows) -> None:
    """Raise DataError where rows are left without an answer, which nothing can be learnt from."""
    count, first = 0, None
    for _, batch in seen.batches(["completion", "rejected", "origin"]):
        answers = pc.coalesce(batch["completion"], batch["rejected"])
        empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(answers), ""), True)
        lacking = np.flatnonzero(empty)
        count += len(lacking)
        if first is None and len(lacking):
            first = batch["origin"][int(lacking[0])].as_py()
    if first is not None:
        raise DataError(
            f"{count:,} rows have no answer; the first is {first['file']} record {first['record']}",
            where="clean.missing",
            fix="Set `completion: drop` and `label: drop`, or impute.",
        )


def _cleaned(outcome: chain.Outcome, known: messages.Templates) -> Iterator[pa.Table]:
    """The rows that are left, batch by batch."""
    seen = outcome.rows
    mends = _mends(outcome)
    for start, now in seen.read(rows.SCHEMA.names):
        table = _with_mended_messages(now.cast(rows.SCHEMA), start, mends, known)
        yield table.filter(pa.array(seen.left[start : start + len(table)]))


def _mends(outcome: chain.Outcome) -> dict[int, list[messages.Mend]]:
    """What rules did to rows that are left, by position."""
    found = {}
    for position, some in outcome.found.items():
        fixes = [one.finding for one in some if one.finding.action == "fix"]
        mends = [one.within or partial(messages.piecewise, one.mend) for one in fixes if one.mend]
        if mends and outcome.rows.left[position]:
            found[position] = mends
    return found


def _with_mended_messages(
    table: pa.Table, start: int, mends: Mapping[int, Sequence[messages.Mend]], known: messages.Templates
) -> pa.Table:
    """A batch of rows with the messages that are mended. start: the position of its first row."""
    here = [position for position in range(start, start + len(table)) if position in mends]
    if not here:
        return table
    made = table["messages"].to_pylist()
    for position in here:
        at = position - start
        made[at] = messages.mended(table["task"][at].as_py(), made[at], mends[position], known)
    field = rows.SCHEMA.field("messages")
    return table.set_column(rows.SCHEMA.get_field_index("messages"), field, pa.array(made, type=field.type))


def _entries(outcome: chain.Outcome, deciding: Mapping[int, chain.Found | None]) -> Iterator[pa.Table]:
    """The ledger: one entry a row, with the finding that decided; what else was found under `also`."""
    for start, batch in outcome.rows.given(["row_id", "source", "origin"]):
        n = len(batch)
        decision = np.where(outcome.rows.left[start : start + n], "kept", "dropped").astype(object)
        columns: dict[str, list[Any]] = {
            name: [None] * n for name in ("rule", "score", "threshold", "detail", "start", "end")
        }
        also: list[list[dict[str, Any]]] = [[]] * n
        for at, position in enumerate(range(start, start + n)):
            one = deciding.get(position)
            if one is None:
                continue
            if one.finding.action in ("fix", "downweight"):
                decision[at] = "changed"
            for name, value in ledger.found(one.rule, one.finding).items():
                if name in columns:
                    columns[name][at] = value
            also[at] = [ledger.found(*other) for other in outcome.found[position] if other is not one]
        origin = batch["origin"].combine_chunks()
        given = {
            "row_id": batch["row_id"],
            "source": batch["source"],
            "file": origin.field("file"),
            "record": origin.field("record"),
            "decision": pa.array(decision, type=pa.string()),
            "also": also,
        }
        yield ledger.table("clean", given | columns)


def _write_scores(outcome: chain.Outcome) -> None:
    """One column a rule that measures, in the order of the rules; rounded, since last digits follow the processor."""
    schema = pa.schema([(name, pa.float32()) for name in outcome.scores])
    with io.parquet_writer(paths.SCORES, schema) as write:
        for start in range(0, len(outcome.rows.left), io.ROW_GROUP):
            some = [np.round(scores[start : start + io.ROW_GROUP], ledger.DIGITS) for scores in outcome.scores.values()]
            write(pa.table([pa.array(scores, from_pandas=True) for scores in some], schema=schema))


def _write_queue(outcome: chain.Outcome, copied: AbstractSet[str]) -> None:
    """Rows that are left and that rules want a person to look at, each with what they ask.

    copied: ids of rows that people decided about copy by copy.
    """
    seen = outcome.rows
    waiting: dict[int, dict[str, Any]] = {}
    for position, some in sorted(outcome.found.items()):
        asked = [ledger.found(*one) for one in some if one.finding.action == "review"]
        if asked and seen.left[position]:
            waiting[position] = asked[0] | {"also": asked[1:], "copy": None}
    as_copies = {
        position
        for position, row in waiting.items()
        if {row["rule"], *(one["rule"] for one in row["also"])} & {*review.COPIES}
    }
    copied = copied | {row_id for position, row_id in enumerate(_row_ids(seen)) if position in as_copies}
    for position, copy in review.copies(_row_ids(seen), copied, waiting).items():
        waiting[position]["copy"] = copy
    of_row = [name for name in QUEUE.names if name in rows.SCHEMA.names]
    with io.parquet_writer(paths.REVIEW_QUEUE, QUEUE) as write:
        for start, batch in seen.read(of_row):
            here = [position for position in range(start, start + len(batch)) if position in waiting]
            table = batch.take(pa.array([position - start for position in here], type=pa.int64()))
            columns = [
                table[field.name]
                if field.name in of_row
                else pa.array([waiting[position][field.name] for position in here], type=field.type)
                for field in QUEUE
            ]
            write(pa.table(columns, schema=QUEUE))


def _row_ids(seen: Rows) -> Iterator[str]:
    return (row_id for _, batch in seen.given(["row_id"]) for row_id in batch["row_id"].to_pylist())


def _figures(outcome: chain.Outcome, deciding: Mapping[int, chain.Found | None]) -> dict[str, Any]:
    """The content of metrics/clean.json: rows by task, and by what they were dropped, changed or sent to review."""
    by_task: dict[str, dict[str, Any]] = {}
    for start, batch in outcome.rows.given(["task"]):
        for position, task in enumerate(batch["task"].to_pylist(), start):
            if task not in by_task:
                by_task[task] = {"in": 0, "out": 0, "dropped": Counter(), "changed": Counter(), "review": Counter()}
            of_task = by_task[task]
            of_task["in"] += 1
            of_task["out"] += int(outcome.rows.left[position])
            one = deciding.get(position)
            if one is not None and one.finding.action == "drop":
                of_task["dropped"][one.rule] += 1
                continue
            for rule, finding in outcome.found.get(position, ()):
                if finding.action in ("fix", "downweight"):
                    of_task["changed"][rule] += 1
                elif finding.action == "review":
                    of_task["review"][rule] += 1
    return {"rows_in": len(outcome.rows.left), "rows_out": len(outcome.rows), "by_task": by_task} | outcome.figures
