"""Parquet files of DVC's cache, put into the row sets: a ledger by decision and rule, any other file as one set.

add(sets, "07aa…", Path(".dvc/cache/files/md5/07/aa…"))
details(path, {"5f0c…"}, ("rule", "score"))  →  {"5f0c…": [{"rule": "length", "score": 2.0}]}
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import DataError
from clew.lineage.row_origins import Origins
from clew.lineage.rowsets import IN, Group, RowSets

if TYPE_CHECKING:
    import pyarrow as pa

Facts = dict[str, Any]
HEX = 64
LARGE = 250_000
"""Rows of a file in which a row whose place is not known is not looked for, merely to show its score or text."""


def add(sets: RowSets, md5: str, path: Path) -> None:
    """Add a file's rows to the sets; raises DataError where it is no file of rows."""
    from clew.lineage import arrow

    table = arrow.read(path, ("row_id", "decision", "rule", "parent_ids"))
    ids, groups, children = _ids(table, path), list(_groups(table, path)), list(_children(table, path))
    sets.add(md5, ids, groups, children, lambda: _origins(path))


def _ids(table: pa.Table, path: Path) -> bytes:
    import pyarrow.compute as pc

    from clew.lineage import arrow

    column = table["row_id"]
    try:
        fits = pc.all(pc.equal(pc.binary_length(column), arrow.whole(HEX))).as_py()
        if column.null_count or fits is False:  # None: no rows
            raise ValueError
        found = b"".join(bytes.fromhex(str(arrow.characters(chunk), "ascii")) for chunk in column.chunks)
        if 2 * len(found) != HEX * len(column):  # bytes.fromhex skips white space
            raise ValueError
        return found
    except ValueError:
        raise DataError(
            f"a row id that is not {HEX} hex digits",
            where=str(path),
            fix="Rows of an older version of clew cannot be followed: run `dvc repro`.",
        ) from None


def _groups(table: pa.Table, path: Path) -> Iterator[Group]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from clew.lineage import arrow

    if "decision" not in table.column_names:
        yield Group(IN, None, np.arange(table.num_rows, dtype=np.int64))
        return
    if table["decision"].null_count:
        raise arrow.unreadable(path, "a row without a decision")
    nothing = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    rules = table["rule"] if "rule" in table.column_names else nothing
    for decision, rule in product(table["decision"].unique().to_pylist(), rules.unique().to_pylist()):
        of_rule = pc.is_null(rules) if rule is None else arrow.equal(rules, rule)
        here = np.flatnonzero(arrow.numbers(pc.and_(arrow.equal(table["decision"], decision), of_rule)))
        if len(here):
            yield Group(decision, rule, here)


def _children(table: pa.Table, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(position, parent ids) of the rows that have parents."""
    import numpy as np
    import pyarrow.compute as pc

    from clew.lineage import arrow

    if "parent_ids" in table.column_names:
        made = arrow.true(pc.greater(pc.list_value_length(table["parent_ids"]), arrow.whole(0)))
        positions = np.flatnonzero(arrow.numbers(made))
        parents = arrow.taken(table["parent_ids"], positions)
        for position, some in zip(positions.tolist(), parents.to_pylist(), strict=True):
            if not all(re.fullmatch(rf"[0-9a-f]{{{HEX}}}", one or "") for one in some):
                raise arrow.unreadable(path, f"a parent that is not {HEX} hex digits")
            yield position, some


def _origins(path: Path) -> Origins | None:
    """Where the rows come from, of a ledger (source, file, record) or of rows (source, origin)."""
    import numpy as np
    import pyarrow.parquet as pq

    from clew.lineage import arrow, row_tables

    names_of = pq.read_schema(path).names
    if "origin" not in names_of and "record" not in names_of:
        return None
    placed = ("origin",) if "origin" in names_of else ("file", "record")
    table = row_tables.read(path, ("row_id", "source", *placed))
    columns = ["source", "file"]
    codes = row_tables.codes([table[name] for name in columns])
    _, firsts, codes = np.unique(codes, return_index=True, return_inverse=True)
    names = [(row["source"] or "", row["file"] or "") for row in arrow.taken(table.select(columns), firsts).to_pylist()]
    return Origins(names, codes, arrow.numbers(arrow.or_zero(table["record"])))


def details(path: Path, row_ids: Collection[str], columns: Sequence[str]) -> dict[str, list[Facts]]:
    """The named columns (those that the file has) of some rows, by row id; a row may stand in a file twice."""
    import pyarrow.compute as pc

    from clew.lineage import arrow

    table = arrow.read(path, tuple({"row_id": None} | dict.fromkeys(columns)))
    rows = table.filter(pc.is_in(table["row_id"], value_set=arrow.texts(sorted(row_ids)))).to_pylist()
    found: dict[str, list[Facts]] = {}
    for row in rows:
        found.setdefault(row.pop("row_id"), []).append(row)
    return found


def details_at(
    path: Path, wanted: Mapping[str, Sequence[int]], columns: Sequence[str]
) -> tuple[dict[str, list[Facts]], int]:
    """The same for rows whose positions are known (`RowSets.positions`), and how many rows were decoded for it.

    Raises sqlite3.DatabaseError where none stands there, or with `row_id` among the columns another one: the index is
    wrong, and is to be made anew.
    """
    from clew.lineage import arrow

    rows_at = {position: row_id for row_id, positions in wanted.items() for position in positions}
    order = sorted(rows_at)
    rows, decoded = arrow.rows_at(path, order, columns)
    if len(rows) != len(order):
        raise sqlite3.DatabaseError("a row beyond the end of its file")
    found: dict[str, list[Facts]] = {}
    for position, row in zip(order, rows, strict=True):
        row_id = rows_at[position]
        if row.pop("row_id", row_id) != row_id:
            raise sqlite3.DatabaseError("a row that does not stand where it should")
        found.setdefault(row_id, []).append(row)
    return found, decoded


def is_large(path: Path) -> bool:
    """Whether a file has more rows than are read for details; raises DataError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clew.lineage import arrow

    try:
        return bool(pq.read_metadata(path).num_rows > LARGE)
    except (pa.ArrowException, OSError) as error:
        raise arrow.unreadable(path, str(error)) from None


def with_texts(path: Path, texts: Sequence[str]) -> list[list[str]]:
    """For each text the ids of the rows that have it, all normalised as duplicates are judged (rows.normalise)."""
    import pyarrow.compute as pc

    from clew.lineage import arrow
    from clew.rows import normalise

    wanted = [normalise(text) for text in texts]
    table = arrow.read(path, ("row_id", "text"))
    if "text" not in table.column_names:
        return [[] for _ in texts]
    plain = max(re.findall("[a-z0-9]+", wanted[0]), key=len, default="") if len(wanted) == 1 else ""
    if plain:  # most rows are ruled out without Python
        near = pc.match_substring(pc.utf8_lower(pc.utf8_normalize(table["text"], form="NFKC")), plain)
        table = table.filter(near)
    found: dict[str, list[str]] = {text: [] for text in wanted}
    for row_id, text in zip(table["row_id"].to_pylist(), table["text"].to_pylist(), strict=True):
        ids = found.get(normalise(text or ""))
        if ids is not None:
            ids.append(row_id)
    return [found[text] if text else [] for text in wanted]
