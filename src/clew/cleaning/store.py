"""The rows that rules work on, in files and read batch by batch: what is in memory does not grow with their texts.

rows = Rows(rows.SCHEMA, read, n, scratch)      read(["text"]) → tables of all n rows, in their order
for start, batch in rows.batches(["text"]): …   those that are left, as the rules before left them
rows.put(schema, tables)                        columns that a rule changed: a file in `scratch` until the next
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clew import io

BATCH = 1 << 14
"""Rows that are in memory at a time, at most …"""
BYTES = 1 << 23
"""… and fewer where so many would hold more bytes than this."""

Read = Callable[[Sequence[str]], Iterator[pa.Table]]
"""The named columns of all rows, in order, in tables of any but always the same lengths."""


class Rows:
    """n rows, of which some are left. `left` (n,): which ones; the rules see these only, and count them from 0."""

    def __init__(self, schema: pa.Schema, read: Read, n: int, scratch: Path) -> None:
        self._given, self._scratch = read, scratch
        self._fields = {field.name: field for field in schema}
        self._files: dict[str, Path] = {}
        self._written = 0
        self.left: NDArray[np.bool_] = np.ones(n, dtype=bool)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.left))

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """Of the named columns."""
        return pa.schema([self._fields[name] for name in columns])

    def given(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Columns of all rows as they came: the position of the first, and a table."""
        return _counted([self._given(columns)], columns)

    def read(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Columns of all rows as they are now."""
        by_file: dict[Path | None, list[str]] = {}
        for name in columns:
            by_file.setdefault(self._files.get(name), []).append(name)
        parts = [self._given(names) if path is None else _of_file(path, names) for path, names in by_file.items()]
        return _counted(parts, columns)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Columns of the rows that are left: how many of them came before, and a table that is not empty."""
        before = 0
        for start, table in self.read(columns):
            left = self.left[start : start + len(table)]
            if left.any():
                some = table if left.all() else table.filter(pa.array(left))
                yield before, some
                before += len(some)

    def values(self, column: str) -> Iterator[Any]:
        """A column of the rows that are left, one value after the other."""
        return (value for _, batch in self.batches([column]) for value in batch[column].to_pylist())

    def take(self, positions: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Columns of some of the rows that are left (ascending), in memory."""
        found = [self.schema(columns).empty_table()]
        for start, batch in self.batches(columns):
            if len(some := within(positions, start, len(batch))):
                found.append(batch.take(pa.array(some)))
        return pa.concat_tables(found).combine_chunks()

    def shared(self, column: str, positions: NDArray[np.int64]) -> list[Any]:
        """A column of some of the rows that are left (ascending), in memory: equal values are one object."""
        coded = self.take(positions, [column])[column].combine_chunks().dictionary_encode()
        values = [*coded.dictionary.to_pylist(), None]
        return [values[code] for code in coded.indices.fill_null(-1).to_pylist()]

    def put(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
        """Columns of all rows from now on, in tables as `read` gives them. They may be made of what is read."""
        path = self._scratch / f"{self._written}.arrow"
        self._written += 1
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
            for table in tables:
                writer.write_table(table.cast(schema).combine_chunks())
        before = set(self._files.values())
        for field in schema:
            self._files[field.name], self._fields[field.name] = path, field
        for unused in before - {*self._files.values()}:
            unused.unlink()


class Texts:
    """A column of some of the rows that are left (ascending): read anew each time, empty where it is null."""

    def __init__(self, rows: Rows, column: str, positions: NDArray[np.int64]) -> None:
        self._rows, self._column, self._positions = rows, column, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        for start, batch in self._rows.batches([self._column]):
            some = within(self._positions, start, len(batch))
            yield from batch[self._column].take(pa.array(some)).fill_null("").to_pylist()


def within(positions: NDArray[np.int64], start: int, count: int) -> NDArray[np.int64]:
    """Those of the positions (ascending) that are among `count` from `start` on, counted from there."""
    first, stop = np.searchsorted(positions, [start, start + count])
    return positions[first:stop] - start


def of_parquet(path: Path, schema: pa.Schema, scratch: Path) -> Rows:
    """The rows of a parquet file; raises DataError where it has not exactly `schema`."""
    about = io.open_parquet(path, schema).metadata
    groups = (about.row_group(number) for number in range(about.num_row_groups))
    a_row = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
    size = max(1, min(BATCH, BYTES // max(1, a_row)))
    return Rows(schema, lambda columns: io.batches(path, schema, columns, size), about.num_rows, scratch)


def of_table(table: pa.Table, scratch: Path, size: int = BATCH) -> Rows:
    """The rows of a table, `size` at a time."""
    starts = range(0, len(table), size)
    parts = [table.slice(start, size).combine_chunks() for start in starts]
    return Rows(table.schema, lambda columns: (part.select(columns) for part in parts), len(table), scratch)


def _counted(parts: Sequence[Iterator[pa.Table]], columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    start = 0
    for tables in zip(*parts, strict=True):
        found = {name: table[name] for table in tables for name in table.column_names}
        yield start, pa.table([found[name] for name in columns], names=list(columns))
        start += len(tables[0])


def _of_file(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    with pa.OSFile(str(path)) as file:
        names = pa.ipc.open_file(file).schema.names
        options = pa.ipc.IpcReadOptions(included_fields=sorted(map(names.index, columns)))
        reader = pa.ipc.open_file(file, options=options)
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])
