"""Typos: letters as fingers miss them: a neighbour on the keyboard, two the wrong way round, or one left out.

"He was feeling worried"  →  "He was feelimg worreid"
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Set
from typing import Any

from clew.augmentation.edits import WORD, Changed, NotMade, with_text

SHORTEST = 4
"""Letters of a word that may be hit: short words turn into others (`not`, `now`)."""
_ROWS = ((0.0, "qwertyuiop"), (0.25, "asdfghjkl"), (0.75, "zxcvbnm"))
"""How far a row of a QWERTY keyboard is indented, in keys, and its letters."""
_KEYS = {letter: (indent + x, y) for y, (indent, row) in enumerate(_ROWS) for x, letter in enumerate(row)}
NEIGHBOURS = {
    one: "".join(other for other, there in _KEYS.items() if 0 < math.dist(here, there) <= math.sqrt(1.6))
    for one, here in _KEYS.items()
}
"""A letter → those whose keys touch its key."""


def changed(row: Mapping[str, Any], rate: float, stay: Set[str], draw: random.Random) -> Changed:
    """The row with `rate` of the letters of its longer words hit, one at least, but for the words that stay."""
    text = row["text"] or ""
    places = [
        place
        for found in WORD.finditer(text)
        if len(found[0]) >= SHORTEST and found[0].lower() not in stay
        for place in range(found.start() + 1, found.end() - 1)
        if text[place].isalpha() and text[place + 1].isalpha()
    ]
    if not places:
        raise NotMade("no_letter_to_hit")
    signs = list(text)
    hit = sorted(draw.sample(places, max(int(rate * len(places) + 0.5), 1)), reverse=True)
    for place in hit:
        _miss(signs, place, draw)
    n = len(hit)
    return with_text(row, "".join(signs), f"{n} letter{'s' if n > 1 else ''}")


def _miss(signs: list[str], place: int, draw: random.Random) -> None:
    letter, after = signs[place : place + 2]
    near = NEIGHBOURS.get(letter.lower(), "")
    ways = [("neighbour", near), ("swap", letter != after), ("drop", True)]
    how = draw.choice([way for way, can in ways if can])
    if how == "neighbour":
        other = draw.choice(near)
        signs[place] = other.upper() if letter.isupper() else other
    elif how == "swap":
        signs[place], signs[place + 1] = after, letter
    else:
        signs[place] = ""
