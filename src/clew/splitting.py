"""Which side a row is on: by a hash of its text, so that a row keeps its side when others come or go.

    "Which vitamin …\nA. K\nB. C" (text)  →  "Which vitamin …" (group)  →  0.42 (draw)  →  train (side)

A question of multiple choice is one group whatever its options are: asked again with others, it stays on its side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from clew.rows import normalise

if TYPE_CHECKING:
    from clew.params import Split

Side = Literal["train", "valid", "test"]
SIDES: tuple[Side, ...] = ("train", "valid", "test")


def group(row: Mapping[str, Any]) -> str:
    """What must not stand on two sides: the text, without the lines at its end that hold the row's options.

    Those are the lines that the prompt shows after the letters of `choices`.
    """
    text: str = row["text"]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    letters = row["choices"] or []
    shown = {line[:3]: line[3:].strip() for line in row["messages"][-1]["content"].splitlines()}
    options = [shown.get(f"{letter}. ") for letter in letters]
    last = lines[len(lines) - len(letters) :]
    if letters and len(lines) > len(letters) and all(any(o and line.endswith(o) for o in options) for line in last):
        return "\n".join(lines[: -len(letters)])
    return text


def draw(text: str, seed: int) -> float:
    """A number in [0, 1) fixed by the normalised text and the seed: rows of one text stay together."""
    digest = hashlib.blake2b(f"split\0{seed}\0{normalise(text)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def side(group: str, split: Split, seed: int) -> Side:
    """The side of a group. Raising test_share or valid_share moves rows only out of train."""
    number = draw(group, seed)
    if number < split.test_share:
        return "test"
    return "valid" if number >= 1 - split.valid_share else "train"


def within_limits(rows: Sequence[Mapping[str, Any]], sides: Sequence[Side], split: Split, seed: int) -> list[bool]:
    """Which rows stay under `split.limits`: per task and side, those with the lowest draw of their own."""
    stays = [True] * len(rows)
    for task, limits in split.limits.items():
        for name in SIDES:
            positions = [i for i, row in enumerate(rows) if row["task"] == task and sides[i] == name]
            positions.sort(key=lambda i: (draw(f"limit {rows[i]['text']}", seed), rows[i]["row_id"]))
            for position in positions[getattr(limits, name) :]:
                stays[position] = False
    return stays


def leaks(rows: Sequence[Mapping[str, Any]], sides: Sequence[Side]) -> set[str]:
    """Normalised groups that stand on more than one side: a check of the result, however it was made."""
    seen: dict[str, Side] = {}
    return {
        found
        for row, name in zip(rows, sides, strict=True)
        if seen.setdefault(found := normalise(group(row)), name) != name
    }
