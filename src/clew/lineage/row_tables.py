"""Columns of rows and ledgers, matched between two files with numpy and pyarrow: a million rows take a second.

    left ids [a, b, b], right ids [b, c]  →  both: (1,) with (0,), left alone: (0, 2), right alone: (1,)

Rows that stand in a file twice are matched once each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clew.lineage import arrow

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Match(NamedTuple):
    """Positions of rows: left[i] and right[i] are the same row; the others have no partner."""

    left: Positions
    right: Positions
    left_alone: Positions
    right_alone: Positions


def read(path: Path, columns: Sequence[str]) -> pa.Table:
    """The named columns of a parquet file; one that it lacks (of an older clew) is null. Raises DataError.

    `origin` (of rows) comes as `file` and `record`.
    """
    table = arrow.read(path, columns)
    wanted = [name for one in columns for name in (("file", "record") if one == "origin" else (one,))]
    there = set(table.column_names)
    return pa.table({name: table[name] if name in there else _nulls(name, table.num_rows) for name in wanted})


def _nulls(name: str, rows: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(rows, arrow.TYPES.get(name) or pa.string())])


def match(left: pa.Table, right: pa.Table, columns: Sequence[str]) -> Match:
    """Which rows agree in all of `columns`, the k-th of its kind with the k-th of its kind."""
    both = codes([pa.chunked_array([*left[name].chunks, *right[name].chunks], left[name].type) for name in columns])
    mine, theirs = both[: left.num_rows], both[left.num_rows :]
    width = len(both) + 1
    _, at_left, at_right = np.intersect1d(
        mine * width + _occurrence(mine),
        theirs * width + _occurrence(theirs),
        assume_unique=True,
        return_indices=True,
    )
    order = np.argsort(at_right, kind="stable")
    at_left, at_right = at_left[order], at_right[order]
    return Match(at_left, at_right, _others(left.num_rows, at_left), _others(right.num_rows, at_right))


def match_rows(left: pa.Table, right: pa.Table, place: Sequence[str]) -> tuple[Match, Match]:
    """Rows by their id, and those left over by their place; positions of both are those in the whole tables.

    A row whose place is not known (no `record`) is matched by its id only.
    """
    by_id = match(left, right, ["row_id"])
    at_left, at_right = placed(left, by_id.left_alone), placed(right, by_id.right_alone)
    rest = match(arrow.taken(left, at_left), arrow.taken(right, at_right), place)
    mine, theirs = at_left[rest.left], at_right[rest.right]
    left_alone, right_alone = np.setdiff1d(by_id.left_alone, mine), np.setdiff1d(by_id.right_alone, theirs)
    return by_id, Match(mine, theirs, left_alone, right_alone)


def placed(table: pa.Table, positions: Positions) -> Positions:
    """Those of some rows whose place is known."""
    known: Mask = arrow.numbers(pc.is_valid(table["record"]))
    found: Positions = positions[known[positions]]
    return found


def codes(columns: Sequence[pa.ChunkedArray]) -> Positions:
    """One number for each row, the same for rows that agree in all columns (null agrees with null)."""
    made: Positions = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        encoded = column.combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # longer than one chunk can be
            encoded = encoded.unify_dictionaries().combine_chunks()
        encoded = encoded.dictionary_encode(null_encoding="encode")
        found = arrow.numbers(encoded.indices).astype(np.int64)
        if len(columns) == 1:
            return found
        _, made = np.unique(made * (len(encoded.dictionary) + 1) + found, return_inverse=True)
    return made


def _occurrence(kinds: Positions) -> Positions:
    """How many equal ones stand before each one."""
    order = np.argsort(kinds, kind="stable")
    ordered = kinds[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(kinds) else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.r_[starts, len(kinds)])
    found = np.empty(len(kinds), dtype=np.int64)
    found[order] = np.arange(len(kinds)) - np.repeat(starts, lengths)
    return found


def _others(n: int, taken: Positions) -> Positions:
    alone = np.ones(n, dtype=np.bool_)
    alone[taken] = False
    return np.flatnonzero(alone)


def differ(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    """Where two columns of one length differ; null differs from every value and not from null."""
    unequal = arrow.true(pc.not_equal(left, right))
    return arrow.numbers(pc.or_(unequal, pc.not_equal(pc.is_null(left), pc.is_null(right))))


def is_value(column: pa.ChunkedArray, value: str) -> Mask:
    """Where a column has a value."""
    return arrow.numbers(arrow.equal(column, value))


def spread(positions: Positions, n: int) -> Positions:
    """At most n of the positions, evenly from the first to the last."""
    if len(positions) <= n:
        return positions
    return positions[np.linspace(0, len(positions) - 1, n).astype(np.int64)] if n else positions[:0]


def texts(path: Path, positions: Positions) -> list[str]:
    """The texts of some rows, in the order of `positions`; the file is read in pieces. Raises DataError."""
    found: dict[int, str] = {}
    for at, text in _texts(path, np.unique(positions)):
        found[at] = text
    return [found.get(position, "") for position in positions.tolist()]


def words(path: Path, positions: Positions) -> Positions:
    """A number for each of some rows, in this process the same for texts that count as duplicates; 0 for no text."""
    from clew.rows import normalise

    found = {at: hash(normalise(text)) if text.strip() else 0 for at, text in _texts(path, np.unique(positions))}
    return np.fromiter((found.get(position, 0) for position in positions.tolist()), dtype=np.int64)


def _texts(path: Path, wanted: Positions) -> Iterator[tuple[int, str]]:
    """(position, text) of the rows at sorted positions; nothing where the file has no texts."""
    start = done = 0
    try:
        file = pq.ParquetFile(path)
        if "text" not in file.schema_arrow.names:
            return
        for batch in file.iter_batches(batch_size=1 << 16, columns=["text"]):
            if done == len(wanted):
                break
            inside = wanted[(wanted >= start) & (wanted < start + len(batch))]
            some = pc.cast(arrow.taken(batch.column(0), inside - start), pa.string())
            yield from zip(inside.tolist(), (text or "" for text in some.to_pylist()), strict=True)
            start, done = start + len(batch), done + len(inside)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise arrow.unreadable(path, str(error)) from None


def counts(table: pa.Table, positions: Positions, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """(value of each column …, number of rows) of the rows at `positions`, most first."""
    rows = arrow.taken(table.select(list(columns)), positions)
    _, firsts, numbers = np.unique(codes(rows.columns), return_index=True, return_counts=True)
    kinds = arrow.taken(rows, firsts).to_pylist()
    found = [(*kind.values(), n) for kind, n in zip(kinds, numbers.tolist(), strict=True)]
    return sorted(found, key=lambda one: (-one[-1], str(one)))
