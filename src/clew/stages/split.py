"""split: data/clean.parquet → data/splits/{train,valid,test}.parquet; no text and no question stands on two sides."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from clew import io, ledger, paths, rows, splitting
from clew.errors import DataError

if TYPE_CHECKING:
    from clew import params


def run(split: params.Split, seed: int) -> dict[str, Any]:
    """Give each row its side by its text or question, keep each task within its limits, and check for leaks."""
    before = rows.read(paths.CLEAN)
    sides = [splitting.side(splitting.group(row), split, seed) for row in before]
    stays = splitting.within_limits(before, sides, split, seed)
    kept = [(row, side) for row, side, stay in zip(before, sides, stays, strict=True) if stay]
    counts = Counter(side for _, side in kept)
    for side in splitting.SIDES:
        if not counts[side]:
            raise DataError(
                f"the {side} split is empty ({len(before)} clean rows)",
                where="split",
                fix="Raise split.valid_share, split.test_share or split.limits, or bring more rows.",
            )
    leaks = splitting.leaks([row for row, _ in kept], [side for _, side in kept])
    if leaks:
        raise DataError(f"{len(leaks)} texts stand on two sides", where="split", fix="This is a bug: report it.")
    with io.replace_folder(paths.SPLITS) as folder:
        for name in splitting.SIDES:
            rows.write(folder / f"{name}.parquet", [row for row, side in kept if side == name])
    entries = [
        ledger.entry(row, "split", "kept" if stay else "dropped", None if stay else "limit", detail=side)
        for row, side, stay in zip(before, sides, stays, strict=True)
    ]
    ledger.write("split", entries, rows_in=len(before), rows_out=len(kept))
    io.write_json(paths.SPLIT_METRICS, _figures(before, sides, stays) | {"leakage": {"exact": len(leaks)}})
    return {side: counts[side] for side in splitting.SIDES}


def _figures(before: list[dict[str, Any]], sides: list[splitting.Side], stays: list[bool]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for row, side, stay in zip(before, sides, stays, strict=True):
        of_task = figures.setdefault(row["task"], dict.fromkeys((*splitting.SIDES, "left_out"), 0))
        of_task[side if stay else "left_out"] += 1
    return figures
