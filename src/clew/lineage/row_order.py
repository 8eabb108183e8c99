"""Where the rows of a file stand in it: their order against that of the dictionary of row ids.

    rows of a file by ordinal [3, 4, 9], all in one piece  →  the first position of the piece, 0, and no steps
    [9, 3, 4, 3]                                           →  first 1, again [3], steps [0, 2, -1, -2]

Stages keep the order of rows, and ordinals are given in the order in which rows were first met. So the rows of a piece
(of ordinals with the same high bits) mostly stand one after the other, and a row's position is that of the first one
and the number of the file's rows before it in the piece. Where rows stand twice or elsewhere, the piece keeps the
steps from each row to the next, in the order of their ordinals; files with the same steps share them. A piece whose
rows are thrown about keeps nothing: its steps would take more room than all else.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from clew.lineage.bitmaps import HIGH

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pyroaring import BitMap

    Positions = npt.NDArray[np.int64]

TABLES = """
CREATE TABLE steps (                  -- of the pieces whose rows do not stand one after the other
  number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, bits BLOB NOT NULL);
"""
ENTRY = struct.Struct("<II")  # of a piece: its first position, and the number of its steps
CONSECUTIVE, THROWN = 0, 0xFFFFFFFF
"""Numbers of steps that say: one after the other; in an order that is not kept."""
MOST = 1 << 14
"""Bytes of a piece's steps that are kept: about what the set itself takes, and a tenth of what any order may need."""


def written(database: sqlite3.Connection, ordinals: Positions, positions: Positions) -> bytes:
    """An entry for each piece, from piece 0 on, of the rows with these ordinals at these rising positions."""
    return b"".join(ENTRY.pack(first, _number(database, steps)) for first, steps in _pieces(ordinals, positions))


def _pieces(ordinals: Positions, positions: Positions) -> Iterator[tuple[int, bytes | None]]:
    """(first position, steps) of each piece: b"" where its rows are consecutive, None where they take too much."""
    import numpy as np

    order = np.argsort(ordinals, kind="stable")
    ordered, positions = ordinals[order], positions[order]
    last = int(ordered[-1]) >> HIGH if len(ordered) else -1
    bounds = np.searchsorted(ordered, [high << HIGH for high in range(last + 2)]).tolist()
    for start, end in pairwise(bounds):
        at, lows = positions[start:end], ordered[start:end] & 0xFFFF
        if not len(at):
            yield 0, b""
            continue
        steps, again = np.diff(at, prepend=at[:1]), lows[1:][lows[1:] == lows[:-1]]
        if not len(again) and bool((steps[1:] == 1).all()):
            yield int(at[0]), b""
            continue
        plain = len(again).to_bytes(4, "little") + again.astype("<u2").tobytes() + steps.astype("<i4").tobytes()
        bits = zlib.compress(plain)
        yield int(at[0]), bits if len(bits) <= MOST else None


def _number(database: sqlite3.Connection, steps: bytes | None) -> int:
    if not steps:
        return CONSECUTIVE if steps is not None else THROWN
    digest = hashlib.sha256(steps).digest()[:16]
    found = database.execute("SELECT number FROM steps WHERE digest = ?", (digest,)).fetchone()
    if found is None:
        insert = "INSERT INTO steps (digest, bits) VALUES (?, ?) RETURNING number"
        found = database.execute(insert, (digest, steps)).fetchone()
    return int(found[0])


def positions(
    database: sqlite3.Connection, entries: bytes, high: int, members: BitMap, lows: Iterable[int]
) -> dict[int, list[int]] | None:
    """The positions of rows of a piece in a file, by their low bits; None where their order was not kept.

    entries: what `written` gave. members: the file's rows in the piece. Raises sqlite3.DatabaseError where both do not
    fit together.
    """
    wanted = [low for low in lows if low in members]
    if not wanted:
        return {}
    try:
        first, number = ENTRY.unpack_from(entries, high * ENTRY.size)
        if number == THROWN:
            return None
        if number == CONSECUTIVE:
            return {low: [first + members.rank(low) - 1] for low in wanted}
        again, steps = _steps(database, number)
        if len(steps) != len(members) + len(again):
            raise ValueError
    except (struct.error, zlib.error, ValueError, TypeError):
        raise sqlite3.DatabaseError("an order of rows that does not add up") from None
    return {low: _walked(first, low, members.rank(low) - 1, again, steps) for low in wanted}


def _steps(database: sqlite3.Connection, number: int) -> tuple[array[int], array[int]]:
    """The lows of further occurrences, sorted, and the steps."""
    row = database.execute("SELECT bits FROM steps WHERE number = ?", (number,)).fetchone()
    plain = zlib.decompress(row[0] if row else b"")
    end = 4 + 2 * int.from_bytes(plain[:4], "little")
    return array("H", plain[4:end]), array("i", plain[end:])


def _walked(first: int, low: int, before: int, again: array[int], steps: array[int]) -> list[int]:
    """The positions of all occurrences of a row, rising. before: distinct rows of the piece before it."""
    start = bisect_left(again, low)
    at = first + sum(steps[: before + start])
    found = []
    for step in steps[before + start : before + start + again.count(low) + 1]:
        at += step
        found.append(at)
    return found
