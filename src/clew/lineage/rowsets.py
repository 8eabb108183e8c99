"""Exact sets of rows over all history: which files hold a row, and under which decision.

    sets.add("07aa…", ids, [Group("dropped", "length", positions), …])      one parquet file, known by its md5
    sets.holding([sets.ordinal("5f0c…")])  →  [{"07aa…": [("dropped", "length")], "2b77…": [("in", None)]}]

It lies in `.clew/rows.sqlite`, holds nothing that DVC's cache does not, and can be deleted at any time. Each row id (32
bytes) has one ordinal. A set is a roaring bitmap of ordinals, cut where `ordinal >> 16` changes, and the pieces of all
sets with the same high bits lie side by side: one row among a thousand sets is one short read. A set that is much like
an earlier one is kept as the rows in which they differ.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from clew.lineage import bitmaps, row_ids

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pygit2
    from pyroaring import BitMap

    Positions = npt.NDArray[np.int64]

T = TypeVar("T")
VERSION = 2
"""Of the tables below: raise it when what they hold changes meaning."""
TABLES = """
CREATE TABLE buckets (                -- of row ids by their first 10 bits, in the order they came
  bucket INTEGER PRIMARY KEY, ids BLOB NOT NULL, ordinals BLOB NOT NULL);
CREATE TABLE files (md5 TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sets (
  number INTEGER PRIMARY KEY, md5 TEXT NOT NULL, decision TEXT NOT NULL, rule TEXT,
  size INTEGER NOT NULL,              -- rows
  base INTEGER                        -- a set that the pieces are the difference to, or null
);
CREATE INDEX whole_sets ON sets (size) WHERE base IS NULL;
CREATE TABLE pieces (                 -- place: ordinal >> 16 and the set's number
  place INTEGER PRIMARY KEY, bits BLOB NOT NULL);
CREATE TABLE origins (                -- of ordinals from `first` on: 4 bytes in places (0: none), 8 of a record
  first INTEGER PRIMARY KEY, places BLOB NOT NULL, records BLOB NOT NULL);
CREATE TABLE places (id INTEGER PRIMARY KEY, source TEXT NOT NULL, file TEXT NOT NULL, UNIQUE (source, file));
CREATE TABLE children (parent INTEGER NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)) WITHOUT ROWID;
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
WAIT = 60  # seconds, for another process that adds to it
HIGH = bitmaps.HIGH
SEGMENT = 1 << 14  # ordinals in a row of `origins`
SMALL, CANDIDATES = 1000, 6
"""Rows of a set that is always kept whole; earlier sets that a larger one is compared with."""
NOBODY: frozenset[int] = frozenset()
IN = "in"
"""The decision under which the rows of a file that is no ledger are kept."""


class Group(NamedTuple):
    """Rows of a file under one decision. positions: in the file, from 0."""

    decision: str
    rule: str | None
    positions: Positions


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


Held = dict[str, list[tuple[str, str | None]]]
"""md5 → (decision, rule) of a row in that file."""


def ask(repo: pygit2.Repository, question: Callable[[RowSets], T]) -> T:
    """What `question` makes of the sets of a repository; a damaged or old file is made anew and asked again."""
    file = place(repo)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with opened(file) as sets:
            return question(sets)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
    except sqlite3.DatabaseError:
        pass
    for path in (file, file.with_name(file.name + "-journal")):
        path.unlink(missing_ok=True)
    with opened(file) as sets:
        return question(sets)


def place(repo: pygit2.Repository) -> Path:
    """The file of a repository's sets."""
    if repo.workdir:
        return Path(repo.workdir) / ".clew" / "rows.sqlite"
    from clew.sources import cache

    return cache.root() / "history" / f"{hashlib.sha256(repo.path.encode()).hexdigest()[:16]}-rows.sqlite"


@contextmanager
def opened(file: Path) -> Iterator[RowSets]:
    """The sets in a file, which is made if it is not there; raises sqlite3.DatabaseError where it is damaged or old."""
    database = sqlite3.connect(file, timeout=WAIT, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = OFF")  # it can be made again
        database.execute("PRAGMA page_size = 16384")  # pieces are 8 KiB at most: two fit
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, VERSION):
            raise sqlite3.DatabaseError("an index of another version")
        sets = RowSets(database)
        if not found:
            with sets.change():
                if not database.execute("PRAGMA user_version").fetchone()[0]:
                    for statement in TABLES.split(";\n"):
                        database.execute(statement)
                    database.execute(f"PRAGMA user_version = {VERSION}")
        yield sets
    finally:
        database.close()


