"""Texts in the columns of a terminal: tables, styles, wrapped lines. rich, which does so too, takes 20 ms to import."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

STYLES = {"bold": "1", "dim": "2", "yellow": "33", "bold blue": "1;34", "bold red": "1;31"}
"""What a terminal is told for each: SGR parameters."""
USUAL = 80
"""Columns of a terminal that does not tell how many it has."""


def terminal_width(piped: int) -> int:
    """The columns that $COLUMNS or the terminal tells; `piped` where the output goes to no terminal."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    if not sys.stdout.isatty():
        return piped
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL
    except OSError:
        return USUAL


def styled(line: str, style: str) -> str:
    """The line in one of STYLES where it goes to a terminal that can do so; NO_COLOR leaves bold and dim."""
    if (
        not style
        or not line.strip()
        or not sys.stdout.isatty()
        or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    ):
        return line
    sent = STYLES[style]
    if os.environ.get("NO_COLOR"):
        sent = ";".join(part for part in sent.split(";") if not part.startswith("3"))
    return f"\x1b[{sent}m{line}\x1b[0m" if sent else line


def width(text: str) -> int:
    """How many columns a text takes: Chinese signs take two, accents that stand on the sign before take none.

    >>> width("a → b"), width("猫"), width("e\u0301")
    (5, 2, 1)
    """
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.category(sign) in ("Mn", "Me", "Cf") for sign in text)


def cut(text: str, room: int) -> str:
    """The text, or what fits of it with … at its end.

    >>> cut("Experiment 7", 12), cut("Experiment 7", 11), cut("猫猫", 3)
    ('Experiment 7', 'Experiment…', '猫…')
    """
    if width(text) <= room:
        return text
    return _beginning(text, room - 1).rstrip() + "…"


def wrapped(text: str, room: int) -> list[str]:
    """The text in lines of `room` columns at most, broken at spaces, and within words that are longer.

    >>> wrapped("what is asked of it", 7), wrapped("  experiments", 7), wrapped("", 7)
    (['what is', 'asked', 'of it'], ['  exper', '  iment', '  s'], [''])
    """
    if width(text) <= room:
        return [text]
    indent = text[: len(text) - len(text.lstrip())]
    if len(indent) > room - 2:
        indent = ""
    room -= len(indent)
    lines, line = [], ""
    for word in text.split():
        if line and width(line) + 1 + width(word) > room:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        while len(part := _beginning(line, room) or line[:1]) < len(line):
            lines.append(part)
            line = line[len(part) :]
    return [indent + line for line in [*lines, line]]


def _beginning(text: str, room: int) -> str:
    """As much of the text as fits."""
    taken = 0
    for at, sign in enumerate(text):
        taken += width(sign)
        if taken > room:
            return text[:at]
    return text


class Column(NamedTuple):
    """Texts one below the other, and how many columns of the terminal they get."""

    cells: list[str]
    width: int
    right: bool = False


def rows(columns: Sequence[Column], gap: int, room: int) -> list[str]:
    """The lines of a table, as many as its longest column has cells, none wider than `room`.

    >>> rows([Column(["name", "a"], 4), Column(["f1", "0.5", "▁"], 4, right=True)], 2, 80)
    ['name    f1', 'a      0.5', '         ▁']
    """
    lines = []
    for cells in zip_longest(*(column.cells for column in columns), fillvalue=""):
        texts = [padded(text, column) for text, column in zip(cells, columns, strict=True)]
        lines.append(cut((" " * gap).join(texts).rstrip(), room))
    return lines


def padded(text: str, column: Column) -> str:
    """The text in its column: cut, and filled with spaces on the side that it is not aligned to."""
    shown = cut(text, column.width)
    space = " " * (column.width - width(shown))
    return space + shown if column.right else shown + space
