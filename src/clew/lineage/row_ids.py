"""The dictionary of row ids: 32 bytes → ordinal, in buckets by the first 10 bits, exact.

Ids are digests, so buckets fill evenly: a million ids are a thousand buckets of a thousand. One id is looked for in
one bucket, without numpy; a file's ids are looked for in the whole dictionary, sorted by the first 8 bytes.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]
    Ordinals = npt.NDArray[np.int64]

WIDTH = 32
SHIFT = 6  # of the first two bytes: 10 bits are left
SELECT = "SELECT ids, ordinals FROM buckets WHERE bucket = ?"


def ordinal(database: sqlite3.Connection, row_id: bytes) -> int | None:
    """The ordinal of an id; None where it is not in the dictionary."""
    row = _bucket(database, int.from_bytes(row_id[:2]) >> SHIFT)
    if row is None:
        return None
    at = row[0].find(row_id)
    while at >= 0 and at % WIDTH:  # the end of one id and the beginning of the next may spell it
        at = row[0].find(row_id, at + 1)
    return int.from_bytes(row[1][at // WIDTH * 4 :][:4], "little") if at >= 0 else None


def beginning(database: sqlite3.Connection, prefix: str) -> list[str]:
    """The ids that begin with a prefix (at least 4 hex digits), as hex, sorted."""
    row = _bucket(database, int(prefix[:4], 16) >> SHIFT)
    text = row[0].hex() if row else ""
    starts = range(0, len(text), 2 * WIDTH)
    return sorted(text[at : at + 2 * WIDTH] for at in starts if text.startswith(prefix, at))


def _bucket(database: sqlite3.Connection, number: int) -> tuple[bytes, bytes] | None:
    row: tuple[bytes, bytes] | None = database.execute(SELECT, (number,)).fetchone()
    if row is not None and not _adds_up(row):
        raise sqlite3.DatabaseError("a bucket of row ids that does not add up")
    return row


def _adds_up(row: tuple[bytes, bytes]) -> bool:
    whole = isinstance(row[0], bytes) and isinstance(row[1], bytes)
    return whole and len(row[0]) % WIDTH == 0 and len(row[0]) == WIDTH // 4 * len(row[1])


def current(database: sqlite3.Connection, known: Dictionary | None) -> Dictionary:
    """The whole dictionary, read again only where another process added to it; within a transaction."""
    version = database.execute("PRAGMA data_version").fetchone()[0]
    return known if known is not None and known.version == version else Dictionary(database, version)


class Dictionary:
    """All ids in memory, sorted: 44 bytes each."""

    def __init__(self, database: sqlite3.Connection, version: int) -> None:
        import numpy as np

        self.version = version
        rows = database.execute("SELECT ids, ordinals FROM buckets").fetchall()
        if not all(map(_adds_up, rows)):
            raise sqlite3.DatabaseError("a bucket of row ids that does not add up")
        words = _words(b"".join(row[0] for row in rows))
        ordinals = np.frombuffer(b"".join(row[1] for row in rows), dtype="<u4").astype(np.int64)
        self._keep(words, ordinals)

    def _keep(self, words: Words, ordinals: Ordinals) -> None:
        import numpy as np

        order = np.argsort(words[:, 0], kind="stable")
        self.words, self.at = words[order], ordinals[order]
        self.first = np.ascontiguousarray(self.words[:, 0])

    def __len__(self) -> int:
        return len(self.at)

    def ordinals(self, database: sqlite3.Connection, ids: bytes) -> Ordinals:
        """The ordinal of each of n × 32 bytes, shape (n,); new ids get the next ones and are written."""
        import numpy as np

        words = _words(ids)
        found = self._look_up(words)
        new = np.flatnonzero(found < 0)
        if len(new):
            different = _distinct(words[new])
            self._add(database, different)
            found[new] = self._look_up(words[new])
        return found

    def _look_up(self, words: Words) -> Ordinals:
        """The ordinals of known ids, -1 for others."""
        import numpy as np

        order = np.argsort(words[:, 0])  # in order, the search walks through memory and not across it
        wanted = words[order]
        at = np.searchsorted(self.first, wanted[:, 0])
        ordered = np.full(len(words), -1, dtype=np.int64)
        left = np.arange(len(words))
        while len(left):  # once, but for ids that share their first 8 bytes
            left = left[at[left] < len(self.first)]
            candidates, asked = self.words[at[left]], wanted[left]
            alike = candidates[:, 0] == asked[:, 0]
            same = alike & (candidates[:, 1] == asked[:, 1])
            same &= (candidates[:, 2] == asked[:, 2]) & (candidates[:, 3] == asked[:, 3])
            ordered[left[same]] = self.at[at[left[same]]]
            left = left[alike & ~same]
            at[left] += 1
        found = np.empty(len(words), dtype=np.int64)
        found[order] = ordered
        return found

    def _add(self, database: sqlite3.Connection, new: Words) -> None:
        import numpy as np

        ordinals = np.arange(len(self.at), len(self.at) + len(new), dtype=np.int64)
        buckets = (new[:, 0] >> np.uint64(48 + SHIFT)).astype(np.int64)
        order = np.argsort(buckets, kind="stable")
        numbers, starts = np.unique(buckets[order], return_index=True)
        rows = []
        for number, some in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            was = database.execute(SELECT, (number,)).fetchone() or (b"", b"")
            here = ordinals[some].astype("<u4").tobytes()
            rows.append((number, was[0] + new[some].astype(">u8").tobytes(), was[1] + here))
        database.executemany("INSERT OR REPLACE INTO buckets (bucket, ids, ordinals) VALUES (?, ?, ?)", rows)
        self._keep(np.concatenate([self.words, new]), np.concatenate([self.at, ordinals]))


def _words(ids: bytes) -> Words:
    """n × 32 bytes as numbers that sort as the bytes do, shape (n, 4)."""
    import numpy as np

    return np.frombuffer(ids, dtype=">u8").reshape(-1, 4).astype(np.uint64)


def _distinct(words: Words) -> Words:
    """Each id once, in the order in which they are first met: files that keep the order of rows then list rising
    ordinals (`row_order`).
    """
    import numpy as np

    order = np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0]))
    ordered = words[order]
    again = np.zeros(len(words), dtype=np.bool_)
    again[1:] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return words[np.sort(order[~again])]
