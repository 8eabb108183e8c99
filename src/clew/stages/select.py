"""select: data/splits/train.parquet → data/selected.parquet; `enabled: false` passes the rows on as they are.

The ledger says of each training row whether it stays; switched off, no row is decided about.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew import io, ledger, paths, rows, selection
from clew.errors import DataError
from clew.splitting import apportion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew import params
    from clew.params_select import Diversity, SelectScore

    Positions = NDArray[np.int64]

TRAIN = paths.SPLITS / "train.parquet"
READ = ("row_id", "source", "origin", "task", "text", "label", "parent_ids")
RULES = ("", "score", "diversity", "sample")
"""Why a row is dropped; its code is its place here."""
KEPT, SCORE, DIVERSITY, SAMPLE = range(4)


class Scores(NamedTuple):
    """(n,) told: what was measured, NaN where nothing. order: the rows' places from the best to the worst."""

    told: NDArray[np.float64]
    order: Positions


class Decided(NamedTuple):
    """(n,) the code in RULES of why each row is dropped, and the score that it would have needed (NaN: none)."""

    why: NDArray[np.int8]
    thresholds: NDArray[np.float64]


def run(select: params.Select, seed: int) -> dict[str, Any]:
    """Keep the best rows of each task, the shares of its labels (of judged answers, the wanted) as they are."""
    if not select.enabled:
        with io.replace_file(paths.SELECTED) as aside:
            shutil.copyfile(TRAIN, aside)
        ledger.write("select", [], rows_in=0, rows_out=0)
        io.write_json(paths.SELECT_METRICS, {"enabled": False})
        return {}
    before, _ = rows.classes(TRAIN, io.read_table(TRAIN, rows.SCHEMA, READ))
    scores = _scores(before, select.score, seed)
    decided = Decided(np.full(len(before), KEPT, dtype="i1"), np.full(len(before), np.nan))
    figures: dict[str, Any] = {"enabled": True, "tasks": {}}
    for task, keep in select.keep.items():
        of_task = np.asarray(pc.equal(before["task"], task))
        places = scores.order[of_task[scores.order]]
        figures["tasks"][task] = _select(before, places, keep, select, scores, decided, seed)
    kept = decided.why == KEPT
    _write(kept)
    ledger.write("select", _entries(before, select, scores, decided), rows_in=len(before), rows_out=int(kept.sum()))
    io.write_json(paths.SELECT_METRICS, figures | {"rows_in": len(before), "rows_out": int(kept.sum())})
    return {"rows": int(kept.sum())}


def _scores(before: pa.Table, score: SelectScore | None, seed: int) -> Scores:
    """The rows' scores and order; of equals, and without a score, a draw from id and seed decides, then the place."""
    ids = before["row_id"].to_pylist()
    draws = np.array([_draw(row_id, seed) for row_id in ids], dtype=np.uint64)
    told = np.full(len(before), np.nan) if score is None else _measured(before, score.rule)
    worth = told if score is None or score.best == "high" else -told
    return Scores(told, np.lexsort((draws, -np.where(np.isnan(worth), np.inf, worth))))


def _draw(row_id: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"select\0{seed}\0{row_id}".encode(), digest_size=8).digest())


