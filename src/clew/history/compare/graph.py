"""The stages of dvc.lock as a graph: what feeds what, exactly, from within a folder, or as part of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from clew.history.compare import numbers
from clew.history.lockfile import Artifact, Stage
from clew.history.snapshot import Snapshot


class Link(NamedTuple):
    """`reader` reads `dep`, which is `out`, lies in it, or holds it."""

    reader: str
    out: Artifact
    dep: str


class Graph(NamedTuple):
    """stages: in the pipeline's order, those switched off left out. made: path → md5 on each side.

    feeds: stage → what others read of what it makes.
    """

    stages: Mapping[str, Stage]
    made: tuple[Mapping[str, str], Mapping[str, str]]
    files: tuple[str, ...]
    variants: tuple[str, ...]
    feeds: Mapping[str, tuple[Link, ...]]


class Outs:
    """What the stages make, by path, so that no path is held against every other."""

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self.at: dict[str, list[tuple[str, Artifact]]] = {}
        self.below: dict[str, list[tuple[str, Artifact]]] = {}
        for name, stage in stages.items():
            for out in stage.outs:
                self.at.setdefault(out.path, []).append((name, out))
                for folder in folders(out.path):
                    self.below.setdefault(folder, []).append((name, out))

    def touching(self, path: str) -> Iterator[tuple[str, Artifact]]:
        """(stage, out) of every out that is the path, lies in it, or holds it."""
        for place in (path, *folders(path)):
            yield from self.at.get(place, ())
        yield from self.below.get(path, ())


def folders(path: str) -> Iterator[str]:
    """The folders that a path lies in, the nearest first.

    >>> list(folders("data/rows/a.parquet"))
    ['data/rows', 'data']
    """
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def draw(before: Snapshot, after: Snapshot) -> Graph:
    """The graph of the later side, or of the earlier where the later has no dvc.lock that can be read."""
    side = after if after.stages else before
    stages = {name: stage for name, stage in side.stages.items() if _on(name, side)}
    found = numbers.content(side, numbers.QUALITY)
    variants = [str(name) for name in side.params.get("predict.variants") or () if name in found]
    variants += [name for name in found if name not in variants]
    made = ({out.path: out.md5 for out in outs(one.stages.values())} for one in (before, after))
    first, second = made
    feeds = links(stages)
    return Graph(ordered(stages, feeds), (first, second), tuple(side.metrics), tuple(variants), feeds)


def _on(name: str, side: Snapshot) -> bool:
    """Whether an instance of a fan-out is still asked for: DVC takes none out of dvc.lock that was switched off."""
    stage, at, item = name.partition("@")
    lists = [value for key, value in side.params.items() if key.startswith(f"{stage}.") and isinstance(value, list)]
    return not at or not lists or any(item in map(str, value) for value in lists)


def outs(stages: Iterable[Stage]) -> Iterable[Artifact]:
    """What the stages make."""
    return (out for stage in stages for out in stage.outs)


def links(stages: Mapping[str, Stage]) -> dict[str, tuple[Link, ...]]:
    """Stage → what the others read of what it makes."""
    made = Outs(stages)
    found: dict[str, list[Link]] = {name: [] for name in stages}
    for reader, stage in stages.items():
        for dep in stage.deps:
            for maker, out in made.touching(dep.path):
                if maker != reader:
                    found[maker].append(Link(reader, out, dep.path))
    return {name: tuple(of) for name, of in found.items()}


def ordered(stages: Mapping[str, Stage], feeds: Mapping[str, Iterable[Link]]) -> dict[str, Stage]:
    """The stages with those that feed them first; dvc.lock's order where that leaves a choice."""
    readers = {name: list(dict.fromkeys(link.reader for link in feeds[name])) for name in stages}
    missing = dict.fromkeys(stages, 0)
    for name in stages:
        for reader in readers[name]:
            missing[reader] += 1
    depth = dict.fromkeys((name for name in stages if not missing[name]), 0)
    ready = list(depth)
    for name in ready:
        for reader in readers[name]:
            missing[reader] -= 1
            if not missing[reader]:
                depth[reader] = depth[name] + 1
                ready.append(reader)
    last = len(stages)  # a circle cannot run, but can be written
    return {name: stages[name] for name in sorted(stages, key=lambda name: depth.get(name, last))}
