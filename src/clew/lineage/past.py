"""All that ever stood in a dvc.lock, asked for a trace: who made these bytes, who used them, in which commits.

The work tree's dvc.lock, which no commit holds yet, is asked along with it: its blocks have negative numbers.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from clew.history import documents, index, repository
from clew.history.lockfile import Artifact, Stage
from clew.history.repository import WORK_TREE, Commit
from clew.lineage import revision
from clew.lineage.revision import Revision

if TYPE_CHECKING:
    from clew.history.git import Repository

UNCOMMITTED = -1
"""The number that the work tree's dvc.lock has among documents."""
COLUMNS = "a.stage, s.name, a.path, a.md5, a.size, a.nfiles"


class Block(NamedTuple):
    """A dep or an out of a stage's block. number: of the block in the index."""

    number: int
    stage: str
    artifact: Artifact


class Held(NamedTuple):
    """Where blocks stand. commits: oldest first. heads: names of branches, tags and experiments that contain one.

    stale: commits whose dvc.lock keeps a block though their dvc.yaml has its stage no more: they are not in `commits`.
    unsure: those of `commits` whose dvc.yaml does not say whether it has the stage.
    """

    commits: list[Commit]
    heads: list[str]
    uncommitted: bool
    stale: int = 0
    unsure: int = 0


