"""reward: the reward model on preference pairs that it had not seen, and whether its probabilities can be believed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

from clew.report import charts, measured, words
from clew.report.experiment import Experiment

ACCURACY = words.Metric("accuracy", "share", "share of pairs whose chosen answer gets the higher reward")
MARGIN = words.Metric(
    "margin", "plain", "how much more reward the chosen answer gets; 1 more is a probability of 73\u202f%"
)
BRIER = words.Metric(
    "Brier score", "plain", "squared error of the probability that the chosen answer is given", lower_is_better=True
)
MOST = 12
"""Bins whose counts find room below the picture."""


def build(experiment: Experiment) -> Mapping[str, Any] | None:
    """Cards of its figures and the reliability diagram; None where no reward model was trained."""
    asked, got = experiment.params["reward"], experiment.training["reward"]
    if not asked["enabled"]:
        return None
    found = got["held_out"]
    shared = {
        "pairs": got["pairs"]["all"],
        "n": found["n"],
        "confidence": words.number(100 * asked["confidence"], "count"),
    }
    if not found["n"]:
        return shared | {"reason": found["reason"], "cards": [], "chart": None}
    by_task = dict(tasks(found["by_task"], asked["confidence"])) if len(found["by_task"]) > 1 else {}
    half = measured.Mark(0.5, "guessing", f"guessing is right in 50{words.NARROW}%")
    cards = [
        measured.card("Accuracy", ACCURACY.means, {"all": found["accuracy"], **by_task}, found["n"], ACCURACY, half),
        measured.card(
            "Margin", MARGIN.means, {"all": found["margin"]}, found["n"], MARGIN,
            measured.Mark(0.0, "", "no difference between the two answers"),
        ),
        measured.card(
            "Brier score", BRIER.means, {"all": found["brier"]}, found["n"], BRIER,
            measured.Mark(0.25, "guessing", f"saying 50{words.NARROW}% of every pair scores 0.25"),
        ),
    ]  # fmt: skip
    useful = cards[0]["rows"][0]["verdict"].tone == "better"
    return shared | {"reason": "", "useful": useful, "cards": cards, "chart": reliability(experiment)}


def tasks(found: Mapping[str, Any], confidence: float) -> Iterator[tuple[str, measured.Entry]]:
    """The accuracy of each task, with Wilson's interval."""
    for task, one in found.items():
        low, high = wilson(one["accuracy"], one["n"], confidence)
        yield words.plain_name(task), {"value": one["accuracy"], "low": low, "high": high, "n": one["n"]}


def reliability(experiment: Experiment) -> dict[str, Any]:
    """The reliability diagram: a dot for each bin with pairs, its Wilson interval, and n below it."""
    asked = experiment.params["reward"]
    x, y = charts.Scale(0.5, 1.0), charts.Scale(0.0, 1.0)
    bins = [_bin(one, asked["confidence"], x) for one in experiment.reliability if int(one["n"])]
    error = words.points(experiment.training["reward"]["held_out"]["calibration_error"])
    return {
        "x": x,
        "y": y,
        "x_ticks": [(tick, words.number(tick, "share").replace(".0", "")) for tick in x.ticks(3)],
        "y_ticks": [(tick, words.number(tick, "share").replace(".0", "")) for tick in y.ticks(5)],
        "bins": bins,
        "counts": len(bins) <= MOST,
        "error": error,
        "below": "Across: the probability that it gives its favourite. Up: share of pairs in which that was chosen"
        + ("; the numbers: how many pairs." if len(bins) <= MOST else "."),
        "label": "Reliability: " + "; ".join(one["words"] for one in bins),
    }


def _bin(one: Mapping[str, str], confidence: float, x: charts.Scale) -> dict[str, Any]:
    n, mean, right = int(one["n"]), float(one["mean"]), float(one["right"])
    low, high = wilson(right, n, confidence)
    said, was = words.number(mean, "share"), words.number(right, "share")
    return {
        "n": n,
        "mean": mean,
        "right": right,
        "low": low,
        "high": high,
        "middle": x.at((float(one["low"]) + float(one["high"])) / 2),
        "words": f"it says {said}, {was} are so (n = {n})",
    }


def wilson(share: float, n: int, confidence: float) -> tuple[float, float]:
    """The score interval of a share of n (Wilson, 1927, JASA 22, 209-212).

    >>> [round(bound, 3) for bound in wilson(0.5, 10, 0.95)]
    [0.237, 0.763]
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - reach, middle + reach