class RowSets:
    """Questions to the sets, and additions."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self._ids: row_ids.Dictionary | None = None

    @contextmanager
    def change(self) -> Iterator[None]:
        """One transaction, alone."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.database.execute("COMMIT")
        except BaseException:
            self._ids = None
            with suppress(sqlite3.Error):
                self.database.execute("ROLLBACK")
            raise

    def unknown(self, md5s: Iterable[str]) -> list[str]:
        """Those of the files that were not added yet, in their order."""
        known = {row[0] for row in self.database.execute("SELECT md5 FROM files")}
        return [md5 for md5 in dict.fromkeys(md5s) if md5 not in known]

    def rows(self, md5: str) -> int | None:
        """How many rows a file has; None for one that was not added."""
        row = self.database.execute("SELECT rows FROM files WHERE md5 = ?", (md5,)).fetchone()
        return int(row[0]) if row else None

    def add(
        self,
        md5: str,
        ids: bytes,
        groups: Sequence[Group],
        children: Iterable[tuple[int, Sequence[str]]] = (),
        origins: Callable[[], Origins | None] = lambda: None,
    ) -> None:
        """Add a file: ids (n × 32 bytes), its groups, and (position, parent ids) of rows made from others.

        origins: asked where some ids are new.
        """
        with self.change():
            if not self.unknown([md5]):
                return
            self._ids = row_ids.current(self.database, self._ids)
            before = len(self._ids)
            ordinals = self._ids.ordinals(self.database, ids)
            if len(self._ids) > before and (found := origins()) is not None:
                self._add_origins(before, ordinals, found)
            for group in groups:
                self._add_set(md5, group.decision, group.rule, ordinals[group.positions])
            for position, parents in children:
                known = self._ids.ordinals(self.database, b"".join(map(bytes.fromhex, parents)))
                child = ids[position * row_ids.WIDTH :][: row_ids.WIDTH].hex()
                insert = "INSERT OR IGNORE INTO children (parent, child) VALUES (?, ?)"
                self.database.executemany(insert, [(int(parent), child) for parent in known])
            insert = "INSERT INTO files (md5, rows) VALUES (?, ?)"
            self.database.execute(insert, (md5, len(ids) // row_ids.WIDTH))

    def _add_set(self, md5: str, decision: str, rule: str | None, ordinals: Positions) -> None:
        pieces, size = bitmaps.cut(ordinals)
        base, kept = None, {high: bitmaps.written(piece) for high, piece in pieces.items()}
        for other in self._like(size):
            bits = {
                high: bitmaps.written(piece) for high, piece in bitmaps.difference(pieces, self._whole(other)).items()
            }
            if 2 * bitmaps.bytes_of(bits) < bitmaps.bytes_of(kept):
                base, kept = other, bits
        insert = "INSERT INTO sets (md5, decision, rule, size, base) VALUES (?, ?, ?, ?, ?)"
        number = int(self.database.execute(insert, (md5, decision, rule, size, base)).lastrowid or 0)
        rows = [(high << 32 | number, bits) for high, bits in kept.items()]
        self.database.executemany("INSERT INTO pieces (place, bits) VALUES (?, ?)", rows)

    def _add_origins(self, before: int, ordinals: Positions, origins: Origins) -> None:
        """Write the origins of the ordinals from `before` on."""
        import numpy as np

        insert, select = "INSERT OR IGNORE INTO places (source, file) VALUES (?, ?)", "SELECT id FROM places"
        self.database.executemany(insert, origins.names)
        query = f"{select} WHERE source = ? AND file = ?"
        numbers = np.array([self.database.execute(query, name).fetchone()[0] for name in origins.names], dtype="<u4")
        new = np.flatnonzero(ordinals >= before)[::-1]  # backwards: the first place of a row is written last
        places = np.zeros(int(ordinals.max()) + 1 - before, dtype="<u4")
        records = np.zeros(len(places), dtype="<i8")
        places[ordinals[new] - before] = numbers[origins.codes[new]]
        records[ordinals[new] - before] = origins.records[new]
        rows = [
            (before + at, places[at : at + SEGMENT].tobytes(), records[at : at + SEGMENT].tobytes())
            for at in range(0, len(places), SEGMENT)
        ]
        self.database.executemany("INSERT INTO origins (first, places, records) VALUES (?, ?, ?)", rows)

    def origin(self, ordinal: int) -> Origin | None:
        """Where a row was first seen; None where no file told."""
        query = "SELECT first, places, records FROM origins WHERE first <= ? ORDER BY first DESC LIMIT 1"
        row = self.database.execute(query, (ordinal,)).fetchone()
        at = ordinal - row[0] if row else 0
        place = int.from_bytes(row[1][4 * at : 4 * at + 4], "little") if row else 0
        name = self.database.execute("SELECT source, file FROM places WHERE id = ?", (place,)).fetchone()
        if name is None:
            return None
        return Origin(name[0], name[1], int.from_bytes(row[2][8 * at : 8 * at + 8], "little", signed=True))

    def _like(self, size: int) -> list[int]:
        """The newest sets that are kept whole and of about this size; none for a small set, which needs no base."""
        if size < SMALL:
            return []
        query = "SELECT number FROM sets WHERE base IS NULL AND size BETWEEN ? AND ? ORDER BY number DESC LIMIT ?"
        return [row[0] for row in self.database.execute(query, (size // 2, 2 * size, CANDIDATES))]

    def _whole(self, number: int) -> dict[int, BitMap]:
        highest = self.database.execute("SELECT max(place) FROM pieces").fetchone()[0] or 0
        rows = (
            (high, self.database.execute("SELECT bits FROM pieces WHERE place = ?", (high << 32 | number,)).fetchone())
            for high in range((highest >> 32) + 1)
        )
        return {high: bitmaps.read(row[0]) for high, row in rows if row}

    def ordinal(self, row_id: str) -> int | None:
        """The ordinal of a row id (64 hex digits); None where no file has it."""
        return row_ids.ordinal(self.database, bytes.fromhex(row_id))

    def beginning(self, prefix: str) -> list[str]:
        """The row ids that begin with a prefix of at least 8 hex digits, sorted."""
        return row_ids.beginning(self.database, prefix)

    def holding(self, ordinals: Sequence[int]) -> list[Held]:
        """For each row the files that hold it, with its decisions there."""
        found: list[Held] = [{} for _ in ordinals]
        by_high: dict[int, list[int]] = {}
        for position, ordinal in enumerate(ordinals):
            by_high.setdefault(ordinal >> HIGH, []).append(position)
        sets = self.database.execute("SELECT number, base, md5, decision, rule FROM sets").fetchall()
        for high, positions in by_high.items():
            lows = [ordinals[position] & 0xFFFF for position in positions]
            inside = {number: bitmaps.members(bits, lows) for number, bits in self._pieces_of(high)}
            for number, base, md5, decision, rule in sets:
                members = inside.get(number, NOBODY) ^ inside.get(base, NOBODY)
                for position in members:
                    found[positions[position]].setdefault(md5, []).append((decision, rule))
        return found

    def _pieces_of(self, high: int) -> Iterator[tuple[int, bytes]]:
        query = "SELECT place, bits FROM pieces WHERE place >= ? AND place < ?"
        for place, bits in self.database.execute(query, (high << 32, (high + 1) << 32)):
            yield place & 0xFFFFFFFF, bits

    def children(self, ordinal: int) -> list[str]:
        """The ids of the rows that were made from a row, sorted."""
        query = "SELECT child FROM children WHERE parent = ? ORDER BY child"
        return [row[0] for row in self.database.execute(query, (ordinal,))]

    def all_children(self) -> list[int]:
        """The ordinals of all rows that were made from others."""
        ids = {row[0] for row in self.database.execute("SELECT DISTINCT child FROM children")}
        found = [self.ordinal(one) for one in sorted(ids)]
        return [ordinal for ordinal in found if ordinal is not None]

    def noted(self, keys: Sequence[str]) -> dict[str, Any]:
        """What was noted under these keys."""
        select = "SELECT value FROM notes WHERE key = ?"
        rows = ((key, self.database.execute(select, (key,)).fetchone()) for key in keys)
        try:
            return {key: json.loads(row[0]) for key, row in rows if row}
        except (ValueError, TypeError):
            raise sqlite3.DatabaseError("a note that cannot be read") from None

    def note(self, values: Mapping[str, Any]) -> None:
        """Keep small facts that follow from a git blob or an md5, by keys that name it."""
        if values:
            rows = [(key, json.dumps(value, separators=(",", ":"))) for key, value in values.items()]
            with self.change():
                self.database.executemany("INSERT OR REPLACE INTO notes (key, value) VALUES (?, ?)", rows)
