"""Where rows were first seen: source, file and record of each ordinal, kept in runs of ordinals."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]

TABLES = """
CREATE TABLE origins (                -- of ordinals from `first` on: 4 bytes in places (0: none), 8 of a record
  first INTEGER PRIMARY KEY, places BLOB NOT NULL, records BLOB NOT NULL);
CREATE TABLE places (id INTEGER PRIMARY KEY, source TEXT NOT NULL, file TEXT NOT NULL, UNIQUE (source, file));
"""
SEGMENT = 1 << 14  # ordinals in a row of `origins`


class Origins(NamedTuple):
    """Where the rows of a file come from. names: (source, file); codes: into names, shape (n,); records: shape (n,)."""

    names: Sequence[tuple[str, str]]
    codes: Positions
    records: Positions


class Origin(NamedTuple):
    """A row's first place that was seen. record: counts from 0 within the file."""

    source: str
    file: str
    record: int


def add(database: sqlite3.Connection, before: int, ordinals: Positions, origins: Origins) -> None:
    """Write the origins of the ordinals from `before` on, which a file brought."""
    import numpy as np

    insert, select = "INSERT OR IGNORE INTO places (source, file) VALUES (?, ?)", "SELECT id FROM places"
    database.executemany(insert, origins.names)
    query = f"{select} WHERE source = ? AND file = ?"
    numbers = np.array([database.execute(query, name).fetchone()[0] for name in origins.names], dtype="<u4")
    new = np.flatnonzero(ordinals >= before)[::-1]  # backwards: the first place of a row is written last
    places = np.zeros(int(ordinals.max()) + 1 - before, dtype="<u4")
    records = np.zeros(len(places), dtype="<i8")
    places[ordinals[new] - before] = numbers[origins.codes[new]]
    records[ordinals[new] - before] = origins.records[new]
    rows = [
        (before + at, places[at : at + SEGMENT].tobytes(), records[at : at + SEGMENT].tobytes())
        for at in range(0, len(places), SEGMENT)
    ]
    database.executemany("INSERT INTO origins (first, places, records) VALUES (?, ?, ?)", rows)


def of(database: sqlite3.Connection, ordinal: int) -> Origin | None:
    """Where a row was first seen; None where no file told."""
    query = "SELECT first, places, records FROM origins WHERE first <= ? ORDER BY first DESC LIMIT 1"
    row = database.execute(query, (ordinal,)).fetchone()
    at = ordinal - row[0] if row else 0
    place = int.from_bytes(row[1][4 * at : 4 * at + 4], "little") if row else 0
    name = database.execute("SELECT source, file FROM places WHERE id = ?", (place,)).fetchone()
    if name is None:
        return None
    return Origin(name[0], name[1], int.from_bytes(row[2][8 * at : 8 * at + 8], "little", signed=True))
