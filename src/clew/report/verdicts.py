"""Better, worse, or no difference shown: a variant against the one that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clew.report import words
from clew.report.experiment import Experiment

Tone = Literal["better", "worse", "same", "unknown"]
MODEL = "model"
"""Beside the tasks in metrics/quality.json: what belongs to a variant and to no task."""

PRIMARY = ("accuracy", "chrf", "bleu", "f1", "entity_f1", "micro_f1")
"""The metric that speaks for a task: the first of these that it has."""

WORDS: dict[Tone, str] = {
    "better": "better",
    "worse": "worse",
    "same": "no difference shown",
    "unknown": "not compared",
}
MARKS: dict[Tone, str] = {"better": "▲", "worse": "▼", "same": "=", "unknown": "?"}


@dataclass(frozen=True)
class Verdict:
    """A comparison in words. `low` and `high` bound the difference; None where it could not be had."""

    tone: Tone
    parent: str | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    reason: str

    @property
    def words(self) -> str:
        """The verdict as a few words."""
        return WORDS[self.tone]

    @property
    def against(self) -> str:
        """The verdict with the name of the other: "better than base"."""
        return f"{self.words} than {self.parent}" if self.tone in ("better", "worse") else self.words

    @property
    def mark(self) -> str:
        """A sign that says the same without colour."""
        return MARKS[self.tone]


def verdict(entry: Mapping[str, Any] | None, *, lower_is_better: bool = False) -> Verdict:
    """The verdict on an entry of quality.json: a difference counts when its interval leaves out zero."""
    found = (entry or {}).get("vs_parent")
    if not found:
        return Verdict("unknown", None, None, None, None, None, (entry or {}).get("reason", ""))
    low, high = found.get("low"), found.get("high")
    tone: Tone = "same"
    if low is None or high is None:
        tone = "unknown"
    elif low > 0 or high < 0:
        tone = "better" if (low > 0) != lower_is_better else "worse"
    return Verdict(tone, found["parent"], found.get("difference"), low, high, found.get("p"), found.get("reason", ""))


def entry(experiment: Experiment, variant: str, task: str, metric: str) -> Mapping[str, Any]:
    """The entry of quality.json, or {} where there is none."""
    found = experiment.quality.get(variant, {}).get(task, {}).get(metric)
    return found if isinstance(found, dict) else {}


def primary(experiment: Experiment, task: str) -> str | None:
    """The metric that speaks for a task, or None when it has no metric."""
    names = {name for variant in experiment.variants for name in experiment.quality.get(variant, {}).get(task, {})}
    return next((name for name in PRIMARY if name in names), min(names, default=None))


def of_task(experiment: Experiment, variant: str, task: str) -> tuple[str | None, Mapping[str, Any], Verdict]:
    """The primary metric of a task, the variant's entry for it, and the verdict on that."""
    name = primary(experiment, task)
    found = entry(experiment, variant, task, name) if name else {}
    lower = words.metric(name).lower_is_better if name else False
    return name, found, verdict(found, lower_is_better=lower)
