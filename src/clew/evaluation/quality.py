"""Every metric of every variant, with its interval and its difference to the variant that it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clew.evaluation import intervals, metrics
from clew.evaluation.predictions import Row, by_task

TRAINED = ("base", "sft", "aligned")
"""Each is made from the one before it; every compressed variant is made from the last."""

Quality = dict[str, dict[str, dict[str, Any]]]


def parent(variant: str, variants: Sequence[str]) -> str | None:
    """The nearest of `variants` that `variant` was made from, or None.

    >>> parent("int8", ["base", "sft", "int8"])
    'sft'
    """
    line = TRAINED[: TRAINED.index(variant)] if variant in TRAINED else TRAINED
    return next((name for name in reversed(line) if name in variants), None)


def measure(predictions: Mapping[str, Sequence[Row]], *, resamples: int, confidence: float, seed: int) -> Quality:
    """variant → task → metric → {value, low, high, n, vs_parent}, from predictions in one order for all variants.

    A number that cannot be had is {"value": None, "reason": …, "n": …}.
    """
    tasks = {variant: by_task(rows) for variant, rows in predictions.items()}
    quality: Quality = {variant: {} for variant in predictions}
    for task in next(iter(tasks.values())):
        rows = {variant: tasks[variant][task] for variant in tasks}
        for variant, found in _measure_task(task, rows, resamples, confidence, seed).items():
            quality[variant][task] = found
    return quality


def _measure_task(
    task: str, rows: Mapping[str, Sequence[Row]], resamples: int, confidence: float, seed: int
) -> dict[str, dict[str, Any]]:
    """variant → metric → entry for one task."""
    table = metrics.table(task, next(iter(rows.values())))
    made = {(variant, name): maker(rows[variant]) for variant in rows for name, maker in table.items()}
    known = {key: metric for key, metric in made.items() if not isinstance(metric, str)}
    n = len(next(iter(rows.values())))
    values = {key: intervals.point(metric, n) for key, metric in known.items()}
    samples = intervals.bootstrap(known, n, resamples, intervals.generator(seed, task))
    signatures = metrics.signatures(table)

    entries: dict[str, dict[str, Any]] = {variant: {} for variant in rows}
    for variant, name in made:
        key, reason = (variant, name), made[variant, name]
        if isinstance(reason, str) or not math.isfinite(values[key]):
            why = reason if isinstance(reason, str) else "it is not a finite number"
            entries[variant][name] = {"value": None, "reason": why, "n": n}
            continue
        entry = intervals.entry(values[key], samples[key], confidence) | {"n": n}
        origin = (parent(variant, list(rows)) or "", name)
        if math.isfinite(values.get(origin, math.nan)):
            delta = intervals.difference(values[key], values[origin], samples[key], samples[origin], confidence)
            entry["vs_parent"] = {"parent": origin[0]} | delta
        if name in signatures:
            entry["signature"] = signatures[name]
        entries[variant][name] = entry
    return entries


def table(quality: Quality) -> Iterator[list[Any]]:
    """Lines of metrics/plots/quality.csv: variant, task, metric, value, low, high, n; only numbers that exist."""
    for variant, tasks in quality.items():
        for task, entries in tasks.items():
            for name, entry in entries.items():
                if entry["value"] is not None:
                    yield [variant, task, name, entry["value"], entry["low"], entry["high"], entry["n"]]


def confusion(predictions: Mapping[str, Sequence[Row]]) -> Iterator[list[Any]]:
    """Lines of metrics/plots/confusion.csv: variant, task, actual, predicted; one a row of the choice tasks."""
    for variant, rows in predictions.items():
        for row in rows:
            if row["label"] is not None:
                yield [variant, row["task"], row["label"], row["prediction"]]
