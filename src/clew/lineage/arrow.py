"""Between pyarrow, numpy and Python without pandas: pyarrow imports it to convert values, which takes longer than all
the rest of a question to a small repository. So values are handed over as buffers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clew.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TYPES = {
    "record": pa.int64(),
    "weight": pa.float64(),
    "score": pa.float64(),
    "threshold": pa.float64(),
    "parent_ids": pa.list_(pa.string()),
    "times": pa.int64(),
    "times_fed": pa.int64(),
    "tokens": pa.int64(),
    "tokens_fed": pa.int64(),
    "tokens_masked": pa.int64(),
    "truncated": None,
}
"""Of the columns that are no texts; None: whatever it is."""
REPEATED = ("source", "file", "task", "label", "decision", "rule")
"""Texts of few values: decoded as numbers, which is five times as fast."""
BATCH = 1 << 16
CHECKED = 1 << 17
"""Rows that are decoded at a time; rows of a group of which the ids are read, too."""


def read(path: Path, columns: Sequence[str]) -> pa.Table:
    """Those of the named columns that a parquet file has, each of the type that clew writes; raises DataError.

    A file of rows keeps `file` and `record` in `origin`: they come as columns of their own. Texts are valid UTF-8.
    """
    try:
        file = pq.ParquetFile(path)
        return _shaped(file.read(columns=_there(file, columns)))
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, str(error)) from None


def read_at(path: Path, positions: npt.NDArray[np.int64], columns: Sequence[str]) -> Iterator[pa.Table]:
    """The same of the rows at rising positions only, some at a time. What is before them in their groups is decoded,
    other groups are not; `row_id` is left out where that would cost more than all the rest (a group of over CHECKED
    rows). What lies beyond the end of the file is passed over.
    """
    try:
        file = _of_numbers(path)
        names = _there(file, columns)
        for group, start, rows in _groups(file):
            inside = positions[(positions >= start) & (positions < start + rows)]
            wanted = [name for name in names if name != "row_id" or rows <= CHECKED]
            for batch in file.iter_batches(BATCH, row_groups=[group], columns=wanted) if len(inside) else ():
                here = inside[inside < start + len(batch)] - start
                if len(here):
                    yield _shaped(taken(pa.Table.from_batches([batch]), here))
                inside, start = inside[len(here) :], start + len(batch)
                if not len(inside):
                    break
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, str(error)) from None


def _of_numbers(path: Path) -> pq.ParquetFile:
    """A file whose REPEATED texts are decoded as numbers; nested columns of these names are not texts."""
    known = pq.read_metadata(path)
    there = {known.schema.column(number).path for number in range(known.num_columns)}
    return pq.ParquetFile(path, metadata=known, read_dictionary=[name for name in REPEATED if name in there])


def decoded(path: Path, positions: npt.NDArray[np.int64]) -> int:
    """How many rows are decoded to have those at some positions; raises DataError."""
    try:
        found = 0
        for _, start, rows in _groups(pq.ParquetFile(path)):
            inside = positions[(positions >= start) & (positions < start + rows)]
            found += min(rows, (int(inside.max()) - start) // BATCH * BATCH + BATCH) if len(inside) else 0
        return found
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, str(error)) from None


def _groups(file: pq.ParquetFile) -> Iterator[tuple[int, int, int]]:
    """(number, position of the first row, rows) of each row group."""
    start = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        yield group, start, rows
        start += rows


def _there(file: pq.ParquetFile, columns: Sequence[str]) -> list[str]:
    there = set(file.schema_arrow.names)
    if "row_id" not in there:
        raise pa.ArrowInvalid("it has no column row_id")
    return [name for name in columns if name in there]


def _shaped(table: pa.Table) -> pa.Table:
    found = {name: table[name] for name in table.column_names if name != "origin"}
    if "origin" in table.column_names:
        origin = table["origin"].combine_chunks()
        found |= {name: pa.chunked_array([pc.struct_field(origin, name)]) for name in ("file", "record")}
    made = pa.table({name: _typed(column, name) for name, column in found.items()})
    made.validate(full=True)
    if "row_id" in made.column_names and made["row_id"].null_count:
        raise pa.ArrowInvalid("a row without an id")
    return made


def _typed(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    wanted, there = TYPES.get(name, pa.string()), column.type
    if wanted is None or there == wanted:
        return column
    if pa.types.is_dictionary(there):
        there = there.value_type
    texts = pa.types.is_string(there) or pa.types.is_large_string(there)
    number = pa.types.is_integer(there) or pa.types.is_floating(there)
    fits = texts if wanted == pa.string() else pa.types.is_list(there) if pa.types.is_list(wanted) else number
    if not fits and not pa.types.is_null(there):
        raise pa.ArrowInvalid(f"its column {name} is of type {there}, not {wanted}")
    return pc.cast(column, wanted)


def unreadable(path: Path, why: str) -> DataError:
    """What to raise for a file that is no file of rows."""
    return DataError(
        f"the file cannot be read as rows: {(why.splitlines() or ['no reason given'])[0][:120]}",
        where=str(path),
        fix="Delete it from the cache, then `dvc pull` or `dvc repro` brings the right one.",
    )


def texts(values: Sequence[str]) -> pa.Array:
    """Texts as an array."""
    data = [value.encode() for value in values]
    ends = array("i", accumulate(map(len, data), initial=0))
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(ends), pa.py_buffer(b"".join(data)))


def whole(value: int) -> pa.Scalar:
    """A whole number of 32 bits."""
    return pa.Array.from_buffers(pa.int32(), 1, [None, pa.py_buffer(array("i", [value]))])[0]


def wholes(values: npt.NDArray[np.int64]) -> pa.ChunkedArray:
    """Whole numbers of 64 bits as a column."""
    return pa.chunked_array([pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])])


def or_zero(column: Any) -> Any:
    """Whole numbers as 64 bits, null as 0."""
    return pc.fill_null(pc.cast(column, pa.int64()), pc.cast(whole(0), pa.int64()))


def true(column: Any) -> Any:
    """Booleans with null as false."""
    return pc.and_kleene(column, pc.is_valid(column))


def equal(column: Any, value: str) -> Any:
    """Where a column of texts has a value; false where it is null, everywhere where the column is all null."""
    return true(pc.equal(pc.cast(column, pa.string()), texts([value])[0]))


def taken(column: Any, positions: npt.NDArray[np.int64]) -> Any:
    """The rows of a table, or the values of a column, at `positions`."""
    import numpy as np

    buffer = pa.py_buffer(np.ascontiguousarray(positions, dtype=np.int64))
    return column.take(pa.Array.from_buffers(pa.int64(), len(positions), [None, buffer]))


def characters(chunk: pa.StringArray) -> Any:
    """The bytes of all texts of a chunk, one after the other."""
    if not len(chunk):
        return b""
    _, ends, data = chunk.buffers()
    ends = memoryview(ends).cast("i")[chunk.offset : chunk.offset + len(chunk) + 1]
    return memoryview(data)[ends[0] : ends[-1]]


def numbers(column: Any) -> npt.NDArray[Any]:
    """Whole numbers or booleans without nulls as numpy has them."""
    import numpy as np

    if not len(column):  # an empty one has no chunks to combine
        return np.zeros(0, dtype=np.bool_ if pa.types.is_boolean(column.type) else np.int64)
    one = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_boolean(one.type):
        return numbers(pc.cast(one, pa.uint8())).astype(np.bool_)
    kind = np.dtype(f"{'u' * pa.types.is_unsigned_integer(one.type)}int{one.type.bit_width}")
    found: npt.NDArray[Any] = np.frombuffer(one.buffers()[1] or b"", dtype=kind)
    return found[one.offset : one.offset + len(one)]
