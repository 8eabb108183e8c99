"""Geometry of the charts: numbers to places, as the templates draw them.

The page's pictures are inline SVG with coordinates in per cent and no viewBox: a chart grows and shrinks with the
page while its text, dots and strokes keep their size, and its colours are the page's own.
Why not Altair: docs/decisions/0004-charts-as-inline-svg.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A linear axis from `low` to `high` (low < high); places are per cent of its length."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where `value` lies, 0 to 100; values beyond an end lie on it."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def at(self, value: float) -> str:
        """`place` as an SVG coordinate.

        >>> Scale(0, 2).at(0.5)
        '25%'
        """
        return f"{self.place(value):g}%"

    def ticks(self, most: int = 5) -> list[float]:
        """At most `most` round numbers on the axis, one step apart.

        >>> Scale(0, 1).ticks()
        [0.0, 0.25, 0.5, 0.75, 1.0]
        """
        step = _step(self.high - self.low, most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) + 0.0 for number in range(first, last + 1)]


def _step(length: float, most: int) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that fits at most `most` ticks into `length`."""
    power = 10.0 ** math.floor(math.log10(length / most))
    for factor in (1, 2, 2.5, 5, 10, 20):
        if math.floor(length / (factor * power) + 1e-9) + 1 <= most:
            return factor * power
    return 50 * power


def around(values: Iterable[float], *, include: Iterable[float] = (), margin: float = 0.06) -> Scale:
    """A scale that holds all finite `values` and `include` with some room at both ends; 0 to 1 when there are none."""
    found = [value for value in (*values, *include) if math.isfinite(value)]
    if not found:
        return Scale(0.0, 1.0)
    low, high = min(found), max(found)
    room = (high - low) * margin or abs(high) * margin or 1.0
    return Scale(low - room, high + room)


def balanced(values: Iterable[float]) -> Scale:
    """A scale with zero in its middle, for differences; -1 to 1 when there are no values."""
    far = max((abs(value) for value in values if math.isfinite(value)), default=0.0) * 1.08
    return Scale(-far, far) if far > 0 else Scale(-1.0, 1.0)


def line(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """The `points` attribute of a polyline in a viewBox of 100 × 100 whose y grows downwards."""
    return " ".join(f"{x.place(px):g},{round(100 - y.place(py), 2):g}" for px, py in points)


@dataclass(frozen=True)
class Piece:
    """One part of a stacked bar."""

    name: str
    n: int
    x: str
    width: str


def stack(parts: Sequence[tuple[str, int]]) -> list[Piece]:
    """The parts of a bar that is 100 % wide, in their order; parts of nothing are left out."""
    total = sum(n for _, n in parts)
    pieces, before = [], 0
    for name, n in parts:
        if n > 0:
            pieces.append(Piece(name, n, f"{100 * before / total:.3f}%", f"{100 * n / total:.3f}%"))
        before += n
    return pieces
