"""The page's table of contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clew.report.experiment import Experiment
from clew.report.sections import (
    alignment,
    cleaning,
    confusion,
    data,
    digests,
    fairness,
    headline,
    limits,
    parameters,
    pipeline,
    quality,
    reward,
    samples,
    training,
)


@dataclass(frozen=True)
class Section:
    """One part of the page: `name` is its file, its template and its anchor. Left out where `build` returns None."""

    name: str
    title: str
    build: Callable[[Experiment], Mapping[str, Any] | None]


SECTIONS: tuple[Section, ...] = (
    Section("headline", "What it found", headline.build),
    Section("pipeline", "What ran", pipeline.build),
    Section("data", "Where the rows went", data.build),
    Section("cleaning", "What cleaning found", cleaning.build),
    Section("training", "What was trained, and how", training.build),
    Section("reward", "How good the reward model is", reward.build),
    Section("alignment", "What alignment changed", alignment.build),
    Section("quality", "Every variant, every task", quality.build),
    Section("confusion", "What was taken for what", confusion.build),
    Section("fairness", "Fairness by group", fairness.build),
    Section("samples", "What the models said", samples.build),
    Section("limits", "What this page does not show", limits.build),
    Section("parameters", "Parameters", parameters.build),
    Section("digests", "Digests", digests.build),
)
