"""What a cleaning rule says about a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """A rule's verdict on one row."""

    decision: Literal["dropped", "changed"]
    rule: str
    score: float | None = None
    threshold: float | None = None
    detail: str | None = None
    weight: float | None = None
    """The row's weight from now on, where the rule changes it."""


@dataclass(frozen=True)
class Findings:
    """A rule's verdicts, by the row's position in the list it was given, and figures for metrics/clean.json."""

    by_position: dict[int, Finding] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
