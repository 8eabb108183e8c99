"""Between pyarrow, numpy and Python without pandas: pyarrow imports it to convert values, which takes longer than all
the rest of a question to a small repository. So values are handed over as buffers.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def texts(values: Sequence[str]) -> pa.Array:
    """Texts as an array."""
    data = [value.encode() for value in values]
    ends = array("i", accumulate(map(len, data), initial=0))
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(ends), pa.py_buffer(b"".join(data)))


def whole(value: int) -> pa.Scalar:
    """A whole number of 32 bits."""
    return pa.Array.from_buffers(pa.int32(), 1, [None, pa.py_buffer(array("i", [value]))])[0]


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
