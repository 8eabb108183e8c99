"""Merging dvc.lock stage by stage, where git would compare lines: two branches that ran different stages just merge.

A stage's block is taken from the side that changed it. Where both sides changed it to different things, neither block
is true of the merged params and data, so none is kept: the stage runs again. `git merge` is then stopped, with the
names of those stages, so that nobody takes the merge for made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from clew.history import lockfile

HEAD = "schema: '2.0'\nstages:\n"


class Merged(NamedTuple):
    """text: the merged dvc.lock. conflicts: stages that both sides changed, each to something else."""

    text: str
    conflicts: tuple[str, ...]


def merge(base: str, ours: str, theirs: str) -> Merged:
    """The three-way merge of dvc.lock's text; raises lockfile.LockError where one of them is no lock."""
    sides = [lockfile.cut(text) for text in (base, ours, theirs)]
    old, mine, other = sides
    kept: dict[str, str] = {}
    conflicts = []
    for name in dict.fromkeys((*mine, *other)):
        chosen = _chosen(old, mine, other, name)
        if chosen is None:
            conflicts.append(name)
        elif chosen:
            kept[name] = chosen
    return Merged(HEAD + "".join(_indented(name, block) for name, block in kept.items()), tuple(conflicts))


def _chosen(base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str], name: str) -> str | None:
    """The block that the merge has: "" for none, None where the sides disagree."""
    before, mine, other = (side.get(name, "") for side in (base, ours, theirs))
    if mine == other or other == before:
        return mine
    return other if mine == before else None


def _indented(name: str, block: str) -> str:
    return f"  {name}:\n" + "".join(f"    {line}\n" for line in block.splitlines())
