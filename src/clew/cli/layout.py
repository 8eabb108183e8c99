"""Texts in the columns of a terminal: what `clew log` needs of it, for rich takes 20 ms to import."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

BOLD, DIM = "1", "2"
USUAL = 80
"""Columns of a terminal that does not tell how many it has."""


def terminal_width() -> int | None:
    """The columns of the terminal that is printed to, None where it is no terminal; $COLUMNS says otherwise of one."""
    if not sys.stdout.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL
    except OSError:
        return USUAL


def styled(line: str, style: str) -> str:
    """The line in bold or dim where it goes to a terminal that can do so."""
    plain = not sys.stdout.isatty() or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return line if plain else f"\x1b[{style}m{line}\x1b[0m"


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
    while text and width(text) >= room:
        text = text[:-1]
    return text.rstrip() + "…"


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
        padded = [_padded(text, column) for text, column in zip(cells, columns, strict=True)]
        lines.append(cut((" " * gap).join(padded).rstrip(), room))
    return lines


def _padded(text: str, column: Column) -> str:
    shown = cut(text, column.width)
    space = " " * (column.width - width(shown))
    return space + shown if column.right else shown + space
