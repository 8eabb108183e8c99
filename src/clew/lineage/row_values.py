"""What the parquet files of a commit say of a row beyond where it is: scores, thresholds, weights, times fed, texts.

    reader = Reader(archive, {"5c60…": 17})
    value("5c60…", [("ledger", "clean", "07aa…"), ("train", "", "2b77…")], reader)
        →  Values(decisions=(Decision("clean", "changed", "label_noise", 0.12, …),), weight=0.5, read=True)

The row sets know where a row stands in a file, so only its row group is decoded, and of that what comes before it. In
groups of a million rows that takes 20 ms a ledger: without `--all` (`archive.scores`) no other is begun once PATIENCE
rows were decoded, the newest first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from clew.errors import DataError, HistoryError
from clew.lineage import row_files
from clew.lineage.archive import Archive
from clew.lineage.data_chain import LEDGER, SIDES, TRAIN, Chain
from clew.lineage.row_files import Facts

PATIENCE = 1 << 22
"""Rows that are decoded for one answer."""
FACES = 20
"""Distinct chains in whose files the text of a row is looked for."""
FOUND = ("decision", "rule", "score", "threshold", "detail", "file", "record")
WEIGHT = ("weight",)
FACE = ("row_id", "source", "task", "label", "text", "parent_ids")
FED = ("times", "times_fed", "tokens", "tokens_fed", "tokens_masked", "truncated")

Wanted = tuple[str, str, str]
"""(what, stage, md5) of a file; what: ledger, train or fed."""


class Decision(NamedTuple):
    """What a stage decided; the rest as its ledger has it, null where it has none or was not read.

    file, record: of the occurrence that it decided about; a row may stand in the sources twice.
    """

    stage: str
    decision: str
    rule: str | None
    score: float | None = None
    threshold: float | None = None
    detail: str | None = None
    file: str | None = None
    record: int | None = None


class Values(NamedTuple):
    """What the parquet files of one commit say of a row; None for what was not read. lost: files that cannot be."""

    decisions: tuple[Decision, ...] | None = None
    weight: float | None = None
    fed: tuple[tuple[str, Facts | None], ...] = ()
    lost: tuple[str, ...] = ()
    read: bool = False


class Reader:
    """What parquet files say of some rows (id → ordinal); each file is read once for all of them."""

    def __init__(self, archive: Archive, ordinals: Mapping[str, int]) -> None:
        self.archive, self.ordinals = archive, ordinals
        self.found: dict[tuple[str, Sequence[str]], dict[str, list[Facts]] | None] = {}
        self.lost: dict[str, str] = {}
        self.patience = PATIENCE

    def of(self, row_id: str, md5: str | None, columns: Sequence[str], *, patient: bool = False) -> list[Facts] | None:
        """A row's occurrences in a file; None where it is not read (it takes too long, or `lost`: md5 → why).

        patient: whatever was read before.
        """
        if md5 is None:
            return []
        if (md5, columns) not in self.found:
            self.found[md5, columns] = self._read(md5, columns, patient or self.archive.scores)
        rows = self.found[md5, columns]
        return None if rows is None else rows.get(row_id, [])

    def _read(self, md5: str, columns: Sequence[str], patient: bool) -> dict[str, list[Facts]] | None:
        try:
            if self.archive.store.find(md5) is None:
                self.lost[md5] = "not in the cache"
                return None
            self._learn(md5)
            places = self._places(md5)
            if places is None:
                return self._looked_for(md5, columns)
            return self._at(md5, places, columns) if patient or self.patience > 0 else None
        except (DataError, HistoryError) as error:
            self.lost[md5] = error.what
        except OSError as error:
            self.lost[md5] = error.strerror or "it cannot be read"
        return None

    def _learn(self, md5: str) -> None:
        """Add a large file that is no set yet (data/rows.parquet) to the row sets: it is searched once only then."""
        path = self.archive.file(md5) if self.archive.sets.rows(md5) is None else None
        if path is not None and row_files.is_large(path):
            self.archive.tell("reading the ids of a large file, once …")
            row_files.add(self.archive.sets, md5, path)

    def _looked_for(self, md5: str, columns: Sequence[str]) -> dict[str, list[Facts]] | None:
        """What a file says of rows whose places in it are not known; of a large one only where all is asked."""
        if not self.archive.scores and (self.archive.sets.rows(md5) or 0) > row_files.LARGE:
            return None  # neither hashed nor opened: that would take longer
        path = self.archive.file(md5)
        return None if path is None else row_files.details(path, self.ordinals.keys(), columns)

    def _places(self, md5: str) -> dict[str, list[int]] | None:
        """The positions of the rows in a file; None where they are not known."""
        found = self.archive.sets.positions(md5, self.ordinals.values())
        if found is None:
            return None
        return {row_id: found[ordinal] for row_id, ordinal in self.ordinals.items() if ordinal in found}

    def _at(
        self, md5: str, places: Mapping[str, Sequence[int]], columns: Sequence[str]
    ) -> dict[str, list[Facts]] | None:
        path = self.archive.file(md5) if places else None
        if path is None:
            return None if places else {}
        found, decoded = row_files.details_at(path, places, columns)
        self.patience -= decoded
        return found


def wanted(chain: Chain, decided: Collection[str], *, trained: bool) -> list[Wanted]:
    """The files that say more of a row than the sets do. decided: stages whose ledgers have it."""
    found = [("ledger", stage, md5) for stage, md5 in chain.ledgers if stage in decided]
    if chain.train is not None and trained:
        found.append(("train", "", chain.train))
        found += [("fed", stage, md5) for stage, md5 in chain.fed]
    return found


def value(row_id: str, files: Sequence[Wanted], reader: Reader) -> Values:
    """What these files say of a row."""
    columns = {"ledger": FOUND, "train": WEIGHT, "fed": FED}
    rows = {one: reader.of(row_id, one[2], columns[one[0]]) for one in files}
    paths = {"ledger": f"{LEDGER}{{}}.parquet", "train": TRAIN, "fed": "data/fed/{}.parquet"}
    ledgers = [(stage, some) for (what, stage, _), some in rows.items() if what == "ledger"]
    decided = [_decision(stage, row) for stage, some in ledgers for row in some or ()]
    trained = next((some for (what, *_), some in rows.items() if what == "train"), None)
    return Values(
        decisions=None if any(some is None for _, some in ledgers) else tuple(decided),
        weight=trained[0].get("weight") if trained else None,
        fed=tuple((one[1], _first(some)) for one, some in rows.items() if one[0] == "fed"),
        lost=tuple(
            f"{paths[what].format(stage)}: {reader.lost[md5]}" for what, stage, md5 in files if md5 in reader.lost
        ),
        read=all(some is not None for some in rows.values()),
    )


def _decision(stage: str, row: Facts) -> Decision:
    found: Facts = {name: row.get(name) for name in FOUND}
    return Decision(stage, **found)


def _first(rows: list[Facts] | None) -> Facts | None:
    """What a file says of a row; empty where it says nothing, None where it is not read."""
    return rows if rows is None else (rows[0] if rows else {})


def face(row_id: str, reader: Reader, chains: Iterable[Chain]) -> Facts:
    """What the row says, from the first of the chains whose files can tell: those that are made last know children."""
    for chain in list(dict.fromkeys(chains))[:FACES]:
        sides = reader.archive.sides.get(chain.splits or "", {})
        made = [chain.train, *(md5 for _, md5 in chain.elsewhere), *(sides.get(side) for side in SIDES), chain.rows]
        for md5 in made:
            rows = reader.of(row_id, md5, FACE, patient=True)
            if rows:
                return rows[0]
    return {}
