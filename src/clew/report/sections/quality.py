"""quality: for each task a small picture of every variant with its interval, then every figure in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from clew.report import charts, verdicts, words
from clew.report.experiment import Experiment


def build(experiment: Experiment) -> Mapping[str, Any]:
    """Pictures by task (primary metric), sizes, and the whole table."""
    return {
        "tasks": [of_task(experiment, task) for task in experiment.tasks],
        "sizes": [(variant, size(experiment, variant)) for variant in experiment.variants],
        "table": [table(experiment, task) for task in experiment.tasks],
        "variants": experiment.variants,
        "confidence": words.number(experiment.params["evaluate"]["confidence"] * 100, "count"),
        "resamples": words.number(experiment.params["evaluate"]["resamples"], "count"),
        "signatures": signatures(experiment),
    }


def of_task(experiment: Experiment, task: str) -> dict[str, Any]:
    """The primary metric of every variant on one axis, with the score of always giving the commonest answer."""
    name = verdicts.primary(experiment, task)
    metric = words.metric(name) if name else words.Metric("no metric", "plain", "")
    entries = {variant: verdicts.of_task(experiment, variant, task)[1] for variant in experiment.variants}
    commonest = majority(experiment, task) if name == "accuracy" else None
    known = [e[key] for e in entries.values() for key in ("value", "low", "high") if e.get(key) is not None]
    scale = axis(metric, [*known, *([] if commonest is None else [commonest[1]])])
    counts = [e["n"] for e in entries.values() if e.get("n")]
    return {
        "task": words.plain_name(task),
        "metric": metric,
        "n": max(counts, default=0),
        "scale": scale,
        "ticks": [(tick, words.number(tick, metric.kind).replace(".0", "")) for tick in scale.ticks(4)],
        "majority": commonest,
        "majority_shown": words.number(commonest[1], "share") if commonest else "",
        "rows": [row(experiment, variant, task, metric) for variant in experiment.variants],
    }


def axis(metric: words.Metric, known: Sequence[float]) -> charts.Scale:
    """An axis that holds what is known of a metric; of shares that are all nothing, from 0 to 1."""
    return charts.around(known, include=[1] if metric.kind == "share" and not any(known) else [])


def row(experiment: Experiment, variant: str, task: str, metric: words.Metric) -> dict[str, Any]:
    """One variant's line: its figure, interval and verdict."""
    _, entry, verdict = verdicts.of_task(experiment, variant, task)
    return {
        "variant": variant,
        "entry": entry,
        "shown": words.number(entry.get("value"), metric.kind),
        "interval": words.interval(entry, metric.kind),
        "verdict": verdict,
        "difference": words.difference(verdict.difference, metric.kind),
        "difference_interval": words.difference_interval({"low": verdict.low, "high": verdict.high}, metric.kind),
        "p": words.p_value(verdict.p),
        "reason": entry.get("reason", "" if entry else "not measured"),
    }


def majority(experiment: Experiment, task: str) -> tuple[str, float] | None:
    """The commonest right answer among the test rows, and the accuracy of always giving it."""
    rows = next(iter(experiment.predictions.values()))
    count = Counter(row["label"] for row in rows if row["task"] == task and row["label"] is not None)
    if not count:
        return None
    label, n = min(count.items(), key=lambda item: (-item[1], item[0]))
    return label, n / count.total()


def size(experiment: Experiment, variant: str) -> str:
    """The variant's size on disk."""
    return words.number(verdicts.entry(experiment, variant, verdicts.MODEL, "size_bytes").get("value"), "bytes")


def table(experiment: Experiment, task: str) -> dict[str, Any]:
    """Every metric of a task by variant."""
    names = {name for variant in experiment.variants for name in experiment.quality.get(variant, {}).get(task, {})}
    order = {name: position for position, name in enumerate(words.METRICS)}
    lines = []
    for name in sorted(names, key=lambda name: (order.get(name, len(order)), name)):
        metric = words.metric(name)
        cells = []
        for variant in experiment.variants:
            entry = verdicts.entry(experiment, variant, task, name)
            cells.append(
                {
                    "shown": words.number(entry.get("value"), metric.kind),
                    "interval": words.interval(entry, metric.kind),
                    "reason": entry.get("reason", ""),
                    "verdict": verdicts.verdict(entry, lower_is_better=metric.lower_is_better),
                }
            )
        lines.append({"metric": metric, "cells": cells})
    return {"task": words.plain_name(task), "lines": lines}


def signatures(experiment: Experiment) -> list[tuple[str, str]]:
    """(metrics, signature): what another must use to get the same numbers. Of entities, those of a type go with all."""
    found: dict[str, set[str]] = {}
    for tasks in experiment.quality.values():
        for name, entry in (pair for entries in tasks.values() for pair in entries.items()):
            if isinstance(entry, dict) and "signature" in entry and name in words.METRICS:
                found.setdefault(entry["signature"], set()).add(words.metric(name).label)
    return sorted((", ".join(sorted(names)), signature) for signature, names in found.items())
