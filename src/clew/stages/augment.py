"""augment: data/selected.parquet → data/augmented.parquet; `enabled: false` passes the rows on as they are.

The ledger says of each new row which method made it and of which row; switched off, no row is decided about.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from clew import augmentation, io, keys, ledger, mapping, paths, rows
from clew.augmentation import Made, synonyms, upsampling

if TYPE_CHECKING:
    from clew import params

GROUPS = ("row_id", "source", "task", "label")
UPSAMPLE = "upsample"


def run(augment: params.Augment, prepare: params.Prepare, seed: int) -> dict[str, Any]:
    """Write the rows, then those that are made of them, batch by batch, then copies of the rows of thin classes."""
    if not augment.enabled:
        with io.replace_file(paths.AUGMENTED) as aside:
            shutil.copyfile(paths.SELECTED, aside)
        ledger.write("augment", [], rows_in=0, rows_out=0)
        io.write_json(paths.AUGMENT_METRICS, {"enabled": False})
        return {}
    tools = _tools(augment, keys.load(prepare.row_key), seed)
    before = io.read_table(paths.SELECTED, rows.SCHEMA, GROUPS)
    made, not_made = (Counter[tuple[str, str]]() for _ in range(2))
    added = []
    with io.parquet_writer(paths.AUGMENTED, rows.SCHEMA) as write, ledger.writer("augment") as book:
        for batch in _batches():
            children: list[Made] = []
            for row in _some(batch, pc.is_in(batch["task"], pa.array(list(augment.tasks), pa.string()))):
                for one in augmentation.children(row, augment.tasks[row["task"]], tools):
                    if one.row is None:
                        not_made[row["task"], one.detail] += 1
                    else:
                        children.append(one)
            write(batch)
            book.put(_kept(batch))
            added.append(_put(children, write, book, made))
        times = upsampling.times(before, pa.concat_tables([before.slice(0, 0), *added]), augment.tasks, seed)
        for copies in _copies(times, tools.key):
            added.append(_put(copies, write, book, made))
        rows_out = len(before) + sum(map(len, added))
        book.check(rows_in=len(before), rows_out=rows_out)
    of_task = Counter(before["task"].to_pylist())
    figures = {
        task: {
            "in": of_task[task],
            "added": {method: n for (of, method), n in sorted(made.items()) if of == task},
            "not_made": {reason: n for (of, reason), n in sorted(not_made.items()) if of == task},
        }
        for task in augment.tasks
    }
    io.write_json(
        paths.AUGMENT_METRICS, {"enabled": True, "rows_in": len(before), "rows_out": rows_out, "tasks": figures}
    )
    return {"rows": rows_out}


def _tools(augment: params.Augment, key: bytes, seed: int) -> augmentation.Tools:
    tables = {
        task: synonyms.read(paths.RAW / declared.synonyms.source / declared.synonyms.file)
        for task, declared in augment.tasks.items()
        if declared.synonyms
    }
    edits = any(declared.synonyms or declared.typos for declared in augment.tasks.values())
    return augmentation.Tools(key, seed, mapping.renderer(), tables, _held_back() if edits else set())


def _held_back() -> Set[str]:
    """The texts of valid and test, normalised."""
    found: set[str] = set()
    for side in ("valid", "test"):
        texts = io.read_table(paths.SPLITS / f"{side}.parquet", rows.SCHEMA, ["text"])["text"].to_pylist()
        found |= {rows.normalise(text) for text in texts if text}
    return found


def _batches() -> Iterator[pa.Table]:
    for batch in io.open_parquet(paths.SELECTED, rows.SCHEMA).iter_batches(io.ROW_GROUP):
        yield pa.table(batch)


def _some(batch: pa.Table, where: pa.Array) -> list[dict[str, Any]]:
    return list(batch.filter(where).to_pylist(maps_as_pydicts="strict"))


def _copies(times: upsampling.Counts, key: bytes) -> Iterator[list[Made]]:
    """The copies of the rows of each batch."""
    start = 0
    for batch in _batches():
        here = times[start : start + len(batch)]
        yield [
            Made(UPSAMPLE, augmentation.copy(row, number, key), f"copy {number}")
            for row, n in zip(_some(batch, pa.array(here > 0)), here[here > 0].tolist(), strict=True)
            for number in range(1, n + 1)
        ]
        start += len(batch)


def _put(some: list[Made], write: Any, book: ledger.Book, made: Counter[tuple[str, str]]) -> pa.Table:
    """Write new rows and their entries; returns their GROUPS."""
    new = [(one, one.row) for one in some if one.row is not None]
    made.update((row["task"], one.method) for one, row in new)
    table = rows.table([row for _, row in new])
    write(table)
    entries = [ledger.entry(row, "augment", "added", one.method, detail=one.detail) for one, row in new]
    book.put(pa.Table.from_pylist(entries, schema=ledger.SCHEMA))
    return table.select(GROUPS)


def _kept(batch: pa.Table) -> pa.Table:
    origin = batch["origin"].combine_chunks()
    same: Mapping[str, Any] = {name: batch[name] for name in ("row_id", "source", "parent_ids")}
    place = {"file": origin.field("file"), "record": origin.field("record")}
    return ledger.table("augment", {**same, **place, "decision": pa.repeat("kept", len(batch))})
