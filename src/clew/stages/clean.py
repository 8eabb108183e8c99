"""clean: data/rows.parquet → data/clean.parquet, rule by rule, each decision in the ledger.

Beside it data/scores.parquet (what each rule measured of every row) and data/review/queue.parquet (rows for a person to
decide about; the decisions, data/review/decisions/*.jsonl, are read here and stand over every rule).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew import io, ledger, paths, rows
from clew.cleaning import chain, messages, review
from clew.errors import DataError

if TYPE_CHECKING:
    from clew import params

QUEUE = pa.schema(
    [
        *(rows.SCHEMA.field(name) for name in ("row_id", "source", "origin", "task", "text", "completion", "label")),
        *(rows.SCHEMA.field(name) for name in ("choices", "rejected")),
        *(ledger.SCHEMA.field(name) for name in ("rule", "score", "threshold", "detail", "also")),
        pa.field("copy", pa.int32()),
    ]
)
"""rule, score, threshold and detail are of the first rule that asks; `also` holds what others ask. copy: where a rule
asks about one of several rows of an id as a copy, which of them it is, 1 the first; else null."""


def run(clean: params.Clean, seed: int) -> dict[str, Any]:
    """Apply the rules in order; a rule sees only the rows that those before it left."""
    before = io.read_table(paths.ROWS, rows.SCHEMA, chain.SEEN)
    known = messages.templates(lambda: (row for batch in _prompts() for row in batch))
    decisions = review.read(paths.REVIEW_DECISIONS)
    seen = before.append_column(chain.BESIDE, _beside(known)).append_column(chain.OPTIONS, _options())
    outcome = chain.apply(seen, clean, seed, decisions)
    _check_answers(outcome)
    left = int(outcome.stay.sum())
    deciding = {position: outcome.deciding(position) for position in sorted(outcome.found)}
    if not left:
        dropped = Counter(found.rule for found in deciding.values() if found).most_common()
        counts = ", ".join(f"{rule} {count:,}" for rule, count in dropped) or "none came in"
        raise DataError(f"no row is left of {len(before):,}: {counts}", where="clean", fix="Loosen these rules.")
    with io.parquet_writer(paths.CLEAN, rows.SCHEMA) as write:
        for batch in _cleaned(outcome, known):
            write(batch)
    ledger.write("clean", _entries(before, outcome, deciding), rows_in=len(before), rows_out=left)
    _write_scores(outcome)
    _write_queue(outcome)
    io.write_json(paths.CLEAN_METRICS, _figures(before, outcome, deciding, left))
    return {"rows": left}


def _beside(known: messages.Templates) -> pa.ChunkedArray:
    """(n,) what the prompt of each row holds beside its text and the template."""
    found = [[messages.beside(row, known) for row in batch] for batch in _prompts()]
    return pa.chunked_array(found, type=pa.large_string())


def _options() -> pa.ChunkedArray:
    """(n,) the options of each row whose choices are letters, as its prompt shows them."""

    def of(letters: list[str] | None, prompt: list[dict[str, str]]) -> list[str] | None:
        if not letters or letters != list(ascii_uppercase[: len(letters)]):
            return None
        found = rows.options(prompt[-1]["content"], letters)
        return found if all(found) else None

    batches = io.open_parquet(paths.ROWS, rows.SCHEMA).iter_batches(io.ROW_GROUP, columns=["choices", "messages"])
    return pa.chunked_array(
        [list(map(of, batch["choices"].to_pylist(), batch["messages"].to_pylist())) for batch in batches],
        type=pa.list_(pa.string()),
    )


def _check_answers(outcome: chain.Outcome) -> None:
    """Raise DataError where rows are left without an answer, which nothing can be learnt from."""
    empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(outcome.rows["completion"]), ""), True)
    left = np.flatnonzero(np.asarray(empty) & outcome.stay)
    if len(left):
        origin = outcome.rows["origin"][int(left[0])].as_py()
        raise DataError(
            f"{len(left):,} rows have no answer; the first is {origin['file']} record {origin['record']}",
            where="clean.missing",
            fix="Set `completion: drop` and `label: drop`, or impute.",
        )


def _cleaned(outcome: chain.Outcome, known: messages.Templates) -> Iterator[pa.Table]:
    """The rows that are left, batch by batch: what rules do not see is read again and carried over."""
    start = 0
    mends = _mends(outcome)
    for batch in io.open_parquet(paths.ROWS, rows.SCHEMA).iter_batches(io.ROW_GROUP):
        table = _with_mended_messages(pa.Table.from_batches([batch]), start, mends, known)
        for name in chain.SEEN:
            changed = outcome.rows[name].slice(start, len(table)).cast(rows.SCHEMA.field(name).type)
            table = table.set_column(rows.SCHEMA.get_field_index(name), name, changed)
        yield table.filter(pa.array(outcome.stay[start : start + len(table)]))
        start += len(table)


def _mends(outcome: chain.Outcome) -> dict[int, list[messages.Mend]]:
    """What rules did to rows that are left, by position."""
    found = {}
    for position, some in outcome.found.items():
        mends = [one.finding.mend for one in some if one.finding.action == "fix" and one.finding.mend]
        if mends and outcome.stay[position]:
            found[position] = mends
    return found


def _prompts() -> Iterator[list[messages.Row]]:
    """Every row's task, text and messages, as they came, batch by batch."""
    for batch in io.open_parquet(paths.ROWS, rows.SCHEMA).iter_batches(
        io.ROW_GROUP, columns=["task", "text", "messages"]
    ):
        yield list(zip(*(batch.column(name).to_pylist() for name in ("task", "text", "messages")), strict=True))