class Past:
    """Questions to all of the history. current: the work tree's revision, or None."""

    def __init__(self, repo: Repository, current: Revision | None) -> None:
        self.repo, self.current = repo, current
        self._revisions: dict[str, Revision] = {}
        self._blocks: dict[int, Stage] = {}
        self._names: dict[int, str] = {}
        self._pipelines: dict[str, tuple[str, ...]] = {}
        self._declared: dict[tuple[str, ...], bool | None] = {}
        self.problem: str | None = None

    @cached_property
    def index(self) -> index.Index | None:
        """The index; None (and a word in `problem`) where it cannot be kept, as on a read-only disk."""
        try:
            return index.open_index(self.repo)
        except (OSError, sqlite3.Error) as error:
            self.problem = f"the history's index cannot be kept ({error}): only the asked revision was searched"
            return None

    @cached_property
    def fresh(self) -> list[tuple[str, Stage]]:
        """The work tree's blocks that no commit has, by -1 - their number."""
        if self.current is None:
            return []
        found = []
        for name, stage in self.current.stages.items():
            if not any(self.stage(number) == stage for number in self._committed(name, stage)):
                found.append((name, stage))
        return found

    def _committed(self, name: str, stage: Stage) -> list[int]:
        out = next((out for out in stage.outs if out.md5), None)
        return [block.number for block in self._select(1, out.md5) if block.stage == name] if out else []

    def made(self, md5: str) -> list[Block]:
        """The blocks that have an out with this MD5."""
        return self._asked(1, md5)

    def used(self, md5: str) -> list[Block]:
        """The blocks that have a dep with this MD5."""
        return self._asked(0, md5)

    def _asked(self, made: int, md5: str) -> list[Block]:
        found = self._select(made, md5)
        for position, (name, stage) in enumerate(self.fresh):
            side = stage.outs if made else stage.deps
            found += [Block(-1 - position, name, artifact) for artifact in side if artifact.md5 == md5]
        return found

    def _select(self, made: int, md5: str) -> list[Block]:
        return self._rows("a.made = ? AND a.md5 = ?", (made, md5))

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Block]:
        if self.index is None:
            return []
        query = f"SELECT {COLUMNS} FROM artifacts a JOIN stages s ON s.id = a.stage WHERE {where}"  # noqa: S608
        rows = self.index.database.execute(query, values)
        return [Block(row[0], row[1], Artifact(*row[2:])) for row in rows if row[0] in self._committed_locks]

    def beginning(self, prefix: str) -> set[str]:
        """Every MD5 of a dep or an out that begins so, without `.dir`."""
        found = [block.artifact for block in self._rows("a.md5 >= ? AND a.md5 < ?", (prefix, f"{prefix}g"))]
        found += [artifact for _name, stage in self.fresh for artifact in (*stage.deps, *stage.outs)]
        return {one.md5.removesuffix(".dir") for one in found if one.md5.startswith(prefix)}

    @cached_property
    def folders_read(self) -> list[Block]:
        """Every dep that is a folder."""
        return self._everywhere(0, folders=True)

    @cached_property
    def folders_made(self) -> list[Block]:
        """Every out that is a folder."""
        return self._everywhere(1, folders=True)

    def at(self, path: str) -> list[Block]:
        """Every out that ever lay at a path."""
        return self._rows("a.made = 1 AND a.path = ?", (path,))

    def naming(self, text: str) -> list[tuple[int, str]]:
        """(number, stage) of every block whose params hold a text."""
        if self.index is None:
            return []
        rows = self.index.database.execute("SELECT id, name FROM stages WHERE instr(params, ?)", (text,))
        return [(number, name) for number, name in rows if number in self._committed_locks]

    def commits(self) -> list[str]:
        """Every commit, parents before children."""
        return [commit.id for commit, _lock in self._commits]

    @cached_property
    def _read_paths(self) -> list[str]:
        """Every path that a committed run read: few, and asked once, for paths have no index."""
        if self.index is None:
            return []
        query = "SELECT DISTINCT path FROM artifacts WHERE made = 0"
        return [path for (path,) in self.index.database.execute(query)]

    def below(self, path: str) -> list[Block]:
        """Every dep below a path."""
        inner = [name for name in self._read_paths if name.startswith(f"{path}/")]
        found = [block for name in inner for block in self._rows("a.made = 0 AND a.path = ?", (name,))]
        fresh = [
            Block(-1 - position, name, dep)
            for position, (name, stage) in enumerate(self.fresh)
            for dep in stage.deps
            if dep.path.startswith(f"{path}/")
        ]
        return found + fresh

    def paths(self) -> set[str]:
        """Every path that was ever made or read."""
        if self.index is None:
            return set()
        return {path for (path,) in self.index.database.execute("SELECT DISTINCT path FROM artifacts")}

    def _everywhere(self, made: int, *, folders: bool) -> list[Block]:
        found = self._rows("a.made = ? AND a.md5 LIKE '%.dir'", (made,)) if folders else []
        for position, (name, stage) in enumerate(self.fresh):
            side = stage.outs if made else stage.deps
            found += [Block(-1 - position, name, one) for one in side if one.md5.endswith(".dir")]
        return found

    def stage(self, number: int) -> Stage:
        """A block, by its number."""
        if number < 0:
            return self.fresh[-1 - number][1]
        if number not in self._blocks and self.index is not None:
            database = self.index.database
            cmd, params = database.execute("SELECT cmd, params FROM stages WHERE id = ?", (number,)).fetchone()
            query = "SELECT made, path, md5, size, nfiles FROM artifacts WHERE stage = ? ORDER BY rowid"
            rows = database.execute(query, (number,)).fetchall()
            deps, outs = (tuple(Artifact(*row[1:]) for row in rows if row[0] == made) for made in (0, 1))
            self._blocks[number] = Stage(cmd, deps, outs, params)
        return self._blocks[number]

    @cached_property
    def locks(self) -> dict[int, frozenset[int]]:
        """Block → the dvc.locks (documents) that it stands in."""
        return self._committed_locks | {-1 - n: frozenset({UNCOMMITTED}) for n in range(len(self.fresh))}

    @cached_property
    def _committed_locks(self) -> dict[int, frozenset[int]]:
        """The same of commits that a head reaches: the index keeps those of deleted branches, too."""
        found = defaultdict(set)
        if self.index is not None:
            query = "SELECT id, content FROM documents WHERE path = ?"
            for document, content in self.index.database.execute(query, (documents.LOCK,)):
                for number in json.loads(content).values() if document in self._with_lock else ():
                    found[number].add(document)
        return {number: frozenset(some) for number, some in found.items()}

    def revision(self, document: int) -> Revision | None:
        """The oldest revision that has a dvc.lock, of those that a head reaches."""
        if document == UNCOMMITTED:
            return self.current
        commits = self._with_lock.get(document, ())
        return self.of_commit(commits[0].id, document) if commits else None

    def of_commit(self, commit: str, document: int | None = None) -> Revision:
        """The revision that is a commit, made once. document: its dvc.lock, whose blocks the index has."""
        if commit not in self._revisions:
            found = repository.resolve(self.repo, commit)
            self._revisions[commit] = revision.of_commit(self.repo, found, known=self._stages(document))
        return self._revisions[commit]

    def _stages(self, document: int | None) -> dict[str, Stage] | None:
        """The stages of a dvc.lock as the index has them: blocks that many locks share are loaded once."""
        if document is None or self.index is None:
            return None
        query = "SELECT content, problem FROM documents WHERE id = ?"
        content, problem = self.index.database.execute(query, (document,)).fetchone()
        return None if problem else {name: self.stage(number) for name, number in json.loads(content).items()}

    def revisions(self, blocks: Iterable[int]) -> list[Revision]:
        """The revisions, oldest first and one a dvc.lock, that have one of the blocks."""
        found = sorted({document for number in blocks for document in self.locks.get(number, ())})
        return [one for document in found if (one := self.revision(document)) is not None]

    @cached_property
    def _commits(self) -> list[tuple[Commit, int | None]]:
        """Every commit that a head reaches with the number of its dvc.lock, parents first."""
        if self.index is None:
            return []
        query = "SELECT id, parents, author, email, time, title, lock FROM commits ORDER BY number"
        rows = self.index.database.execute(query).fetchall()
        bits = self._containing
        return [(Commit(row[0], tuple(row[1].split()), *row[2:6]), row[6]) for row in rows if bits.get(row[0])]

    @cached_property
    def _containing(self) -> dict[str, int]:
        """Commit → bits of the heads (in their order) that contain it."""
        bits: dict[str, int] = defaultdict(int)
        if self.index is None:
            return bits
        for position, head in enumerate(self.index.heads.values()):
            bits[head] |= 1 << position
        for child, parents in self.index.database.execute("SELECT id, parents FROM commits ORDER BY number DESC"):
            for parent in parents.split():
                bits[parent] |= bits[child]
        return bits

    @cached_property
    def _with_lock(self) -> dict[int, list[Commit]]:
        """dvc.lock → the commits that have it, parents first."""
        found = defaultdict(list)
        for commit, lock in self._commits:
            if lock is not None:
                found[lock].append(commit)
        return found

    @cached_property
    def _order(self) -> dict[str, int]:
        return {commit.id: position for position, (commit, _lock) in enumerate(self._commits)}

    def held(self, blocks: Iterable[int], *, stale_too: bool = False) -> Held:
        """The commits whose dvc.lock has one of the blocks (and whose dvc.yaml its stage), and who contains them."""
        stages: dict[int, set[str]] = defaultdict(set)
        for number in blocks:
            for document in self.locks.get(number, ()):
                stages[document].add(self.name(number))
        commits, stale, unsure = [], 0, 0
        for document, asked in stages.items():
            for commit in self._with_lock.get(document, ()):
                said = {True} if stale_too else {self.declared(commit.id, name) for name in asked}
                if said == {False}:
                    stale += 1
                else:
                    commits.append(commit)
                    unsure += True not in said
        commits.sort(key=lambda commit: (commit.time, self._order[commit.id]))
        bits = 0
        for one in commits:
            bits |= self._containing[one.id]
        names = [name for position, name in enumerate(self.index.heads if self.index else ()) if bits >> position & 1]
        others = [name for name in names if name != "HEAD"]
        current = self.current
        fresh = current is not None and any(current.declared(one) is not False for one in stages.get(UNCOMMITTED, ()))
        return Held(commits, others or names, fresh, stale, unsure)

    def declared(self, commit: str, stage: str) -> bool | None:
        """`Revision.declared` of a commit; a dvc.yaml that many commits share is read once."""
        if commit not in self._pipelines:
            tree = repository.tree_of(self.repo, repository.resolve(self.repo, commit))
            self._pipelines[commit] = tuple(tree.blob(path) or "" for path in (documents.PIPELINE, documents.PARAMS))
        key = (*self._pipelines[commit], stage)
        if key not in self._declared:
            at = repository.resolve(self.repo, commit)
            self._declared[key] = revision.of_commit(self.repo, at).declared(stage)
        return self._declared[key]

    def name(self, number: int) -> str:
        """The stage of a block."""
        if number < 0:
            return self.fresh[-1 - number][0]
        if number not in self._names and self.index is not None:
            self._names |= dict(self.index.database.execute("SELECT id, name FROM stages"))
        return self._names.get(number, "")


def open_past(repo: Repository) -> Past:
    """The past of a repository, its work tree's dvc.lock included where that can be read."""
    current = revision.of(repo, WORK_TREE) if repo.workdir else None
    return Past(repo, current if current is not None and current.problem is None else None)
