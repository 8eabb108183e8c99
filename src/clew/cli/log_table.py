"""The table that `clew log` and `clew best` draw in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clew.history import names, table
from clew.history.table import Line

GAP = 2
LEAST = 28
"""Characters that the last column, what changed, needs at least."""
YEAR = 300 * 24 * 3600  # seconds: older times are told with their year
PIPED = 160
"""Characters of a line where the output is no terminal."""


def draw(lines: Sequence[Line], columns: Sequence[str], *, intervals: bool) -> None:
    """Print the lines, newest or best first, with a sparkline under each column of numbers, oldest to newest.

    intervals: whether a metric's interval is told with it.
    """
    console = Console() if sys.stdout.isatty() else Console(width=PIPED)
    cells = {name: [heading_of(name), *[_cell(line, name, intervals) for line in lines]] for name in columns}
    branches = ["branches", *[", ".join(line.labels[:2]) + (" …" if len(line.labels) > 2 else "") for line in lines]]
    fixed = [["commit   "], ["when         "], branches]
    room = console.width - LEAST - sum(_width(column) for column in fixed)
    fitting: list[str] = []
    for name in columns:
        room -= _width(cells[name])
        if room >= 0 or not fitting:
            fitting.append(name)
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column in fixed:
        drawn.add_column(column[0].strip(), no_wrap=True, min_width=_width(column) - GAP)
    for name in fitting:
        drawn.add_column(heading_of(name), justify="right", no_wrap=True, min_width=_width(cells[name]) - GAP)
    drawn.add_column("what changed", no_wrap=True, overflow="ellipsis", max_width=max(LEAST, LEAST + room) - GAP)
    for row, line in enumerate(lines):
        values = [cells[name][row + 1] for name in fitting]
        drawn.add_row(*_words(line), Text(branches[row + 1], style="cyan"), *values, _changed(line))
    if len(lines) > 2:
        drawn.add_row("", "", "", *[_spark(lines, name) for name in fitting], "", style="dim")
    console.print(drawn)
    if len(fitting) < len(columns):
        missing = ", ".join(heading_of(name) for name in columns if name not in fitting)
        Console(stderr=True).print(f"No room for: {missing}. Widen the terminal, name --columns, or take --json.")


def _width(column: Sequence[str]) -> int:
    return max(len(text) for text in column) + GAP


def heading_of(name: str) -> str:
    """`aligned.stress.f1.value` as people say it: stress.f1@aligned."""
    short = names.short(name)
    variant, _, rest = short.partition(".")
    return f"{rest}@{variant}" if name.startswith("metrics/quality.json:") and rest else short


def _words(line: Line) -> tuple[str, str]:
    if line.commit is None:
        return "work tree", "now"
    when = datetime.fromtimestamp(line.commit.time).astimezone()
    recent = abs(time.time() - line.commit.time) < YEAR
    return line.commit.id[:8], f"{when:%d %b %H:%M}" if recent else f"{when:%d %b %Y}"


def _cell(line: Line, name: str, intervals: bool) -> str:
    found = number(line.values.get(name))
    stem = name.removesuffix(".value")
    low, high = line.values.get(f"{stem}.low"), line.values.get(f"{stem}.high")
    bounds = isinstance(low, (int, float)) and isinstance(high, (int, float)) and low != high
    return f"{found} [{number(low)}, {number(high)}]" if intervals and name != stem and bounds else found


def number(value: Any) -> str:
    """A value in few characters.

    >>> number(0.123456), number(1.0e-5), number(12), number(None)
    ('0.1235', '1e-05', '12', '–')
    """
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _changed(line: Line) -> str:
    parts = [f"{name} {number(old)} → {number(new)}" for name, (old, new) in line.changed.items()]
    title = line.commit.title if line.commit else ""
    few = "; ".join(parts[:2]) + (f"; {len(parts) - 2} more" if len(parts) > 2 else "")
    return f"{title} ({few})" if title and few else title or few


def _spark(lines: Sequence[Line], name: str) -> str:
    values = [line.values.get(name) for line in reversed(lines)]
    numbers = [value if isinstance(value, (int, float)) else None for value in values]
    return table.sparkline(numbers[-24:]) if any(value is not None for value in numbers) else ""
