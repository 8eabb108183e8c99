"""The commits of all history with the files that hold their rows, and a row's story told commit by commit.

[a1, a2, a3, b1] with the stories [kept, kept, dropped, kept]  →  [Run(kept, a1…a2), Run(dropped, a3), …]
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clew.history.documents import LOCK
from clew.history.index import Entry, Index
from clew.history.lockfile import Artifact, Stage
from clew.history.repository import Commit
from clew.lineage import data_chain
from clew.lineage.data_chain import Chain

if TYPE_CHECKING:
    from clew.lineage.rowsets import RowSets

S = TypeVar("S")


@dataclass(frozen=True)
class At:
    """A commit and its chain. commit: None for the work tree. problem: why its dvc.lock could not be read."""

    commit: Commit | None
    chain: Chain
    problem: str | None = None


@dataclass(frozen=True)
class Run(Generic[S]):
    """Commits that hang together by parenthood and have one story, oldest first.

    heads: branches, tags and experiments that stand at one of them; within: those that contain one.
    """

    story: S
    commits: tuple[At, ...]
    heads: tuple[str, ...]
    within: tuple[str, ...]


def commits(index: Index, sets: RowSets, starts: Iterable[str] | None) -> list[At]:
    """The commits that `starts` (ids; None: all heads) reach, the oldest first, with their chains."""
    entries = _by_time(index.entries(starts))
    locks = {entry.lock for entry in entries if entry.lock is not None}
    chains, problems = _chains(index, sets, locks), index.problems(sorted(locks))
    return [_at(entry, chains, problems) for entry in entries]


def _by_time(entries: Sequence[Entry]) -> list[Entry]:
    """Entries whose parents come first, in the order of their times; one that a clock dates before its parents is taken
    to be as old as the youngest of them.
    """
    times: dict[str, int] = {}
    for entry in entries:
        before = (times.get(parent, 0) for parent in entry.commit.parents)
        times[entry.commit.id] = max((entry.commit.time, *before))
    return sorted(entries, key=lambda entry: times[entry.commit.id])


def _at(entry: Entry, chains: Mapping[int, Chain], problems: Mapping[int, str]) -> At:
    if entry.lock is None:
        return At(entry.commit, Chain())
    return At(entry.commit, chains[entry.lock], problems.get(entry.lock))


def _chains(index: Index, sets: RowSets, locks: set[int]) -> dict[int, Chain]:
    """The chain of each dvc.lock, by its document; noted under git's id, for a chain that is whole never changes."""
    blobs = dict(index.database.execute("SELECT id, blob FROM documents WHERE path = ?", (LOCK,)).fetchall())
    keys = {document: f"chain {blobs[document]}" for document in locks}
    noted = sets.noted(list(keys.values()))
    found = {document: _from_note(noted[key]) for document, key in keys.items() if key in noted}
    new = {document: data_chain.chain(stages, index.maker) for document, stages in _stages(index, locks - found.keys())}
    sets.note({keys[document]: asdict(chain) for document, chain in new.items() if not chain.broken})
    return found | new


def _from_note(note: Mapping[str, Any]) -> Chain:
    try:
        names = ("ledgers", "models", "fed", "elsewhere")
        pairs: dict[str, Any] = {name: tuple((one, md5) for one, md5 in note[name]) for name in names}
        return Chain(rows=note["rows"], splits=note["splits"], train=note["train"], **pairs)
    except (KeyError, TypeError, ValueError):
        raise sqlite3.DatabaseError("a note that cannot be read") from None


def _stages(index: Index, locks: set[int]) -> Iterator[tuple[int, dict[str, Stage]]]:
    """(document, its stages), with those deps and outs only that lie in data/ and models/."""
    if not locks:
        return
    sides: dict[int, tuple[list[Artifact], list[Artifact]]] = {}
    query = (
        "SELECT stage, made, path, md5 FROM artifacts"
        " WHERE path LIKE 'data/%' OR path LIKE 'models/%' ORDER BY stage, rowid"
    )
    for stage, made, path, md5 in index.database.execute(query):
        sides.setdefault(stage, ([], []))[made].append(Artifact(path, md5, None, None))
    stages = {number: Stage("", tuple(deps), tuple(outs), "") for number, (deps, outs) in sides.items()}
    for document, content in index.contents(sorted(locks)).items():
        yield document, {name: stages[number] for name, number in content.items() if number in stages}


def runs(history: Sequence[At], stories: Sequence[S], heads: Mapping[str, str]) -> list[Run[S]]:
    """Commits grouped where parent and child have the same story; the group that was told of last comes last."""
    numbers = {at.commit.id: number for number, at in enumerate(history) if at.commit is not None}
    group = list(range(len(history)))

    def root(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    for number, at in enumerate(history):
        for parent in at.commit.parents if at.commit else ():
            before = numbers.get(parent)
            if before is not None and stories[before] == stories[number]:
                group[root(number)] = root(before)
    members: dict[int, list[int]] = {}
    for number in range(len(history)):
        members.setdefault(root(number), []).append(number)
    names = list(heads)
    containing = _containing(history, numbers, [heads[name] for name in names])
    ordered = sorted(members.values(), key=lambda some: some[-1])
    return [_run(history, stories, some, heads, names, containing) for some in ordered]


def _run(
    history: Sequence[At],
    stories: Sequence[S],
    members: list[int],
    heads: Mapping[str, str],
    names: list[str],
    containing: list[int],
) -> Run[S]:
    ids = {at.commit.id for at in (history[number] for number in members) if at.commit is not None}
    bits = 0
    for number in members:
        bits |= containing[number]
    return Run(
        stories[members[0]],
        tuple(history[number] for number in members),
        tuple(name for name, commit in heads.items() if commit in ids),
        tuple(name for position, name in enumerate(names) if bits >> position & 1),
    )


def _containing(history: Sequence[At], numbers: Mapping[str, int], tips: Sequence[str]) -> list[int]:
    """For each commit the bits of the heads that contain it."""
    bits = [0] * len(history)
    for position, tip in enumerate(tips):
        if tip in numbers:
            bits[numbers[tip]] |= 1 << position
    for number in range(len(history) - 1, -1, -1):
        commit = history[number].commit
        for parent in commit.parents if commit else ():
            if parent in numbers:
                bits[numbers[parent]] |= bits[number]
    return bits
