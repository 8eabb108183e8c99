"""Why: which change reaches which numbers, followed through the stage graph of dvc.lock.

A change starts at the stages that read it and goes on through each out that differs between the revisions: a
stage that made the same bytes all the same passes nothing on. A stage that reads a whole folder and gives a number for
each entry in it (`evaluate` of data/predictions/) passes on only to the numbers named like the entries that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from clew.history import blocks
from clew.history.compare import numbers
from clew.history.compare.asked import not_run, reads, sections
from clew.history.compare.code import PLACES
from clew.history.compare.graph import Graph, Outs, draw
from clew.history.compare.model import Change, CodeFile, Param, Reach
from clew.history.lockfile import Stage
from clew.history.snapshot import Snapshot

BY_VARIANT = (numbers.QUALITY, numbers.FAIRNESS)


class Start(NamedTuple):
    """Where a change begins: what was changed, and the stages that read it."""

    kind: Change
    root: str
    stages: tuple[str, ...]
    waits: bool


def reaches(before: Snapshot, after: Snapshot, params: Sequence[Param], code: Sequence[CodeFile]) -> tuple[Reach, ...]:
    """How far each change goes; changes that go the same way are told together."""
    graph = draw(before, after)
    starts = [Start("param", param.name, _readers(graph, param.name), bool(param.not_run)) for param in params]
    for file in code:
        stages = tuple(name for name in file.stages if name in graph.stages)
        starts.append(Start("code", file.path, stages, not file.run))
    starts += [Start("data", path, stages, False) for path, stages in _brought(graph, before, after)]
    starts += _called(graph, before, after, starts)
    known = {stage for start in starts if not start.waits for stage in start.stages}
    starts += [Start("unexplained", name, (name,), False) for name in unexplained(graph, before, known)]
    together: dict[tuple[Change, tuple[str, ...], bool], list[str]] = {}
    for start in starts:
        together.setdefault((start.kind, start.stages, start.waits), []).append(start.root)
    return tuple(follow(graph, kind, tuple(roots), stages, waits) for (kind, stages, waits), roots in together.items())


def waiting(before: Snapshot, after: Snapshot, params: Sequence[Param]) -> tuple[Param, ...]:
    """The params with `not_run`: stages that give numbers only, a report that is not made again being no matter."""
    if not params:
        return ()
    graph = draw(before, after)
    giving = giving_numbers(graph, graph.stages) or set(graph.stages)
    stages = [name for name in graph.stages if name in giving]
    return tuple(param._replace(not_run=not_run(param.name, after, stages)) for param in params)


def _readers(graph: Graph, param: str) -> tuple[str, ...]:
    return tuple(name for name, stage in graph.stages.items() if reads(stage, param))


def _brought(graph: Graph, before: Snapshot, after: Snapshot) -> list[tuple[str, tuple[str, ...]]]:
    """Deps that no stage makes and that are no code, where they differ: data that a person put there."""
    sides = [
        {dep.path: dep.md5 for stage in side.stages.values() for dep in stage.deps if not dep.path.startswith(PLACES)}
        for side in (before, after)
    ]
    made = Outs(graph.stages)
    found = []
    for path in sorted(sides[0].keys() & sides[1].keys()):
        if sides[0][path] != sides[1][path] and next(made.touching(path), None) is None:
            found.append((path, tuple(n for n, s in graph.stages.items() if any(d.path == path for d in s.deps))))
    return found


def _called(graph: Graph, before: Snapshot, after: Snapshot, starts: Sequence[Start]) -> list[Start]:
    """What changed in how a stage is run: its command, the paths that it reads, the params that it was run with.

    What is told of already (a code file that was added, a param that differs) is left out.
    """
    told = {(start.kind, stage) for start in starts if not start.waits for stage in start.stages}
    code = {(start.root, stage) for start in starts if start.kind == "code" for stage in start.stages}
    found = []
    for name in graph.stages:
        old, new = before.stages.get(name), after.stages.get(name)
        if old is None or new is None:
            continue
        first, second = ({dep.path for dep in stage.deps} for stage in (old, new))
        fresh = [path for path in sorted(first ^ second) if not _told(code, name, path)]
        roots = [f"{name} {'reads' if path in second else 'no longer reads'} {path}" for path in fresh]
        roots += [f"the command of {name}"] if old.cmd != new.cmd else []
        roots += (
            [f"the params that {name} ran with"] if ("param", name) not in told and _ran_otherwise(old, new) else []
        )
        found += [Start("pipeline", root, (name,), False) for root in roots]
    return found


def _told(code: set[tuple[str, str]], stage: str, dep: str) -> bool:
    return any(of == stage and (path == dep or path.startswith(f"{dep}/")) for path, of in code)


def _ran_otherwise(old: Stage, new: Stage) -> bool:
    """Whether two blocks differ in params, and not only in how they are written."""
    if old.params == new.params:
        return False
    try:
        return repr(blocks.load(old.params)) != repr(blocks.load(new.params))
    except blocks.NotYaml:
        return sections(old.params) != sections(new.params)


def unexplained(graph: Graph, before: Snapshot, known: set[str]) -> list[str]:
    """Stages that made something else of the same params, code and inputs: on another machine, or by chance.

    known: stages that another change starts at, their params, command and deps among them.
    """
    found = []
    for name, stage in graph.stages.items():
        old = before.stages.get(name)
        if old is None or name in known or {dep[:2] for dep in old.deps} != {dep[:2] for dep in stage.deps}:
            continue
        if {out[:2] for out in old.outs} != {out[:2] for out in stage.outs}:
            found.append(name)
    return found


def follow(graph: Graph, kind: Change, roots: tuple[str, ...], starts: tuple[str, ...], waits: bool) -> Reach:
    """Where a change goes from the stages that read it. waits: it has not run, so every out counts as differing."""
    reached: dict[str, set[str] | None] = dict.fromkeys(starts)  # None: wholly, else only for these entries of a folder
    ends = []
    for name, stage in graph.stages.items():
        if name not in reached:
            continue
        passes = {out.path for out in stage.outs if waits or graph.made[0].get(out.path) != graph.made[1].get(out.path)}
        if not passes:
            ends.append(name)
        for link in graph.feeds[name]:
            if link.out.path in passes:
                _reach(reached, link.reader, link.out.path, link.dep)
    given = {out.path for name in reached for out in graph.stages[name].outs}
    files = tuple(path for path in graph.files if path in given)
    variants = _variants(graph, reached)
    spared = tuple(name for name in graph.variants if name not in variants)
    giving = giving_numbers(graph, reached) or set(starts)
    stages = tuple(name for name in graph.stages if name in giving)
    ended = tuple(name for name in ends if name in giving)
    return Reach(kind, roots, stages, files, variants, spared, ended, waits)


def _reach(reached: dict[str, set[str] | None], stage: str, out: str, dep: str) -> None:
    if not out.startswith(f"{dep}/"):
        reached[stage] = None
    elif (entries := reached.setdefault(stage, set())) is not None:
        entries.add(out.removeprefix(f"{dep}/").partition("/")[0].removesuffix(".parquet"))


def _variants(graph: Graph, reached: Mapping[str, set[str] | None]) -> tuple[str, ...]:
    """The variants whose numbers the reached stages give anew."""
    found: set[str] = set()
    for name, entries in reached.items():
        if any(out.path in BY_VARIANT for out in graph.stages[name].outs):
            found |= set(graph.variants) if entries is None else entries
    return tuple(name for name in graph.variants if name in found)


def giving_numbers(graph: Graph, reached: Iterable[str]) -> set[str]:
    """Those of the reached stages that give a number, or feed one that does: the report at the end is left out."""
    within = set(reached)
    files = set(graph.files)
    makers: dict[str, list[str]] = {}
    for name in within:
        for link in graph.feeds[name]:
            makers.setdefault(link.reader, []).append(name)
    waiting = [name for name in within if any(out.path in files for out in graph.stages[name].outs)]
    found = set(waiting)
    while waiting:
        for maker in makers.get(waiting.pop(), ()):
            if maker not in found:
                found.add(maker)
                waiting.append(maker)
    return found
