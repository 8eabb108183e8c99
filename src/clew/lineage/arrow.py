"""Between pyarrow, numpy and Python without pandas: pyarrow imports it to convert values, which takes longer than all
the rest of a question to a small repository. So values are handed over as buffers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
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
BATCH = 1 << 14
FEW = 8
"""Rows that are decoded at a time; rows of a batch that are cut out of it one by one."""


def read(path: Path, columns: Sequence[str]) -> pa.Table:
    """Those of the named columns that a parquet file has, each of the type that clew writes; raises DataError.

    A file of rows keeps `file` and `record` in `origin`: they come as columns of their own. Texts are valid UTF-8.
    """
    try:
        file = pq.ParquetFile(path)
        return _shaped(file.read(columns=_there(file, columns)))
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, str(error)) from None


def rows_at(path: Path, positions: Sequence[int], columns: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
    """The same of the rows at rising positions only, and how many rows were decoded for it: those before them in their
    row groups. What lies beyond the end of the file is passed over.
    """
    found, decoded = [], 0
    try:
        file = _of_numbers(path)
        names = _there(file, columns)
        for group, start, rows in _groups(file):
            inside = _between(positions, start, start + rows)
            for batch in file.iter_batches(BATCH, row_groups=[group], columns=names) if inside else ():
                here = _between(inside, start, start + len(batch))
                found += _picked(pa.Table.from_batches([batch]), [position - start for position in here])
                inside, start, decoded = inside[len(here) :], start + len(batch), decoded + len(batch)
                if not inside:
                    break
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, str(error)) from None
    return found, decoded


def _of_numbers(path: Path) -> pq.ParquetFile:
    """A file whose REPEATED texts are decoded as numbers; nested columns of these names are not texts."""
    known = pq.read_metadata(path)
    there = {known.schema.column(number).path for number in range(known.num_columns)}
    names = [name for name in REPEATED if name in there]
    return pq.ParquetFile(path, metadata=known, read_dictionary=names, pre_buffer=False)


def _between(positions: Sequence[int], start: int, end: int) -> Sequence[int]:
    return positions[bisect_left(positions, start) : bisect_left(positions, end)]


def _picked(table: pa.Table, positions: Sequence[int]) -> list[dict[str, Any]]:
    """Some rows of a table; of few they are cut out, for to `take` them means to import pyarrow.compute: 30 ms."""
    if len(positions) > FEW:
        import numpy as np

        return list(_shaped(taken(table, np.array(positions))).to_pylist())
    return [row for at in positions for row in _shaped(table.slice(at, 1), numbers=True).to_pylist()]


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


def _shaped(table: pa.Table, *, numbers: bool = False) -> pa.Table:
    """numbers: texts may stay as they were decoded."""
    found = {name: table[name] for name in table.column_names if name != "origin"}
    if "origin" in table.column_names:
        import pyarrow.compute as pc

        origin = table["origin"].combine_chunks()
        found |= {name: pa.chunked_array([pc.struct_field(origin, name)]) for name in ("file", "record")}
    made = pa.table({name: _typed(column, name, numbers=numbers) for name, column in found.items()})
    made.validate(full=True)
    if "row_id" in made.column_names and made["row_id"].null_count:
        raise pa.ArrowInvalid("a row without an id")
    return made


def _typed(column: pa.ChunkedArray, name: str, *, numbers: bool) -> pa.ChunkedArray:
    wanted, there = TYPES.get(name, pa.string()), column.type
    if wanted is None or there == wanted:
        return column
    if pa.types.is_dictionary(there):
        there = there.value_type
        if numbers and there == wanted:
            return column
    texts = pa.types.is_string(there) or pa.types.is_large_string(there)
    number = pa.types.is_integer(there) or pa.types.is_floating(there)
    fits = texts if wanted == pa.string() else pa.types.is_list(there) if pa.types.is_list(wanted) else number
    if not fits and not pa.types.is_null(there):
        raise pa.ArrowInvalid(f"its column {name} is of type {there}, not {wanted}")
    return column.cast(wanted)


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
    import pyarrow.compute as pc

    return pc.fill_null(pc.cast(column, pa.int64()), pc.cast(whole(0), pa.int64()))


def true(column: Any) -> Any:
    """Booleans with null as false."""
    import pyarrow.compute as pc

    return pc.and_kleene(column, pc.is_valid(column))


def equal(column: Any, value: str) -> Any:
    """Where a column of texts has a value; false where it is null, everywhere where the column is all null."""
    import pyarrow.compute as pc

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
        return numbers(one.cast(pa.uint8())).astype(np.bool_)
    kind = np.dtype(f"{'u' * pa.types.is_unsigned_integer(one.type)}int{one.type.bit_width}")
    found: npt.NDArray[Any] = np.frombuffer(one.buffers()[1] or b"", dtype=kind)
    return found[one.offset : one.offset + len(one)]
