"""The table that `clew log` and `clew best` draw in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from clew import layout
from clew.history import names, table
from clew.history.table import Line
from clew.terminal import clean

GAP = 2
LEAST = 28
"""Characters that the last column, what changed, needs at least."""
NARROW = 72
"""Below so many columns of the terminal there is no room for when, branches and what changed."""
YEAR = 300 * 24 * 3600  # seconds: older times are told with their year
PIPED = 160
"""Characters of a line where the output is no terminal."""


def draw(
    lines: Sequence[Line], columns: Sequence[str], *, intervals: bool, in_time: bool, close: Sequence[int]
) -> None:
    """Print the lines, with a sparkline under each column of numbers, oldest to newest, where they are in time.

    intervals: whether a metric's interval is told with it. close: rows whose first value gets the mark ≈.
    """
    whole = layout.terminal_width(PIPED) if sys.stdout.isatty() else PIPED
    narrow = whole < NARROW
    fixed = [_column(["commit", *map(_commit, lines)])]
    if not narrow:
        fixed += [_column(["when", *map(_when, lines)]), _column(["branches", *map(_branches, lines)])]
    cells = [[heading_of(name, columns), *[_cell(line, name, intervals) for line in lines]] for name in columns]
    for row in close:
        cells[0][row + 1] = f"≈ {cells[0][row + 1]}"
    metrics = [_column(texts, right=True) for texts in cells]
    room = whole - (0 if narrow else LEAST) - sum(column.width + GAP for column in fixed)
    fitting = 0
    while fitting < len(metrics) and (room >= metrics[fitting].width + GAP or not fitting):
        room -= metrics[fitting].width + GAP
        fitting += 1
    if len(lines) > 2 and in_time:
        for name, column in zip(columns, metrics[:fitting], strict=False):
            column.cells.append(_spark(lines, name, column.width))
    shown = fixed + metrics[:fitting]
    if not narrow:
        changes = ["what changed", *(clean(_changed(line)) for line in lines)]
        shown.append(layout.Column(changes, max(LEAST, LEAST + room) - GAP))
    head, *rows = layout.rows(shown, GAP, whole)
    sparks = [layout.styled(row, "dim") for row in rows[len(lines) :]]
    click.echo("\n".join([layout.styled(head, "bold"), *rows[: len(lines)], *sparks]))
    if fitting < len(columns):
        missing = ", ".join(column.cells[0] for column in metrics[fitting:])
        click.echo(f"No room for: {missing}. Widen the terminal, name --columns, or take --json.", err=True)


def _column(texts: Iterable[str], right: bool = False) -> layout.Column:
    """A column as wide as its widest cell; what commits, params and metrics say is nothing that a terminal obeys."""
    cells = [clean(text) for text in texts]
    return layout.Column(cells, max(map(layout.width, cells)), right)


def heading_of(name: str, beside: Sequence[str]) -> str:
    """`aligned.stress.f1.value` as people say it: stress.f1@aligned; in full where another column would read alike."""
    short = names.short(name)
    if any(names.short(other) == short for other in beside if other != name):
        return name
    variant, _, rest = short.partition(".")
    return f"{rest}@{variant}" if name.startswith("metrics/quality.json:") and rest else short


def _commit(line: Line) -> str:
    return line.commit.id[:8] if line.commit else "work tree"


def _when(line: Line) -> str:
    if line.commit is None:
        return "now"
    when = datetime.fromtimestamp(line.commit.time).astimezone()
    return f"{when:%d %b %H:%M}" if abs(time.time() - line.commit.time) < YEAR else f"{when:%d %b %Y}"


def _branches(line: Line) -> str:
    return ", ".join(line.labels[:2]) + (" …" if len(line.labels) > 2 else "")


def _cell(line: Line, name: str, intervals: bool) -> str:
    found = number(line.values.get(name))
    stem = name.removesuffix(".value")
    low, high = line.values.get(f"{stem}.low"), line.values.get(f"{stem}.high")
    bounds = table.is_number(low) and table.is_number(high) and low != high
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
    parts = ["perhaps nothing: at the edge of a shallow clone"] if line.at_edge else []
    parts += [f"{name} {number(old)} → {number(new)}" for name, (old, new) in line.changed.items()]
    title = line.commit.title if line.commit else ""
    few = "; ".join(parts[:2]) + (f"; {len(parts) - 2} more" if len(parts) > 2 else "")
    return f"{title} ({few})" if title and few else title or few


def _spark(lines: Sequence[Line], name: str, width: int) -> str:
    values = [line.values.get(name) for line in reversed(lines)]
    numbers = [value if table.is_number(value) else None for value in values]
    return table.sparkline(numbers[-width:]) if any(value is not None for value in numbers) else ""
