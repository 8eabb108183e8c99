"""Line charts over the steps of a training, as `lines` of charts.html draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clew.report import charts, words

Point = tuple[float, float]
"""Step, value."""


def points(table: Iterable[Mapping[str, str]], column: str) -> list[Point]:
    """A column of a table by step, where it was measured and is finite."""
    found = [(float(row["step"]), float(row[column])) for row in table if row[column]]
    return [(x, y) for x, y in found if math.isfinite(y)]


def chart(
    title: str, series: Mapping[str, Sequence[Point]], below: str, bounds: Sequence[float] = ()
) -> dict[str, Any]:
    """A line for each of `series` (name → points, one at least); below: what it says under the picture.

    bounds: values that are drawn as dashed lines where they are not so far away that the lines would be flat.
    """
    steps = [x for found in series.values() for x, _ in found]
    values = [y for found in series.values() for _, y in found]
    low, high = min(values), max(values)
    reach = 2 * (high - low) or max(abs(high), 0.1)
    near = [bound for bound in bounds if low - reach <= bound <= high + reach]
    x, y = charts.Scale(0.0, max(*steps, 1.0)), charts.around(values, include=near)
    lines = [_line(number, name, found, x, y) for number, (name, found) in enumerate(series.items(), 1)]
    return {
        "title": title,
        "x": x,
        "y": y,
        "x_ticks": [(tick, words.number(tick, "count")) for tick in x.ticks(6)],
        "y_ticks": [(tick, shown(tick)) for tick in y.ticks(5)],
        "x_label": below,
        "bounds": near,
        "lines": lines,
        "label": f"{title}: " + "; ".join(f"{one['name']} {one['ends']}" for one in lines),
    }


def _line(number: int, name: str, found: Sequence[Point], x: charts.Scale, y: charts.Scale) -> dict[str, Any]:
    """One line; few points are shown as dots, too."""
    dots = [(x.place(px), round(100 - y.place(py), 2)) for px, py in found] if len(found) <= 12 else []
    return {
        "number": number,
        "name": name,
        "ends": f"from {shown(found[0][1])} to {shown(found[-1][1])}",
        "points": charts.line(found, x, y),
        "dots": dots,
    }


def smooth(found: Sequence[Point], window: int) -> list[Point]:
    """The mean of each `window` points that follow one another, at the last of them."""
    ends = range(window, len(found) + 1)
    return [(found[end - 1][0], sum(y for _, y in found[end - window : end]) / window) for end in ends]


def shown(value: float) -> str:
    """As `words.number` has it, small ones too: a loss may be 0.00015.

    >>> shown(0.25), shown(0.00015)
    ('0.25', '0.00015')
    """
    return words.number(value) if value == 0 or abs(value) >= 0.002 else f"{value:.2g}".replace("-", "−", value < 0)
