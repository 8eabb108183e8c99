"""What was asked: the params that differ, and whether the stages that read them have run with them.

sft.learning_rate: 0.001 → 0.0006   →   Param("sft.learning_rate", 0.001, 0.0006, "both", not_run=("sft",))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

from clew.history import blocks, documents
from clew.history.compare.model import Param
from clew.history.documents import Flat
from clew.history.lockfile import Stage
from clew.history.snapshot import Snapshot

NOTHING = object()


def params(before: Snapshot, after: Snapshot) -> tuple[Param, ...]:
    """The params that differ, in the order of params.yaml."""
    return tuple(differ(before.params, after.params))


def others(before: Snapshot, after: Snapshot, but: Iterable[str]) -> tuple[Param, ...]:
    """The numbers that differ in metrics files, named `file:name`.

    The files `but` are left to their own sections, unless they hold numbers of another form than clew's.
    """
    left = set(but)
    found = []
    for path in dict.fromkeys([*before.metrics, *after.metrics]):
        names = [*before.metrics.get(path, {}), *after.metrics.get(path, {})]
        if path not in left or not any(name.endswith(".value") for name in names):
            changed = differ(before.metrics.get(path, {}), after.metrics.get(path, {}))
            found += [param._replace(name=f"{path}:{param.name}") for param in changed]
    return tuple(found)


def differ(before: Flat, after: Flat) -> list[Param]:
    """The names whose values differ, or that one side alone has, as `dvc params diff` and `dvc metrics diff` judge.

    So null is no value, and true is 1; DVC also tells [1] from [1.0], which are one here.

    >>> differ({"a": 1, "b": 2}, {"a": 1, "b": 3.5})
    [Param(name='b', before=2, after=3.5, on='both', not_run=())]
    """
    found = []
    for name, (first, second) in documents.differing(before, after).items():
        on: Literal["both", "before", "after"] = "both"
        if name not in before or name not in after:
            on = "before" if name in before else "after"
        found.append(Param(name, first, second, on))
    return found


@lru_cache(maxsize=16384)
def sections(params: str) -> tuple[str, ...]:
    """The dotted names of the params in a stage's block: `sft`, `compress.int8`, `seed`."""
    found = []
    for line in params.split("\n"):
        if line.startswith("  ") and line[2:3] not in (" ", "-", "#", ""):
            name, colon, _ = line[2:].partition(":")
            if colon:
                found.append(name.strip("'\""))
    return tuple(found)


def reads(stage: Stage, param: str) -> bool:
    """Whether a param is, or lies in, one that the stage was run with."""
    return any(_in(param, name) for name in sections(stage.params))


def _in(param: str, section: str) -> bool:
    return param == section or param.startswith(f"{section}.")


def not_run(param: str, side: Snapshot, stages: Iterable[str]) -> tuple[str, ...]:
    """Those of `stages` that read a param and, by dvc.lock, ran with another value than params.yaml has now."""
    wanted = side.params.get(param, NOTHING)
    found = []
    for name in stages:
        stage = side.stages.get(name)
        section = next((own for own in sections(stage.params) if _in(param, own)), None) if stage else None
        if stage and section:
            ran = ran_with(stage.params, section).get(param, NOTHING)
            if ran is not wanted and ran != wanted:
                found.append(name)
    return tuple(found)


@lru_cache(maxsize=16384)
def ran_with(params: str, section: str) -> Flat:
    """One section of the params in a stage's block by dotted name; {} where it cannot be read."""
    lines: list[str] = []
    for line in params.split("\n"):
        if line.startswith("  ") and line[2:3] != " ":
            lines.append(line[2:])
        elif lines:
            lines[-1] += f"\n{line[2:]}"
    text = next((line for line in lines if line.partition(":")[0].strip("'\"") == section), "")
    try:
        tree: Any = blocks.load(text)
    except blocks.NotYaml:
        return {}
    return documents.flat(tree) if isinstance(tree, Mapping) else {}
