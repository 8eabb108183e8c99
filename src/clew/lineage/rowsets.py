"""Exact sets of rows over all history: which files hold a row, and under which decision.

    sets.add("07aa…", ids, [Group("dropped", "length", positions), …])      one parquet file, known by its md5
    sets.holding([sets.ordinal("5f0c…")])  →  [{"07aa…": [("dropped", "length")], "2b77…": [("in", None)]}]
    sets.positions("07aa…", [0, 3])        →  {0: [0], 3: [4]}

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

from clew.lineage import bitmaps, row_ids, row_order, row_origins
from clew.lineage.row_origins import Origin, Origins

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pyroaring import BitMap

    from clew.history.git import Repository

    Positions = npt.NDArray[np.int64]

T = TypeVar("T")
VERSION = 3
"""Of the tables below: raise it when what they hold changes meaning."""
TABLES = (
    """
CREATE TABLE buckets (                -- of row ids by their first 10 bits, in the order they came
  bucket INTEGER PRIMARY KEY, ids BLOB NOT NULL, ordinals BLOB NOT NULL);
CREATE TABLE files (                  -- pieces: the order of its rows, an entry of row_order for each piece
  md5 TEXT PRIMARY KEY, rows INTEGER NOT NULL, pieces BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sets (
  number INTEGER PRIMARY KEY, md5 TEXT NOT NULL, decision TEXT NOT NULL, rule TEXT,
  size INTEGER NOT NULL,              -- rows
  base INTEGER                        -- a set that the pieces are the difference to, or null
);
CREATE INDEX whole_sets ON sets (size) WHERE base IS NULL;
CREATE INDEX sets_of_files ON sets (md5);
CREATE TABLE pieces (                 -- place: ordinal >> 16 and the set's number
  place INTEGER PRIMARY KEY, bits BLOB NOT NULL);
CREATE TABLE children (parent INTEGER NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)) WITHOUT ROWID;
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
    + row_order.TABLES
    + row_origins.TABLES
)
WAIT = 60  # seconds, for another process that adds to it
HIGH = bitmaps.HIGH
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


Held = dict[str, list[tuple[str, str | None]]]
"""md5 → (decision, rule) of a row in that file."""


def ask(repo: Repository, question: Callable[[RowSets], T]) -> T:
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


def place(repo: Repository) -> Path:
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
                row_origins.add(self.database, before, ordinals, found)
            for group in groups:
                self._add_set(md5, group.decision, group.rule, ordinals[group.positions])
            for position, parents in children:
                known = self._ids.ordinals(self.database, b"".join(map(bytes.fromhex, parents)))
                child = ids[position * row_ids.WIDTH :][: row_ids.WIDTH].hex()
                insert = "INSERT OR IGNORE INTO children (parent, child) VALUES (?, ?)"
                self.database.executemany(insert, [(int(parent), child) for parent in known])
            insert = "INSERT INTO files (md5, rows, pieces) VALUES (?, ?, ?)"
            self.database.execute(insert, (md5, len(ordinals), self._order(ordinals, groups)))

    def _order(self, ordinals: Positions, groups: Sequence[Group]) -> bytes:
        """The order of the rows that are in any group: only those are found again."""
        import numpy as np

        there = np.zeros(len(ordinals), dtype=np.bool_)
        for group in groups:
            there[group.positions] = True
        return row_order.written(self.database, ordinals[there], np.flatnonzero(there))

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

    def origin(self, ordinal: int) -> Origin | None:
        """Where a row was first seen; None where no file told."""
        return row_origins.of(self.database, ordinal)

    def _like(self, size: int) -> list[int]:
        """The newest sets that are kept whole and of about this size; none for a small set, which needs no base."""
        if size < SMALL:
            return []
        query = "SELECT number FROM sets WHERE base IS NULL AND size BETWEEN ? AND ? ORDER BY number DESC LIMIT ?"
        return [row[0] for row in self.database.execute(query, (size // 2, 2 * size, CANDIDATES))]

    def _whole(self, number: int) -> dict[int, BitMap]:
        highest = self.database.execute("SELECT max(place) FROM pieces").fetchone()[0] or 0
        pieces = ((high, self._piece(high, number)) for high in range((highest >> 32) + 1))
        return {high: piece for high, piece in pieces if piece}

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

    def positions(self, md5: str, ordinals: Iterable[int]) -> dict[int, list[int]] | None:
        """Where rows stand in a file, from 0; without those that it lacks; None where the order of some was not kept.

        None, too, for a file that was not added.
        """
        row = self.database.execute("SELECT pieces FROM files WHERE md5 = ?", (md5,)).fetchone()
        if row is None:
            return None
        by_high: dict[int, list[int]] = {}
        for ordinal in ordinals:
            by_high.setdefault(ordinal >> HIGH, []).append(ordinal & 0xFFFF)
        found: dict[int, list[int]] = {}
        for high, lows in by_high.items():
            some = row_order.positions(self.database, row[0], high, self._members(md5, high), lows)
            if some is None:
                return None
            found |= {high << HIGH | low: positions for low, positions in some.items()}
        return found

    def _members(self, md5: str, high: int) -> BitMap:
        """The rows of a file in a piece, under whatever decision."""
        from pyroaring import BitMap

        found = BitMap()
        for number, base in self.database.execute("SELECT number, base FROM sets WHERE md5 = ?", (md5,)).fetchall():
            found |= self._piece(high, number) ^ self._piece(high, base)
        return found

    def _piece(self, high: int, number: int | None) -> BitMap:
        from pyroaring import BitMap

        query = "SELECT bits FROM pieces WHERE place = ?"
        row = self.database.execute(query, (high << 32 | number,)).fetchone() if number is not None else None
        return bitmaps.read(row[0]) if row else BitMap()

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
