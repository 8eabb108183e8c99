"""The experiments of the history as lines: a commit, its branches, its params and metrics.

A line is a commit that changed a param or a metric against its first parent, or may have done so at the edge of a
shallow clone; the first may be the work tree.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.history import documents, repository, snapshot
from clew.history.index import Entry, Index
from clew.history.repository import WORK_TREE, Commit

if TYPE_CHECKING:
    from clew.history.git import Repository

BARS = "▁▂▃▄▅▆▇█"


def is_number(value: Any) -> bool:
    """Whether a value can be ordered and drawn: finite, and not true or false."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class Line(NamedTuple):
    """commit: None for the work tree. labels: branches, tags and experiments that point at it.

    values: params by name and metrics by file:name. changed: params that differ from the first parent's, old and new.
    at_edge: the first parent is not in this clone, so that nobody can tell what the commit changed.
    """

    commit: Commit | None
    labels: tuple[str, ...]
    values: Mapping[str, Any]
    changed: Mapping[str, tuple[Any, Any]]
    at_edge: bool = False


def chosen(index: Index, starts: Sequence[str] | None = None) -> list[Entry]:
    """The commits that changed a param or a metric, newest first. starts: ids to look below; None: every head."""
    entries = [entry for entry in index.entries(starts) if entry.changed]
    number = {entry.commit.id: place for place, entry in enumerate(entries)}
    return sorted(entries, key=lambda entry: (entry.commit.time, number[entry.commit.id]), reverse=True)


def known(index: Index, entries: Sequence[Entry]) -> list[str]:
    """The names of the params and metrics that any of these commits has."""
    params = {entry.params for entry in entries if entry.params is not None}
    metrics = {number for entry in entries for number in entry.metrics}
    paths = index.paths(list(metrics))
    found: dict[str, None] = {}
    for number, content in index.contents([*params, *metrics]).items():
        found.update(dict.fromkeys(named(paths[number], content) if number in metrics else content))
    return list(found)


def column(index: Index, entries: Sequence[Entry], name: str) -> list[Any]:
    """The value of a param or metric (by its full name) in each of these commits; None where it has none."""
    path, _, own = name.rpartition(":")
    values = index.column(path or documents.PARAMS, own)
    return [
        next((values[number] for number in ((entry.params,) if not path else entry.metrics) if number in values), None)
        for entry in entries
    ]


def lines(index: Index, entries: Iterable[Entry]) -> list[Line]:
    """The lines of commits, in their order."""
    entries = list(entries)
    labels = defaultdict(list)
    for name, commit in index.heads.items():
        if name != "HEAD":
            labels[commit].append(name)
    parents = index.states([entry.commit.parents[0] for entry in entries if entry.commit.parents])
    wanted = [n for entry in entries for n in (entry.params, *entry.metrics) if n is not None]
    contents = index.contents([*wanted, *(params for params in parents.values() if params is not None)])
    paths = index.paths([number for entry in entries for number in entry.metrics])
    found = []
    for entry in entries:
        params = contents.get(entry.params or 0, {})
        values = dict(params)
        for number in entry.metrics:
            values |= named(paths[number], contents[number])
        parent = parents.get(entry.commit.parents[0]) if entry.commit.parents else None
        before = contents.get(parent, {}) if parent is not None else None
        changed = {} if before is None else documents.differing(before, params)
        at_edge = bool(entry.commit.parents) and entry.commit.parents[0] not in parents
        found.append(Line(entry.commit, tuple(labels[entry.commit.id]), values, changed, at_edge))
    return found


def work_tree(repo: Repository) -> Line | None:
    """The work tree's line; None where its params and metrics are those of HEAD, or there is no work tree."""
    if not repo.workdir or repository.head(repo) is None:
        return None
    here, head = snapshot.take(repo, WORK_TREE), snapshot.take(repo, "HEAD")
    if (here.params, here.metrics) == (head.params, head.metrics):
        return None
    values = dict(here.params)
    for path, content in here.metrics.items():
        values |= named(path, content)
    return Line(None, (), values, documents.differing(head.params, here.params))


def named(path: str, content: documents.Flat) -> documents.Flat:
    """A metrics file's names in full."""
    return {f"{path}:{name}": value for name, value in content.items()}


def sparkline(values: Sequence[float | None]) -> str:
    """Finite numbers as a line of bars, lowest to highest; a dot where there is none.

    >>> sparkline([1, None, 2, 3])
    '▁·▄█'
    """
    numbers = [value for value in values if value is not None]
    if not numbers:
        return "·" * len(values)
    low, span = min(numbers), (max(numbers) - min(numbers)) or 1
    top = len(BARS) - 1
    return "".join("·" if value is None else BARS[int((value - low) / span * top)] for value in values)
