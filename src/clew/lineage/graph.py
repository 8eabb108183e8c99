"""Who made what a stage read: by path and hash, never by the mere name of an entry in dvc.lock.

A dvc.lock keeps entries of stages that were renamed or switched off, and a run that was stopped leaves new entries
above old ones. So a dep is linked to the out that has its path and its MD5; a folder that several stages fill, to the
outs whose listing gives the folder's MD5; and where this dvc.lock has none, to one anywhere in the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, NamedTuple

from clew.errors import HistoryError
from clew.history.lockfile import Artifact
from clew.history.store import DIR, Member, Store, md5_of
from clew.lineage.past import Past
from clew.lineage.revision import Made, Revision, is_code, listing_md5

How = Literal["exact", "folder", "member", "assumed", "elsewhere", "source", "code", "broken"]
"""exact: same path and MD5. folder, member: proved by a folder's listing. assumed: by path, for the listing is not in
the cache. elsewhere: same path and MD5, in another commit's dvc.lock. source, code: no stage makes it. broken: a stage
should have made it, and none has made these bytes."""
MOST_SUBSETS = 12
"""Outs below one folder up to which every choice of them is tried (4,096 listings)."""


class Link(NamedTuple):
    """What a dep is linked to. note: what the reader must know, or ""."""

    how: How
    made: list[Made]
    note: str


@dataclass
class Node:
    """kind: artifact (a stage made it), source (none did), origin (where it was fetched), run (of a stage), broken."""

    id: str
    kind: Literal["artifact", "source", "origin", "run", "broken"]
    name: str
    facts: dict[str, Any] = field(default_factory=dict)


class Edge(NamedTuple):
    """From what came first to what came of it. via: the folder through which it was read, or ""."""

    start: str
    end: str
    how: How
    via: str
    note: str


class Graph:
    """Nodes by id, and edges in the order in which they were found. roots: ids of what was asked for."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.roots: list[str] = []
        self._known: set[tuple[str, str]] = set()

    def add(self, node: Node) -> bool:
        """Add a node unless it is there; whether it was new."""
        new = node.id not in self.nodes
        self.nodes.setdefault(node.id, node)
        return new

    def join(self, start: str, end: str, how: How = "exact", via: str = "", note: str = "") -> None:
        """Add an edge unless the two are joined."""
        if (start, end) not in self._known:
            self._known.add((start, end))
            self.edges.append(Edge(start, end, how, via, note))

    def before(self, node: str) -> list[Edge]:
        """The edges that end in a node."""
        return [edge for edge in self.edges if edge.end == node]

    def after(self, node: str) -> list[Edge]:
        """The edges that start in a node."""
        return [edge for edge in self.edges if edge.start == node]


