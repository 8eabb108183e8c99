"""prepare: raw records → data/rows.parquet, as the mappings under `prepare.tasks` declare it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import io, keys, ledger, mapping, paths, rows
from clew.errors import DataError

if TYPE_CHECKING:
    from clew import params


def run(prepare: params.Prepare) -> dict[str, Any]:
    """Map every source onto the row schema; what does not fit is counted and kept in the ledger with its reason."""
    key = keys.load(prepare.row_key)
    render = mapping.renderer()
    made: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    figures = {}
    read = 0
    for task, declared in prepare.tasks.items():
        of_task = []
        unfit: list[dict[str, Any]] = []
        records = _records(task, declared)
        read += len(records)
        for file, number, record in records:
            row = _row(task, declared, record, render, key, file, number)
            of_task.append(row) if "reason" not in row else unfit.append(row)
        made += of_task
        entries += [ledger.entry(row, "prepare", "kept", "mapping") for row in of_task]
        entries += [ledger.entry(r, "prepare", "dropped", r["reason"], detail=r["detail"]) for r in unfit]
        figures[task] = {
            "source": declared.source,
            "records": len(records),
            "rows": len(of_task),
            "unfit": dict(Counter(row["reason"] for row in unfit)),
        }
        _check_share(task, unfit, len(records), prepare.max_unfit)
    rows.write(paths.ROWS, made)
    ledger.write("prepare", entries, rows_in=read, rows_out=len(made))
    io.write_json(paths.PREPARE_METRICS, figures)
    return {"rows": len(made)}


def _records(task: str, declared: params.Mapping) -> list[tuple[str, int, dict[str, Any]]]:
    """(file, number, record) of every record of a task's source, in the order of the files' names."""
    folder = paths.RAW / declared.source
    where = f"prepare.tasks.{task}.files"
    try:
        files = sorted(path for path in folder.glob(declared.files) if path.is_file())
    except ValueError as error:
        what = f"`{declared.files}` is no glob: {error}"
        raise DataError(what, where=where, fix="A `**` stands alone between slashes.") from None
    if not files:
        there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise DataError(
            f"no file matches `{declared.files}`",
            where=where,
            fix=f"{folder} holds: {', '.join(there[:8]) or 'nothing'}.",
        )
    found = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        of_file = _read(path, declared.format, where)
        first = next((record for record in of_file if None not in record), None)
        if first is not None:
            mapping.check_columns(declared, task, first, name)
        found += [(name, number, record) for number, record in enumerate(of_file)]
    if not found:
        raise DataError("the source has no records", where=where, fix="Look at the files it names.")
    return found


def _read(path: Path, form: str, where: str) -> list[dict[str, Any]]:
    import pyarrow as pa

    try:
        return list(mapping.records(path, form))
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except (pa.ArrowException, csv.Error, OSError, ValueError, ArithmeticError, LookupError) as error:
        reason = mapping.one_line(str(error) or type(error).__name__, 200)
    raise DataError(f"{path} cannot be read as {form}: {reason}", where=where, fix="Set `format`, or mend the file.")


def _row(
    task: str,
    declared: params.Mapping,
    record: dict[str, Any],
    render: mapping.Render,
    key: bytes,
    file: str,
    number: int,
) -> dict[str, Any]:
    """The record's row; a record that does not fit comes with `reason` and `detail` and no content."""
    origin = {"source": declared.source, "origin": {"file": file, "record": number}, "parent_ids": []}
    try:
        content = mapping.content(task, declared, record, render)
    except mapping.Unfit as unfit:
        raw = {"record": {str(name): str(value) for name, value in record.items()}}
        return {**origin, "row_id": rows.row_id(raw, key), "reason": unfit.reason, "detail": unfit.detail}
    identity = rows.row_id({name: content[name] for name in rows.CONTENT}, key)
    return {"row_id": identity, **origin, **content, "annotations": None, "weight": 1.0}


def _check_share(task: str, unfit: list[dict[str, Any]], records: int, limit: float) -> None:
    if len(unfit) <= limit * records:
        return
    counts = Counter(row["reason"] for row in unfit)
    first = unfit[0]
    raise DataError(
        f"{len(unfit)} of {records} records do not fit ({', '.join(f'{r} {n}' for r, n in counts.most_common())});"
        f" the first is {first['origin']['file']} record {first['origin']['record']}: {first['detail'][:100]!r}",
        where=f"prepare.tasks.{task}",
        fix="Mend the mapping, or raise prepare.max_unfit.",
    )
