"""Which side a row is on: by a hash of its text, so that a row keeps its side when others come or go."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from clew.rows import normalise

if TYPE_CHECKING:
    from clew.params import Split

Side = Literal["train", "valid", "test"]
SIDES: tuple[Side, ...] = ("train", "valid", "test")


def draw(text: str, seed: int) -> float:
    """A number in [0, 1) fixed by the normalised text and the seed: rows of one text stay together."""
    digest = hashlib.blake2b(f"split\0{seed}\0{normalise(text)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def side(text: str, split: Split, seed: int) -> Side:
    """The side of a text. Raising test_share or valid_share moves rows only out of train."""
    number = draw(text, seed)
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
    """Normalised texts that stand on more than one side: a check of the result, however it was made."""
    seen: dict[str, Side] = {}
    return {
        text
        for row, name in zip(rows, sides, strict=True)
        if seen.setdefault(text := normalise(row["text"]), name) != name
    }
