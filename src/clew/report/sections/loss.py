"""loss: how the loss fell while training, from metrics/plots/{sft,align}_loss.csv (step, split, loss)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clew.report import charts, words
from clew.report.experiment import Experiment

TITLES = {"sft": "Fine-tuning", "align": "Alignment"}
NAMES = {"train": "training rows", "valid": "validation rows"}


def build(experiment: Experiment) -> Mapping[str, Any]:
    """A chart for each training stage that left a curve; a sentence for each that did not."""
    curves, without = [], []
    for stage, table in experiment.losses.items():
        found = curve(stage, table)
        if found:
            curves.append(found | {"facts": facts(stage, experiment.training.get(stage, {}))})
        elif not experiment.params[stage].get("enabled", True):
            without.append(f"{TITLES[stage]} was switched off, so it has no curve.")
        else:
            without.append(f"{TITLES[stage]} left no loss to draw.")
    return {"curves": curves, "without": without}


def curve(stage: str, table: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """The chart of a table of losses, a line for each split; None when no loss is finite."""
    splits = list(dict.fromkeys(row["split"] for row in table))
    series = {split: found for split in splits if (found := points(table, split))}
    if not series:
        return None
    steps = [x for found in series.values() for x, _ in found]
    x = charts.Scale(0.0, max(*steps, 1.0))
    y = charts.around([y for found in series.values() for _, y in found])
    lines = [line(number, split, found, x, y) for number, (split, found) in enumerate(series.items(), 1)]
    return {
        "title": TITLES[stage],
        "x": x,
        "y": y,
        "x_ticks": [(tick, words.number(tick, "count")) for tick in x.ticks(6)],
        "y_ticks": [(tick, words.number(tick)) for tick in y.ticks(5)],
        "x_label": "Across: optimiser steps. Up: loss; lower is better.",
        "lines": lines,
        "label": f"{TITLES[stage]}: " + "; ".join(f"{one['name']} {one['ends']}" for one in lines),
    }


def points(table: Sequence[Mapping[str, str]], split: str) -> list[tuple[float, float]]:
    """(step, loss) where the loss was measured and is finite."""
    found = [(float(row["step"]), float(row["loss"])) for row in table if row["split"] == split and row["loss"]]
    return [(x, y) for x, y in found if math.isfinite(y)]


def line(
    number: int, split: str, found: Sequence[tuple[float, float]], x: charts.Scale, y: charts.Scale
) -> dict[str, Any]:
    """One line; few points are shown as dots, too."""
    dots = [(x.place(px), round(100 - y.place(py), 2)) for px, py in found] if len(found) <= 20 else []
    return {
        "number": number,
        "name": NAMES.get(split, words.plain_name(split)),
        "ends": f"from {words.number(found[0][1])} to {words.number(found[-1][1])}",
        "points": charts.line(found, x, y),
        "dots": dots,
    }


def facts(stage: str, metrics: Mapping[str, Any]) -> list[str]:
    """What metrics/{sft,align}.json says about the training, in sentences; those that it does not say are left out."""
    said = []
    if metrics.get("steps"):
        said.append(
            words.plural(metrics["steps"], "step") + (", stopped early" if metrics.get("stopped_early") else "")
        )
    if stage == "sft" and "rows" in metrics:
        said.append(f"{words.plural(metrics['rows']['fed'], 'row')} fed")
    if "tokens_trained" in metrics:
        fed = words.number(metrics["tokens_fed"], "count")
        said.append(f"{fed} tokens read, {words.number(metrics['tokens_trained'], 'count')} of them learned")
    if stage == "align" and "pairs" in metrics:
        tasks = [f"{words.plain_name(name)} {n}" for name, n in metrics["pairs"].items() if name not in ("all", "fed")]
        said.append(f"{words.plural(metrics['pairs']['all'], 'preference pair')} ({', '.join(tasks)})")
    if "parameters" in metrics:
        share = words.number(metrics["parameters"]["share"], "share")
        said.append(f"{share} of {words.number(metrics['parameters']['all'], 'count')} parameters trained")
    best = metrics.get("valid_loss") or {}
    if best.get("best") is not None:
        at = f"{words.number(best['best'])} at step {best['best_step']}"
        said.append(f"validation loss {words.number(best['before'])} before, best {at}, which was kept")
    if "reward_accuracy" in metrics:
        said.append(f"right answer preferred in {words.number(metrics['reward_accuracy'], 'share')} of the last pairs")
    cut = metrics.get("rows_cut", 0)
    cut = sum(cut.values()) if isinstance(cut, Mapping) else cut
    return said + ([f"{words.plural(cut, 'row')} cut to max_length"] if cut else [])
