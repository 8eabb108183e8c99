"""Why: which change reaches which numbers, followed through the stage graph of dvc.lock.

A change starts at the stages that read it and goes on through each out that differs between the revisions: a
stage that made the same bytes all the same passes nothing on. A stage that reads a whole folder and gives a number for
each entry in it (`evaluate` of data/predictions/) passes on only to the numbers named like the entries that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from clew.history.compare import numbers
from clew.history.compare.asked import not_run, reads
from clew.history.compare.code import PLACES
from clew.history.compare.model import CodeFile, Param, Reach
from clew.history.lockfile import Artifact, Stage
from clew.history.snapshot import Snapshot

BY_VARIANT = (numbers.QUALITY, numbers.FAIRNESS)


class Graph(NamedTuple):
    """stages: in the pipeline's order, those switched off left out. made: path → md5 on each side."""

    stages: Mapping[str, Stage]
    made: tuple[Mapping[str, str], Mapping[str, str]]
    files: tuple[str, ...]
    variants: tuple[str, ...]


def reaches(before: Snapshot, after: Snapshot, params: Sequence[Param], code: Sequence[CodeFile]) -> tuple[Reach, ...]:
    """How far each change goes; changes that go the same way are told together."""
    graph = draw(before, after)
    starts: list[tuple[Literal["param", "code", "data", "unexplained"], str, tuple[str, ...], bool]] = []
    for param in params:
        starts.append(("param", param.name, _readers(graph, param.name), bool(param.not_run)))
    for file in code:
        stages = tuple(name for name in file.stages if name in graph.stages)
        starts.append(("code", file.path, stages, not file.run))
    for path, stages in _brought(graph, before, after):
        starts.append(("data", path, stages, False))
    known = {stage for _, _, stages, waits in starts if not waits for stage in stages}
    for name in unexplained(graph, before, known):
        starts.append(("unexplained", name, (name,), False))
    together: dict[tuple[str, tuple[str, ...], bool], list[str]] = {}
    for kind, root, stages, waits in starts:
        together.setdefault((kind, stages, waits), []).append(root)
    return tuple(
        follow(graph, kind, tuple(roots), stages, waits)  # type: ignore[arg-type]
        for (kind, stages, waits), roots in together.items()
    )


def waiting(before: Snapshot, after: Snapshot, params: Sequence[Param]) -> tuple[Param, ...]:
    """The params with `not_run`: stages that give numbers only, a report that is not made again being no matter."""
    graph = draw(before, after)
    giving = giving_numbers(graph, graph.stages) or set(graph.stages)
    stages = [name for name in graph.stages if name in giving]
    return tuple(param._replace(not_run=not_run(param.name, after, stages)) for param in params)


def draw(before: Snapshot, after: Snapshot) -> Graph:
    """The graph of the later side, or of the earlier where the later has no dvc.lock that can be read."""
    side = after if after.stages else before
    stages = {name: stage for name, stage in side.stages.items() if _on(name, side)}
    found = numbers.content(side, numbers.QUALITY)
    variants = [str(name) for name in side.params.get("predict.variants") or () if name in found]
    variants += [name for name in found if name not in variants]
    made = ({out.path: out.md5 for out in _outs(one.stages.values())} for one in (before, after))
    first, second = made
    return Graph(_ordered(stages), (first, second), tuple(side.metrics), tuple(variants))


def _on(name: str, side: Snapshot) -> bool:
    """Whether an instance of a fan-out is still asked for: DVC takes none out of dvc.lock that was switched off."""
    stage, at, item = name.partition("@")
    lists = [value for key, value in side.params.items() if key.startswith(f"{stage}.") and isinstance(value, list)]
    return not at or not lists or any(item in map(str, value) for value in lists)


def _outs(stages: Iterable[Stage]) -> Iterable[Artifact]:
    return (out for stage in stages for out in stage.outs)


def _ordered(stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """The stages with those that feed them first; dvc.lock's order where that leaves a choice."""
    feeds = {
        name: [other for other, made in stages.items() if other != name and links(made, stage)]
        for name, stage in stages.items()
    }
    found: dict[str, Stage] = {}
    while len(found) < len(stages):
        ready = [name for name in stages if name not in found and all(other in found for other in feeds[name])]
        for name in ready or [name for name in stages if name not in found]:  # a circle cannot run, but can be written
            found[name] = stages[name]
    return found


def links(maker: Stage, reader: Stage) -> list[tuple[str, str]]:
    """(out, dep): what `reader` reads of what `maker` makes, exactly, from within it, or as part of a folder."""
    return [(out.path, dep.path) for out in maker.outs for dep in reader.deps if touches(out.path, dep.path)]


def touches(first: str, second: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    return first == second or first.startswith(f"{second}/") or second.startswith(f"{first}/")


def _readers(graph: Graph, param: str) -> tuple[str, ...]:
    return tuple(name for name, stage in graph.stages.items() if reads(stage, param))


def _brought(graph: Graph, before: Snapshot, after: Snapshot) -> list[tuple[str, tuple[str, ...]]]:
    """Deps that no stage makes and that are no code, where they differ: data that a person put there."""
    sides = [
        {dep.path: dep.md5 for stage in side.stages.values() for dep in stage.deps if not dep.path.startswith(PLACES)}
        for side in (before, after)
    ]
    made = [out.path for out in _outs(graph.stages.values())]
    found = []
    for path in sorted(sides[0].keys() & sides[1].keys()):
        if sides[0][path] != sides[1][path] and not any(touches(path, out) for out in made):
            found.append((path, tuple(n for n, s in graph.stages.items() if any(d.path == path for d in s.deps))))
    return found


def unexplained(graph: Graph, before: Snapshot, known: set[str]) -> list[str]:
    """Stages that made something else of the same params, code and inputs: on another machine, or by chance."""
    found = []
    for name, stage in graph.stages.items():
        old = before.stages.get(name)
        if old is None or name in known:
            continue
        same_inputs = {dep[:2] for dep in old.deps} == {dep[:2] for dep in stage.deps} and old.params == stage.params
        if same_inputs and {out[:2] for out in old.outs} != {out[:2] for out in stage.outs}:
            found.append(name)
    return found


def follow(
    graph: Graph,
    kind: Literal["param", "code", "data", "unexplained"],
    roots: tuple[str, ...],
    starts: tuple[str, ...],
    waits: bool,
) -> Reach:
    """Where a change goes from the stages that read it. waits: it has not run, so every out counts as differing."""
    reached: dict[str, set[str] | None] = dict.fromkeys(starts)  # None: wholly, else only for these entries of a folder
    ends = []
    for name, stage in graph.stages.items():
        if name not in reached:
            continue
        passes = [out for out in stage.outs if waits or graph.made[0].get(out.path) != graph.made[1].get(out.path)]
        if not passes:
            ends.append(name)
        for other, reader in graph.stages.items():
            for out, dep in links(Stage("", (), tuple(passes), ""), reader) if other != name else ():
                _reach(reached, other, out, dep)
    files = tuple(
        path for path in graph.files if any(path == out.path for n in reached for out in graph.stages[n].outs)
    )
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
    within = list(reached)
    found = {name for name in within if any(out.path in graph.files for out in graph.stages[name].outs)}
    while True:
        more = {n for n in within if n not in found and any(links(graph.stages[n], graph.stages[o]) for o in found)}
        if not more:
            return found
        found |= more