def _with_mended_messages(
    table: pa.Table, start: int, mends: Mapping[int, Sequence[messages.Mend]], known: messages.Templates
) -> pa.Table:
    """A batch of rows as they came, with the messages that are mended. start: the position of its first row."""
    here = [position for position in range(start, start + len(table)) if position in mends]
    if not here:
        return table
    made = table["messages"].to_pylist()
    for position in here:
        row = (table["task"][position - start].as_py(), table["text"][position - start].as_py(), made[position - start])
        made[position - start] = messages.mended(row, mends[position], known)
    field = rows.SCHEMA.field("messages")
    return table.set_column(rows.SCHEMA.get_field_index("messages"), field, pa.array(made, type=field.type))


def _entries(before: pa.Table, outcome: chain.Outcome, deciding: dict[int, chain.Found | None]) -> pa.Table:
    """The ledger: one entry a row, with the finding that decided; what else was found under `also`."""
    n = len(before)
    decision = np.where(outcome.stay, "kept", "dropped").astype(object)
    columns: dict[str, list[Any]] = {
        name: [None] * n for name in ("rule", "score", "threshold", "detail", "start", "end")
    }
    also: list[list[dict[str, Any]]] = [[]] * n
    for position, one in deciding.items():
        if one is None:
            continue
        if one.finding.action in ("fix", "downweight"):
            decision[position] = "changed"
        for name, value in ledger.found(one.rule, one.finding).items():
            if name in columns:
                columns[name][position] = value
        also[position] = [ledger.found(*other) for other in outcome.found[position] if other is not one]
    origin = before["origin"].combine_chunks()
    given = {
        "row_id": before["row_id"],
        "source": before["source"],
        "file": origin.field("file"),
        "record": origin.field("record"),
        "decision": pa.array(decision, type=pa.string()),
        "also": also,
    }
    return ledger.table("clean", given | columns)


def _write_scores(outcome: chain.Outcome) -> None:
    """One column a rule that measures, in the order of the rules; rounded, since last digits follow the processor."""
    columns = {
        name: pa.array(np.round(scores, ledger.DIGITS), from_pandas=True) for name, scores in outcome.scores.items()
    }
    schema = pa.schema([(name, pa.float32()) for name in columns])
    with io.parquet_writer(paths.SCORES, schema) as write:
        write(pa.table(columns, schema=schema))


def _write_queue(outcome: chain.Outcome) -> None:
    """Rows that are left and that rules want a person to look at, each with what they ask."""
    waiting: dict[int, dict[str, Any]] = {}
    for position, some in sorted(outcome.found.items()):
        asked = [ledger.found(*one) for one in some if one.finding.action == "review"]
        if asked and outcome.stay[position]:
            waiting[position] = asked[0] | {"also": asked[1:], "copy": None}
    as_copies = [
        position
        for position, row in waiting.items()
        if {row["rule"], *(one["rule"] for one in row["also"])} & {*review.COPIES}
    ]
    for position, copy in review.copies(outcome.rows["row_id"], as_copies).items():
        waiting[position]["copy"] = copy
    table = outcome.rows.take(pa.array(list(waiting), type=pa.int64()))
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.array([found[field.name] for found in waiting.values()], type=field.type)
        for field in QUEUE
    ]
    with io.parquet_writer(paths.REVIEW_QUEUE, QUEUE) as write:
        write(pa.table(columns, schema=QUEUE))


def _figures(
    before: pa.Table, outcome: chain.Outcome, deciding: dict[int, chain.Found | None], left: int
) -> dict[str, Any]:
    """The content of metrics/clean.json: rows by task, and by what they were dropped, changed or sent to review."""
    tasks = before["task"].to_pylist()
    by_task: dict[str, Any] = {
        task: {"in": count, "out": count, "dropped": Counter(), "changed": Counter(), "review": Counter()}
        for task, count in sorted(Counter(tasks).items())
    }
    for position, one in deciding.items():
        of_task = by_task[tasks[position]]
        if one is not None and one.finding.action == "drop":
            of_task["dropped"][one.rule] += 1
            of_task["out"] -= 1
            continue
        for rule, finding in outcome.found[position]:
            if finding.action in ("fix", "downweight"):
                of_task["changed"][rule] += 1
            elif finding.action == "review":
                of_task["review"][rule] += 1
    return {"rows_in": len(before), "rows_out": left, "by_task": by_task} | dict(outcome.figures)