class Linker:
    """Links deps to outs. past: of the whole history, asked only where a revision's own dvc.lock is not enough."""

    def __init__(self, past: Past, store: Store) -> None:
        self.past, self.store = past, store
        self.wrong: list[str] = []
        """A word for each file of the cache that is not what its name says."""
        self._listings: dict[str, list[Member] | None] = {}
        self._chosen: dict[tuple[Any, ...], list[Artifact] | None] = {}

    def listing(self, md5: str) -> list[Member] | None:
        """A folder's files; None where the cache lacks its listing or holds something else there."""
        if md5 not in self._listings:
            self._listings[md5] = self._listed(md5) if md5.endswith(DIR) else None
        return self._listings[md5]

    def _listed(self, md5: str) -> list[Member] | None:
        place = self.store.find(md5)
        if place is None:
            return None
        if md5_of(place) + DIR != md5:
            self.wrong.append(f"{place} is not what its name says: it was passed over")
            return None
        try:
            members = self.store.members(md5)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, HistoryError):
            members = [Member("", "")]
        if members is not None and not all(isinstance(part, str) and part for one in members for part in one):
            self.wrong.append(f"{place} is no listing of a folder, as DVC writes them: it was passed over")
            return None
        return members

    def link(self, revision: Revision, stage: str, dep: Artifact) -> Link:
        """What made a dep of a stage's run that stands in a revision's dvc.lock."""
        here = self.within(revision, dep)
        if here is not None and here.how != "broken":
            return here
        if here is None and self._tracked_source(revision, dep):
            return Link("code" if is_code(dep.path, revision.files) else "source", [], "")
        there = self._elsewhere(revision, stage, dep)
        if there is not None:
            return there
        if here is not None:
            return here
        code = is_code(dep.path, revision.files)
        note = "" if revision.files.below(dep.path) else "no stage makes it and git does not keep it"
        return Link("code" if code else "source", [], note)

    def _tracked_source(self, revision: Revision, dep: Artifact) -> bool:
        """Whether no history need be asked: code, or data that git keeps with these very bytes."""
        if is_code(dep.path, revision.files):
            return True
        return bool(revision.files.below(dep.path)) and revision.digest(dep.path) == dep.md5

    def within(self, revision: Revision, dep: Artifact) -> Link | None:
        """The link within one dvc.lock; None where nothing at, below or above the dep's path is made in it."""
        same = [made for made in revision.made if made.out.path == dep.path]
        exact = [made for made in same if made.out.md5 == dep.md5]
        if exact:
            best = revision.live(exact)[:1]
            return Link("exact", best, _stale(best)) if dep.md5 else Link("assumed", best, "DVC recorded no hash of it")
        below = _one_each(revision, [made for made in revision.made if made.out.path.startswith(f"{dep.path}/")])
        if below:
            return self._folder(revision, dep, below)
        above = _one_each(revision, [made for made in revision.made if dep.path.startswith(f"{made.out.path}/")])
        if above:
            return self._member(revision, dep, above)
        if same:
            now = " or ".join(_short(made.out.md5) for made in same)
            return Link("broken", [], f"{dep.path} was {_short(dep.md5)}; what this dvc.lock has made there is {now}")
        return None

    def _folder(self, revision: Revision, dep: Artifact, below: list[Made]) -> Link:
        outs = [made.out for made in below]
        chosen = self.choice(dep, outs)
        unknown = any(self._files(dep.path, out) is None for out in outs)
        if chosen is None and not unknown:
            chosen = self.choice(dep, outs, self._beside(revision, dep.path, outs))
        if chosen is not None:
            best = [made for made in below if made.out in chosen]
            return Link("folder", best, _stale(best))
        if unknown:
            return self._by_size(dep, revision.live(below))
        names = ", ".join(out.path for out in outs)
        return Link("broken", [], f"{dep.path} was {_short(dep.md5)}, which is no choice of {names} as made here")

    def _beside(self, revision: Revision, folder: str, outs: Sequence[Artifact]) -> tuple[Member, ...]:
        """The files that git keeps in a folder beside the outs (a .gitignore, for one)."""
        made = [out.path for out in outs]
        names = [
            name
            for name in revision.files.below(folder)
            if not any(name == path or name.startswith(f"{path}/") for path in made)
        ]
        digests = {name[len(folder) + 1 :]: revision.digest(name) for name in names}
        return tuple(Member(name, md5) for name, md5 in digests.items() if md5)

    def choice(
        self, folder: Artifact, outs: Sequence[Artifact], beside: tuple[Member, ...] = ()
    ) -> list[Artifact] | None:
        """Those outs that fill a folder to just its MD5; None where none do or listings are missing."""
        key = (folder.path, folder.md5, frozenset(outs), beside)
        if key not in self._chosen:
            known = [(out, files) for out in outs if (files := self._files(folder.path, out)) is not None]
            self._chosen[key] = None
            for some in _choices(known):
                files = [member for _out, members in some for member in members]
                if folder.md5 == listing_md5([*files, *beside]):
                    self._chosen[key] = [out for out, _members in some]
                    break
        return self._chosen[key]

    def _files(self, folder: str, out: Artifact) -> list[Member] | None:
        """An out's files by their paths within a folder above it; None where the cache lacks its listing."""
        inner = out.path[len(folder) + 1 :]
        if not out.md5.endswith(DIR):
            return [Member(inner, out.md5)]
        members = self.listing(out.md5)
        return None if members is None else [Member(f"{inner}/{path}", md5) for path, md5 in members]

    def _by_size(self, dep: Artifact, below: Sequence[Made]) -> Link:
        sizes, counts = [made.out.size or 0 for made in below], [made.out.nfiles or 1 for made in below]
        if (sum(sizes), sum(counts)) == (dep.size, dep.nfiles):
            said = "by path: the cache lacks the folders' listings, but bytes and number of files agree"
        else:
            said = "by path alone: the cache lacks the folders' listings, and bytes or number of files differ"
        return Link("assumed", list(below), said)

    def _member(self, revision: Revision, dep: Artifact, above: Sequence[Made]) -> Link:
        unknown = []
        for made in above:
            members = self.listing(made.out.md5)
            inner = dep.path[len(made.out.path) + 1 :]
            if members is None:
                unknown.append(made)
            elif any(path == inner and md5 == dep.md5 for path, md5 in members) or subfolder(members, inner, dep):
                return Link("member", [made], _stale([made]))
        if unknown:
            return Link("assumed", revision.live(unknown)[:1], "by path alone: the cache lacks the folder's listing")
        names = ", ".join(made.out.path for made in above)
        return Link("broken", [], f"{dep.path} was {_short(dep.md5)}, which {names} as made here does not hold")

    def _elsewhere(self, revision: Revision, stage: str, dep: Artifact) -> Link | None:
        """The link through the dvc.lock in which this very run first stood, or to whoever made these bytes there."""
        makers = [block for block in self.past.made(dep.md5) if block.artifact.path == dep.path]
        for other in self.past.revisions(block.number for block in makers):
            made = [one for one in other.made if (one.out.path, one.out.md5) == (dep.path, dep.md5)]
            if made:
                return Link("elsewhere", other.live(made)[:1], f"made in {other.name}, not in {revision.name}")
        own = revision.stages.get(stage)
        users = [b.number for b in self.past.used(dep.md5) if b.stage == stage and self.past.stage(b.number) == own]
        for other in self.past.revisions(users):
            found = self.within(other, dep) if other.commit != revision.commit else None
            if found is not None and found.made:
                return Link("elsewhere", found.made, f"as {stage} found them in {other.name}, where it ran")
        return None


