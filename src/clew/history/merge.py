"""Merging dvc.lock stage by stage, where git would compare lines: two branches that ran different stages just merge.

A stage's block is taken from the side that changed it. Where both sides changed it to different things, neither block
is true of the merged params and data, so none is kept: the stage runs again. `git merge` is then stopped, with the
names of those stages, so that nobody takes the merge for made. What else DVC keeps there (`datasets:`) is merged in
the same way, but never left out: where both sides changed it, the merge is refused.

Blocks are compared and kept as text where all three files are in DVC's own plain form. Else all three are read and
written anew as DVC writes them, so that a line wrapped elsewhere is no difference.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from clew.history import blocks, lockfile

HEAD = "schema: '2.0'\nstages:\n"
PLAIN = re.compile(rf"{HEAD}(?:  [A-Za-z_][\w./@-]*:\n(?:    [^\n]*\n)+)*")
"""Stage names that every YAML reader takes for texts, but for the few words in `blocks.ODD`."""
ALIAS = re.compile(r"[:-] [*&]\w")


class Merged(NamedTuple):
    """text: the merged dvc.lock. conflicts: stages that both sides changed, each to something else."""

    text: str
    conflicts: tuple[str, ...]


def merge(base: str, ours: str, theirs: str) -> Merged:
    """The three-way merge of dvc.lock's text; raises lockfile.LockError where that cannot be had."""
    texts = (base, ours, theirs)
    sides = [lockfile.cut(text) for text in texts]  # also tells conflict markers and other schemas
    if all(_is_plain(text, side) for text, side in zip(texts, sides, strict=True)):
        kept, conflicts = _three_way(*sides)
        text = HEAD + "".join(_indented(name, block) for name, block in kept.items())
        as_meant = lockfile.cut(text) == kept
    else:
        tree, conflicts = _merged_trees(*map(_tree, texts))
        text = _dumped(tree)
        as_meant = repr(_tree(text)) == repr(tree)
    if not as_meant:
        raise lockfile.LockError("what would be written does not read as what was merged")
    return Merged(text, tuple(conflicts))


def _is_plain(text: str, side: Mapping[str, str]) -> bool:
    if not text.strip():
        return True
    odd = any(name.lower() in blocks.ODD for name in side)
    return PLAIN.fullmatch(text) is not None and not ALIAS.search(text) and not odd


def _three_way(
    base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """What the merge has by name, and the names that the sides disagree about."""
    kept: dict[str, str] = {}
    conflicts = []
    for name in dict.fromkeys((*ours, *theirs)):
        before, mine, other = base.get(name), ours.get(name), theirs.get(name)
        if mine == other or other == before:
            chosen = mine
        elif mine == before:
            chosen = other
        else:
            conflicts.append(name)
            continue
        if chosen is not None:
            kept[name] = chosen
    return kept, conflicts


def _merged_trees(*trees: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The same of files as trees; a part is the same where all its values are, however they were written."""
    stages = [{str(name): block for name, block in (tree.pop("stages", None) or {}).items()} for tree in trees]
    merged, conflicts = _by_value(*stages)
    datasets = [_by_name(tree) for tree in trees]
    named, disputed = _by_value(*datasets)
    others, more = _by_value(*trees)
    if disputed or more:
        told = ", ".join([f"dataset {name}" for name in disputed] + [f"`{name}:`" for name in more])
        raise lockfile.LockError(f"both branches changed {told} in it, to different things")
    lists = {"datasets": list(named.values())} if named else {}
    head = {"schema": others.pop("schema", "2.0")}
    return {**head, "stages": merged, **lists, **others}, conflicts


def _by_name(tree: dict[str, Any]) -> dict[str, Any]:
    """The `datasets:` of a lock by name, taken out of the tree; left there where they are of another form."""
    found = tree.get("datasets", [])
    entries = found if isinstance(found, list) else [found]
    if not all(isinstance(entry, Mapping) and "name" in entry for entry in entries):
        return {}
    tree.pop("datasets", None)
    return {str(entry["name"]): entry for entry in entries}


def _by_value(*sides: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The three-way merge of trees by name."""
    values = [{name: repr(tree) for name, tree in side.items()} for side in sides]
    kept, conflicts = _three_way(*values)
    known = {(name, values[i][name]): tree for i, side in enumerate(sides) for name, tree in side.items()}
    return {name: known[name, value] for name, value in kept.items()}, conflicts


def _tree(text: str) -> dict[str, Any]:
    try:
        tree = _unshared(blocks.by_ruamel(text)) if text.strip() else {"schema": "2.0"}
    except blocks.NotYaml as error:
        raise lockfile.LockError(f"it is not YAML: {' '.join(str(error).split())[:160]}") from None
    return tree if isinstance(tree, dict) else {}


def _unshared(tree: Any) -> Any:
    """The tree without parts that stand in two places, so that none is written as an alias of another."""
    if isinstance(tree, Mapping):
        return {name: _unshared(value) for name, value in tree.items()}
    return [_unshared(value) for value in tree] if isinstance(tree, list) else tree


def _dumped(tree: Any) -> str:
    """The tree as DVC writes one: names and texts that YAML would take for something else are quoted."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _indented(name: str, block: str) -> str:
    return f"  {name}:\n" + "".join(f"    {line}\n" for line in block.removesuffix("\n").split("\n"))
