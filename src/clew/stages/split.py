"""split: data/clean.parquet → data/splits/{train,valid,test}.parquet; no question, no cluster is on two sides."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew import io, leakage, ledger, paths, rows, splitting
from clew.errors import DataError
from clew.splitting import SIDES, TEST, TRAIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew import params

READ = ("row_id", "source", "origin", "task", "text", "label", "cluster", "parent_ids")
RULES = ("", "limit", "leak", "contamination", "unwanted")
"""Why a row is dropped; its code is its place here."""
KEPT, LIMIT, LEAK, CONTAMINATION, UNWANTED = range(5)
ENOUGH = 100
"""Rows of a task and label below which its shares are chance, and are not told."""
EXAMPLES, SHOWN = 3, 60
LOOKS = 5
"""Of what stops the stage: how many, and how much of a text."""


class Dropped(NamedTuple):
    """(n,) the code in RULES of why each row is dropped, and what was measured of it (NaN: nothing)."""

    why: NDArray[np.int8]
    scores: NDArray[np.float64]


def run(split: params.Split, seed: int) -> dict[str, Any]:
    """Give each row its side by its group, keep each task within its limits, and look for what train knows of test.

    An answer that was not wanted is nothing to test a model by: such rows are dropped from the test side.
    """
    drawn = _drawn(seed)
    before = io.read_table(paths.CLEAN, rows.SCHEMA, READ)
    before = before.set_column(READ.index("text"), "text", before["text"].cast(pa.large_string()))
    before, unwanted = rows.classes(paths.CLEAN, before)
    group = splitting.linked(drawn.group, before["cluster"])
    sides = splitting.sides(group, split)
    useless = unwanted & (sides == TEST)
    stays = splitting.within_limits(before, np.where(useless, len(SIDES), sides).astype("i1"), drawn.own, split.limits)
    why = np.select([useless, ~stays], [UNWANTED, LIMIT], KEPT).astype("i1")
    dropped = Dropped(why, np.full(len(before), np.nan))
    _check_sides(before, drawn.group, sides, dropped)
    near = _drop_leaks(before, sides, dropped, split.leakage, seed)
    contaminated = _drop_contamination(before, sides, dropped, split.contamination)
    _check_sides(before, drawn.group, sides, dropped)
    kept = dropped.why == KEPT
    _write(sides, kept)
    ledger.write("split", _entries(before, sides, dropped, split), rows_in=len(before), rows_out=int(kept.sum()))
    figures = {
        "by_task": _by_task(before, sides, kept),
        "deviation": _deviation(before, sides, split),
        "leakage": {"exact": 0, **near},
        "contamination": contaminated,
        "dropped": {
            rule: int((dropped.why == code).sum())
            for code, rule in enumerate(RULES)
            if rule and (code != UNWANTED or unwanted.any())
        },
    }
    io.write_json(paths.SPLIT_METRICS, figures)
    return {side: int((kept & (sides == code)).sum()) for code, side in enumerate(SIDES)}


def _drawn(seed: int) -> splitting.Drawn:
    parts = [
        splitting.draws(batch, seed)
        for batch in io.open_parquet(paths.CLEAN, rows.SCHEMA).iter_batches(io.ROW_GROUP, columns=["text", "options"])
    ]
    nothing = np.empty(0, dtype=np.uint64)
    return splitting.Drawn(*(np.concatenate([nothing, *some]) for some in zip(*parts, strict=True)))


def _check_sides(before: pa.Table, questions: NDArray[np.uint64], sides: splitting.Codes, dropped: Dropped) -> None:
    """Every side has rows, and nothing that belongs together stands on two."""
    kept = dropped.why == KEPT
    for code, side in enumerate(SIDES):
        if not (kept & (sides == code)).any():
            raise DataError(
                f"the {side} split is empty ({len(before)} clean rows)",
                where="split",
                fix="Raise split.valid_share, split.test_share or split.limits, or bring more rows.",
            )
    clusters = pc.dictionary_encode(before["cluster"]).combine_chunks().indices.fill_null(-1).to_numpy()
    for what, groups, of in (("texts", questions, kept), ("clusters", clusters, kept & (clusters >= 0))):
        if found := len(splitting.leaks(groups[of], sides[of])):
            raise DataError(f"{found} {what} stand on two sides", where="split", fix="This is a bug: report it.")


def _drop_leaks(
    before: pa.Table, sides: splitting.Codes, dropped: Dropped, rule: params.Leakage | None, seed: int
) -> dict[str, int]:
    """Note in `dropped` what is to go; returns how many rows of valid and test were found to have their like in train
    even so. Not all pairs are measured among thousands of likes: after a drop it looks again, LOOKS times in all.
    """
    if rule is None:
        return {}
    held = (dropped.why == KEPT) & (sides != TRAIN)
    for look in range(LOOKS):
        train = (dropped.why == KEPT) & (sides == TRAIN)
        found = leakage.near(before["text"], train, held, rule, seed)
        leaky = len(np.unique(found.held))
        if rule.action == "fail" or not leaky or look == LOOKS - 1:
            break
        dropped.why[found.train] = LEAK
        np.fmax.at(dropped.scores, found.train, found.jaccard)
    if rule.action == "fail" and leaky > rule.max_share * held.sum():
        pairs = zip(found.held[:EXAMPLES], found.train[:EXAMPLES], found.jaccard[:EXAMPLES], strict=True)
        raise DataError(
            f"{leaky:,} of {held.sum():,} rows of valid and test stand nearly the same in train: "
            + "; ".join(f"{_quoted(before, a)} like {_quoted(before, b)} ({jaccard:.2f})" for a, b, jaccard in pairs),
            where="split.leakage",
            fix="Turn clean.near_duplicates on, whose clusters stay on one side, or take `action: drop`.",
        )
    return {"near": leaky}


def _drop_contamination(
    before: pa.Table, sides: splitting.Codes, dropped: Dropped, rule: params.Contamination | None
) -> dict[str, int]:
    """Note in `dropped` what is to go; returns how many rows of the test side, and of each benchmark, train knows."""
    if rule is None:
        return {}
    kept = dropped.why == KEPT
    train = kept & (sides == TRAIN)
    looked_at = {"test": kept & (sides == TEST)}
    looked_at |= {task: np.asarray(pc.equal(before["task"], task)) for task in rule.benchmarks}
    held = np.logical_or.reduce(list(looked_at.values()))
    found, shares = leakage.contaminated(before["text"], train, held, rule)
    known = np.zeros(len(before), dtype=bool)
    known[found] = True
    if rule.action == "drop" and len(found):
        shared = leakage.sharing(before["text"], train, known, rule.ngram)
        gone = np.flatnonzero(train)[shared > 0]
        dropped.why[gone], dropped.scores[gone] = CONTAMINATION, shared[shared > 0]
        return dict.fromkeys(looked_at, 0)
    counts = {name: int((known & rows).sum()) for name, rows in looked_at.items()}
    for name, looked in looked_at.items():
        if counts[name] > rule.max_share * looked.sum():
            some = [(a, share) for a, share in zip(found, shares, strict=True) if looked[a]][:EXAMPLES]
            raise DataError(
                f"{counts[name]:,} of {looked.sum():,} rows of {name} are contaminated: "
                + "; ".join(f"{_quoted(before, a)} ({share:.0%} of its {rule.ngram}-grams)" for a, share in some)
                + " stand in train",
                where="split.contamination",
                fix="Take the source that holds them out of train (split.limits), or take `action: drop`.",
            )
    return counts


def _quoted(before: pa.Table, position: int) -> str:
    text = " ".join((before["text"][position].as_py() or "").split())
    return f"{before['row_id'][position].as_py()[:12]} `{text[:SHOWN]}{'…' if len(text) > SHOWN else ''}`"


def _write(sides: splitting.Codes, kept: NDArray[np.bool_]) -> None:
    """The rows of each side, batch by batch."""
    with io.replace_folder(paths.SPLITS) as folder, ExitStack() as stack:
        write = [stack.enter_context(io.parquet_writer(folder / f"{side}.parquet", rows.SCHEMA)) for side in SIDES]
        start = 0
        for batch in io.open_parquet(paths.CLEAN, rows.SCHEMA).iter_batches(io.ROW_GROUP):
            here = slice(start, start + len(batch))
            for code in range(len(SIDES)):
                write[code](pa.table(batch.filter(pa.array(kept[here] & (sides[here] == code)))))
            start += len(batch)


def _entries(before: pa.Table, sides: splitting.Codes, dropped: Dropped, split: params.Split) -> pa.Table:
    """The ledger: one entry a row; `detail` is its side."""
    n, origin = len(before), before["origin"].combine_chunks()
    thresholds = {LEAK: split.leakage and split.leakage.near}
    given = {
        **{name: before[name] for name in ("row_id", "source", "parent_ids")},
        "file": origin.field("file"),
        "record": origin.field("record"),
        "stage": pa.repeat("split", n),
        "decision": _named(("kept", *["dropped"] * (len(RULES) - 1)), dropped.why),
        "rule": _named([rule or None for rule in RULES], dropped.why),
        "score": pa.array(np.round(dropped.scores, ledger.DIGITS), from_pandas=True),
        "threshold": pa.array([thresholds.get(code) for code in range(len(RULES))], pa.float64()).take(
            pa.array(dropped.why)
        ),
        "detail": _named(SIDES, sides),
    }
    arrays = [given[field.name] if field.name in given else pa.nulls(n, field.type) for field in ledger.SCHEMA]
    return pa.table(arrays, schema=ledger.SCHEMA)


def _named(names: Sequence[str | None], codes: NDArray[np.int8]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def _by_task(before: pa.Table, sides: splitting.Codes, kept: NDArray[np.bool_]) -> dict[str, Any]:
    """Rows by task and side, and by task, label and side."""
    where = _named((*SIDES, "left_out"), np.where(kept, sides, len(SIDES)).astype("i1"))
    found: dict[str, Any] = {}
    for (task, label, side), n in _counts(before, where):
        of_task = found.setdefault(task, dict.fromkeys((*SIDES, "left_out"), 0) | {"labels": {}})
        of_task[side] += n
        if label is not None:
            of_task["labels"].setdefault(label, dict.fromkeys((*SIDES, "left_out"), 0))[side] += n
    return found


def _deviation(before: pa.Table, sides: splitting.Codes, split: params.Split) -> dict[str, Any]:
    """Where, before the limits, a side's share of a task and label is farthest from the declared one."""
    wanted = {"valid": split.valid_share, "test": split.test_share}
    wanted["train"] = 1 - sum(wanted.values())
    counts: dict[tuple[str, str | None], dict[str, int]] = {}
    for (task, label, side), n in _counts(before, _named(SIDES, sides)):
        counts.setdefault((task, label), dict.fromkeys(SIDES, 0))[side] = n
    found = [
        {"deviation": of[side] / sum(of.values()) - wanted[side], "side": side, "task": task, "label": label, "rows": n}
        for (task, label), of in counts.items()
        if (n := sum(of.values())) >= ENOUGH
        for side in SIDES
    ]
    return max(found, key=lambda one: abs(one["deviation"]), default={})


def _counts(before: pa.Table, where: pa.Array) -> list[tuple[tuple[str, str | None, str], int]]:
    table = pa.table({"task": before["task"], "label": before["label"], "side": where})
    counted = table.group_by(["task", "label", "side"]).aggregate([([], "count_all")]).to_pylist()
    found = [((row["task"], row["label"], row["side"]), row["count_all"]) for row in counted]
    return sorted(found, key=lambda one: (one[0][0], one[0][1] or "", one[0][2]))
