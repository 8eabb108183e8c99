"""One row's story in the data that lies here: what every stage decided, every finding, every score and its margin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clew import io, ledger, paths, rows
from clew.errors import DataError
from clew.lineage import thresholds

AT_LEAST = 8
"""Digits of a row id that name a row."""


class Measured(NamedTuple):
    """What a rule measured of the row. name: `rule.param`. margin: positive where the row is found."""

    name: str
    score: float
    threshold: float
    margin: float


class Explained(NamedTuple):
    """row: as prepare or augment made it. entries: (stage, ledger entry), in the order of the pipeline. measured: by
    `clean`."""

    row: Mapping[str, Any]
    entries: tuple[tuple[str, Mapping[str, Any]], ...]
    measured: tuple[Measured, ...]


def explain(beginning: str) -> tuple[Explained, ...]:
    """The rows of an id, or of its first 8 or more digits: one an occurrence. Raises DataError where there is none."""
    wanted = beginning.strip().lower()
    if len(wanted) < AT_LEAST or set(wanted) - set("0123456789abcdef"):
        raise DataError("not a row id", where=beginning[:80], fix=f"Give its first {AT_LEAST} or more hex digits.")
    path, positions = _where(wanted)
    if not positions:
        raise DataError(
            f"no row of {paths.ROWS} begins so",
            where=wanted,
            fix="`clew rows trace` looks in all commits. Records that fit no mapping have no row.",
        )
    some = io.read_table(path, rows.SCHEMA).take(positions).to_pylist(maps_as_pydicts="strict")
    if len({row["row_id"] for row in some}) > 1:
        few = ", ".join(sorted({row["row_id"][: len(wanted) + 4] for row in some})[:5])
        raise DataError("several rows begin so", where=wanted, fix=f"Name more digits: {few} …")
    ledgers = [(path.stem, _entries(path, some[0]["row_id"])) for path in _in_order()]
    return tuple(
        Explained(
            row,
            tuple((stage, entry) for stage, entries in ledgers for entry in entries if _is_of(entry, row)),
            _measured(position) if path == paths.ROWS else (),
        )
        for position, row in zip(positions, some, strict=True)
    )


def _where(wanted: str) -> tuple[Path, list[int]]:
    """The file of rows that an id begins so in, and where: the records' rows, else those that were made of them."""
    import pyarrow.compute as pc

    for path in (paths.ROWS, paths.AUGMENTED):
        if path == paths.ROWS or path.exists():
            ids = io.read_table(path, rows.SCHEMA, ["row_id"])["row_id"]
            if positions := pc.indices_nonzero(pc.starts_with(ids, wanted)).to_pylist():
                return path, positions
    return paths.ROWS, []


def _in_order() -> list[Path]:
    """The ledgers that lie here, in the order in which their stages run."""
    order = ("prepare", "clean", "split", "select", "augment", "balance", "sft", "align")
    there = [paths.ledger(stage) for stage in order if paths.ledger(stage).exists()]
    return there + sorted(set(paths.LEDGER.glob("*.parquet")) - set(there))


def _entries(path: Path, row_id: str) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    table = io.read_table(path, ledger.SCHEMA)
    return list(table.filter(pc.equal(table["row_id"], row_id)).to_pylist())


def _is_of(entry: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether an entry is about this occurrence of the row."""
    origin = row["origin"]
    return bool((entry["source"], entry["file"], entry["record"]) == (row["source"], origin["file"], origin["record"]))


def _measured(position: int) -> tuple[Measured, ...]:
    """What the rules of `clean` measured of the row at a position of data/rows.parquet."""
    import math

    import pyarrow.parquet as pq

    if not paths.SCORES.exists():
        return ()
    section = thresholds.of_last_run()
    scores = pq.read_table(paths.SCORES).slice(position, 1).to_pylist()
    found = []
    for name, side in thresholds.THRESHOLDS.items():
        rule, _, param = name.partition(".")
        score = (scores[0] if scores else {}).get(rule)
        if score is not None and not math.isnan(score) and section.get(rule) is not None:
            threshold = float(section[rule][param])
            found.append(Measured(name, score, threshold, thresholds.margin(score, side, threshold)))
    return tuple(found)
