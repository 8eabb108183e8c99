"""Sets of ordinals as roaring bitmaps, cut where `ordinal >> 16` changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pyroaring import BitMap

HIGH = 16
"""Bits of an ordinal within a piece."""


def cut(ordinals: npt.NDArray[np.int64]) -> tuple[dict[int, BitMap], int]:
    """The pieces of a set by their high bits, and the number of its members; `ordinals` may repeat."""
    import numpy as np
    from pyroaring import BitMap

    ordered = np.sort(ordinals)
    again = np.zeros(len(ordered), dtype=np.bool_)
    again[1:] = ordered[1:] == ordered[:-1]
    ordered = ordered[~again]
    first, last = (int(ordered[0]), int(ordered[-1])) if len(ordered) else (0, -1)
    highs = range(first >> HIGH, (last >> HIGH) + 1)
    starts = np.searchsorted(ordered, [high << HIGH for high in highs][1:])
    lows = zip(highs, np.split((ordered & 0xFFFF).astype(np.uint32), starts), strict=False)
    return {high: BitMap(low) for high, low in lows if len(low)}, len(ordered)


def difference(one: Mapping[int, BitMap], other: Mapping[int, BitMap]) -> dict[int, BitMap]:
    """The pieces of the ordinals that one of the two sets has and not the other."""
    from pyroaring import BitMap

    both = {high: one.get(high, BitMap()) ^ other.get(high, BitMap()) for high in one.keys() | other.keys()}
    return {high: piece for high, piece in both.items() if piece}


def written(piece: BitMap) -> bytes:
    """A piece as bytes, in the shortest of roaring's forms."""
    piece.run_optimize()
    return piece.serialize()


def read(bits: bytes) -> BitMap:
    """A piece from its bytes; raises sqlite3.DatabaseError where they are none, for the file is damaged then."""
    from pyroaring import BitMap

    try:
        return BitMap.deserialize(bits)
    except ValueError:
        raise sqlite3.DatabaseError("a piece of a set that cannot be read") from None


def members(bits: bytes, lows: Sequence[int]) -> frozenset[int]:
    """The positions in `lows` of the members of a piece."""
    piece = read(bits)
    return frozenset(position for position, low in enumerate(lows) if low in piece)


def bytes_of(pieces: Mapping[int, bytes]) -> int:
    """What they take."""
    return sum(map(len, pieces.values()))