def _measured(before: pa.Table, rule: str) -> NDArray[np.float64]:
    """(n,) a rule's scores; row i of data/scores.parquet is that of data/rows.parquet."""
    import pyarrow.parquet as pq

    names = pq.read_schema(paths.SCORES).names if paths.SCORES.exists() else []
    if rule not in names:
        raise DataError(
            f"the rule `{rule}` of clean measured nothing",
            where="select.score.rule",
            fix=f"Turn clean.{rule} on, or name one that measures: {', '.join(names) or 'there is none'}.",
        )
    score = pq.read_table(paths.SCORES, columns=[rule])[rule]
    first = io.read_table(paths.ROWS, rows.SCHEMA, ["row_id", "source", "origin"])
    place = pc.index_in(_occurrences(before), value_set=_occurrences(first))
    if place.null_count or len(score) != len(first):
        raise DataError("these are not of one run", where=f"{paths.SCORES}, {TRAIN}", fix="Run `dvc repro`.")
    return np.asarray(score.take(place).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _occurrences(some: pa.Table) -> pa.ChunkedArray:
    """(n,) what tells one row from every other, one of the same content included."""
    origin = some["origin"].combine_chunks()
    parts = [some["row_id"], some["source"], origin.field("file"), origin.field("record").cast(pa.string())]
    return pc.binary_join_element_wise(*(pc.fill_null(part, "") for part in parts), "\0").cast(pa.large_string())


def _select(
    before: pa.Table,
    places: Positions,
    keep: float,
    select: params.Select,
    scores: Scores,
    decided: Decided,
    seed: int,
) -> dict[str, Any]:
    """Decide about the rows of a task, given from the best to the worst; returns the task's figures."""
    if not len(places):
        return {"in": 0, "out": 0}
    wanted = min(keep if isinstance(keep, int) else max(math.floor(keep * len(places) + 0.5), 1), len(places))
    labels = pc.fill_null(before["label"].take(pa.array(places)), "").to_numpy()
    names, sizes = np.unique(labels.astype(str), return_counts=True)
    quotas = apportion(sizes, wanted)
    groups = [places[labels == name] for name in names]
    pools = [group[: _pool(len(group), int(k), select)] for group, k in zip(groups, quotas, strict=True)]
    chosen = [pool[:k] for pool, k in zip(pools, quotas, strict=True)]
    figures: dict[str, Any] = {"in": len(places), "out": int(wanted)}
    if select.diversity:
        chosen, figures["coverage"] = _diverse(before, pools, quotas, select.diversity, seed)
    for group, pool, some in zip(groups, pools, chosen, strict=True):
        decided.why[group] = SCORE if select.score else SAMPLE
        decided.thresholds[group[len(pool) :]] = scores.told[pool[-1]] if len(pool) else np.nan
        decided.why[pool] = DIVERSITY if select.diversity else decided.why[pool]
        decided.why[some] = KEPT
    if any(names):
        figures["labels"] = {
            name: {"in": int(size), "out": int(k)} for name, size, k in zip(names, sizes, quotas, strict=True)
        }
    if select.score:
        figures["score"] = {"in": _mean(scores.told[places]), "out": _mean(scores.told[np.concatenate(chosen)])}
    return figures


def _pool(n: int, k: int, select: params.Select) -> int:
    """How many of n rows, the best first, are candidates for k places."""
    if not select.diversity:
        return k
    return min(math.ceil(select.diversity.pool * k), n) if select.score else n


def _diverse(
    before: pa.Table, pools: list[Positions], quotas: NDArray[np.int64], diversity: Diversity, seed: int
) -> tuple[list[Positions], dict[str, float | None]]:
    """Of each label's candidates its quota, and how like the kept ones the candidates are on average."""
    from clew.cleaning.features import embed

    texts = pc.fill_null(before["text"].take(pa.array(np.concatenate(pools))), "").to_pylist()
    vectors = np.split(embed(texts, diversity.features, seed), np.cumsum([len(pool) for pool in pools])[:-1])
    found = [selection.diverse(some, int(k), diversity) for some, k in zip(vectors, quotas, strict=True)]
    n = sum(one.n for one in found)
    coverage = {
        "kept": sum(one.like for one in found) / n if n else None,
        "best_by_score": sum(one.like_first for one in found) / n if n else None,
    }
    return [pool[one.positions] for pool, one in zip(pools, found, strict=True)], coverage


def _mean(scores: NDArray[np.float64]) -> float | None:
    measured = scores[~np.isnan(scores)]
    return float(measured.mean()) if len(measured) else None


def _write(kept: NDArray[np.bool_]) -> None:
    start = 0
    with io.parquet_writer(paths.SELECTED, rows.SCHEMA) as write:
        for batch in io.open_parquet(TRAIN, rows.SCHEMA).iter_batches(io.ROW_GROUP):
            write(pa.table(batch.filter(pa.array(kept[start : start + len(batch)]))))
            start += len(batch)


def _entries(before: pa.Table, select: params.Select, scores: Scores, decided: Decided) -> pa.Table:
    """The ledger: one entry a row, with the score by which it stays or goes."""
    origin = before["origin"].combine_chunks()
    dropped = decided.why != KEPT
    columns = {
        **{name: before[name] for name in ("row_id", "source", "parent_ids")},
        "file": origin.field("file"),
        "record": origin.field("record"),
        "decision": np.where(dropped, "dropped", "kept").tolist(),
        "rule": [RULES[code] or None for code in decided.why.tolist()],
        "score": pa.array(np.round(scores.told, ledger.DIGITS), from_pandas=True),
        "threshold": pa.array(np.round(decided.thresholds, ledger.DIGITS), from_pandas=True),
        "detail": [select.score.rule if select.score and gone else None for gone in dropped.tolist()],
    }
    return ledger.table("select", columns)