def _one_each(revision: Revision, below: list[Made]) -> list[Made]:
    """What is made below a folder; of entries that made the same bytes at one path, the one that dvc.yaml has."""
    same: dict[Artifact, list[Made]] = {}
    for made in below:
        same.setdefault(made.out, []).append(made)
    return [revision.live(some)[0] for some in same.values()]


def _stale(made: Iterable[Made]) -> str:
    """A word for what only stages made that dvc.yaml no longer has."""
    names = sorted({one.stage for one in made if one.revision.declared(one.stage) is False})
    return f"made by {', '.join(names)}, no longer declared in dvc.yaml" if names else ""


def _choices(
    known: Sequence[tuple[Artifact, list[Member]]],
) -> Iterator[Sequence[tuple[Artifact, list[Member]]]]:
    """All of them first, then fewer and fewer; no two at one path."""
    least = 1 if len(known) <= MOST_SUBSETS else len(known)
    for size in range(len(known), least - 1, -1):
        for some in combinations(known, size):
            if len({out.path for out, _members in some}) == size:
                yield some


def subfolder(members: Iterable[Member], inner: str, dep: Artifact) -> bool:
    """Whether a folder within a folder is the dep."""
    files = [Member(path[len(inner) + 1 :], md5) for path, md5 in members if path.startswith(f"{inner}/")]
    return bool(files) and listing_md5(files) == dep.md5


def _short(md5: str) -> str:
    return md5[:8] + (" (a folder)" if md5.endswith(DIR) else "") if md5 else "without a hash"
