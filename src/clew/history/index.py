"""The history in one file that can be asked: what each commit's params, metrics and dvc.lock say.

It lies in `.clew/history.sqlite` (for a bare repository in clew's cache), holds nothing that git does not, and is
keyed by git's own ids: a file that many commits share is read once, a stage's block that many locks share is parsed
once. `open_index` brings it up to date, which for a new commit is one commit's reading. A damaged one, or one of
another version of clew, is made anew. Several processes may use it at once (SQLite's locks).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from clew.errors import HistoryError
from clew.history import lockfile, repository, writer
from clew.history.documents import Flat
from clew.history.repository import Commit

if TYPE_CHECKING:
    from clew.history.git import Repository

T = TypeVar("T")
WAIT = 60  # seconds, for another process that brings the index up to date


class Entry(NamedTuple):
    """A commit with the documents that it has. changed: params or metrics differ from its first parent's.

    pipeline: a document that tells why dvc.yaml could not be read; None where it could.
    """

    commit: Commit
    params: int | None
    lock: int | None
    metrics: tuple[int, ...]
    changed: bool
    pipeline: int | None = None

    @property
    def documents(self) -> tuple[int, ...]:
        """The numbers of all documents that it has."""
        return tuple(one for one in (self.params, self.lock, self.pipeline, *self.metrics) if one is not None)


class NotKept(HistoryError, sqlite3.OperationalError):  # noqa: N818 - what it is about, as users read it
    """The index's file cannot be written or is held by another process; the message says what to do."""


class Damaged(HistoryError):  # noqa: N818 - as above
    """The index was found damaged at a question. It is removed by then: whoever asks again gets a new one."""

    def __init__(self, place: Path) -> None:
        super().__init__("the index was damaged and is removed", where=str(place), fix="Ask again: it is made anew.")


def ask(repo: Repository, question: Callable[[Index], T]) -> T:
    """What `question` makes of the index; asked again, of a new one, where a damage is met in between.

    The numbers of documents are other ones then: nothing that was found the first time may be kept.
    """
    for last in (False, True):
        with closing(open_index(repo)) as index:
            try:
                return question(index)
            except Damaged:
                if last:
                    raise
    raise AssertionError("unreachable")


def open_index(repo: Repository) -> Index:
    """The index of a repository, brought up to date with all of its branches, tags and experiments.

    Raises NotKept; a question to it may raise Damaged (see `ask`).
    """
    place = _place(repo)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if repo.workdir and not (ignore := place.parent / ".gitignore").exists():
            ignore.write_text("*\n")
        try:
            return _updated(repo, place)
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or place.is_dir():
                raise
        except sqlite3.DatabaseError:
            pass
        _remove(place)
        return _updated(repo, place)
    except (OSError, sqlite3.Error) as error:
        raise _not_kept(place, error) from None


def _not_kept(place: Path, error: Exception) -> NotKept:
    fix = "Let this user write there, and see that there is space; it is derived, and may be deleted."
    if "locked" in str(error):
        fix = "Another process holds it: wait for it, or end it."
    said = getattr(error, "strerror", None) or error
    return NotKept(f"the history's index cannot be kept ({said})", where=str(place), fix=fix)


def _place(repo: Repository) -> Path:
    if repo.workdir:
        return Path(repo.workdir) / ".clew" / "history.sqlite"
    import hashlib

    from clew.sources import cache

    return cache.root() / "history" / f"{hashlib.sha256(repo.path.encode()).hexdigest()[:16]}.sqlite"


def _remove(place: Path) -> None:
    for path in (place, place.with_name(place.name + "-journal")):
        path.unlink(missing_ok=True)


def _updated(repo: Repository, place: Path) -> Index:
    database = sqlite3.connect(place, timeout=WAIT, isolation_level=None, factory=_Connection)
    try:
        database.execute("PRAGMA synchronous = OFF")  # it can be made again
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, writer.VERSION):
            raise sqlite3.DatabaseError("an index of another version")
        heads = repository.heads(repo)
        index = Index(database, heads)
        new = not found or any(index.number(head) is None for head in heads.values())
        if new or not writer.is_current(repo, database):
            writer.bring_up_to_date(repo, database, heads.values())
        database.place = place
    except BaseException:
        database.close()
        raise
    return index


class _Cursor(sqlite3.Cursor):
    """Turns a damage that is met at a question into `Damaged`."""

    def execute(self, *arguments: Any) -> Any:
        return self._guarded(super().execute, *arguments)

    def fetchone(self) -> Any:
        return self._guarded(super().fetchone)

    def fetchall(self) -> list[Any]:
        return list(self._guarded(super().fetchall))

    def __next__(self) -> Any:
        return self._guarded(super().__next__)

    def _guarded(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except sqlite3.DatabaseError as error:
            place = getattr(self.connection, "place", None)
            if place is None or not _is_damage(error):
                raise
            _remove(place)
            raise Damaged(place) from None


class _Connection(sqlite3.Connection):
    """place: the file, set when it is up to date and questions begin."""

    place: Path | None = None

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, *arguments: Any) -> Any:  # the inherited one takes no cursor of ours
        return self.cursor().execute(*arguments)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    said = str(error)
    return type(error) is sqlite3.DatabaseError or any(word in said for word in ("malformed", "no such", "Could not"))


class Index:
    """Questions to the index. heads: short name → commit of every branch, tag and experiment, and of HEAD."""

    def __init__(self, database: sqlite3.Connection, heads: Mapping[str, str]) -> None:
        self.database, self.heads = database, dict(heads)

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def number(self, commit: str) -> int | None:
        """A commit's number in the index; None where it is not in it."""
        with suppress(sqlite3.OperationalError):  # a file without tables yet
            row = self.database.execute("SELECT number FROM commits WHERE id = ?", (commit,)).fetchone()
            return int(row[0]) if row else None
        return None

    def entries(self, starts: Iterable[str] | None = None) -> list[Entry]:
        """The commits that `starts` (ids; None: every head) reach, parents before children."""
        rows = self.database.execute("SELECT id, parents FROM commits").fetchall()
        parents = {name: text.split() for name, text in rows}
        waiting = list(self.heads.values() if starts is None else starts)
        reached: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in reached and name in parents:
                reached.add(name)
                waiting += parents[name]
        columns = "id, parents, author, email, time, title, params, lock, metrics, changed, pipeline"
        rows = self.database.execute(f"SELECT {columns} FROM commits ORDER BY number").fetchall()  # noqa: S608
        return [_entry(row) for row in rows if row[0] in reached]

    def states(self, commits: Iterable[str]) -> dict[str, int | None]:
        """The params document of each of these commits that is in the index."""
        wanted = sorted(set(commits))
        query = "SELECT id, params FROM commits WHERE id = ?"
        rows = (self.database.execute(query, (name,)).fetchone() for name in wanted)
        return {row[0]: row[1] for row in rows if row}

    def contents(self, numbers: Sequence[int]) -> dict[int, Flat]:
        """What documents say, by their numbers."""
        return {number: json.loads(text) for number, text in self._select("documents", "id, content", numbers)}

    def column(self, path: str, name: str) -> dict[int, Any]:
        """The value under a dotted name in every document of a file, by document; a list as its JSON text."""
        if not name.isprintable() or '"' in name or "\\" in name:  # SQLite's paths cannot quote these
            rows = self.database.execute("SELECT id, content FROM documents WHERE path = ?", (path,))
            return {number: value for number, text in rows if (value := json.loads(text).get(name)) is not None}
        query = "SELECT id, json_extract(content, ?) AS value FROM documents WHERE path = ? AND value IS NOT NULL"
        return dict(self.database.execute(query, (f'$."{name}"', path)).fetchall())

    def problems(self, numbers: Sequence[int]) -> dict[int, str]:
        """Why documents could not be read, by their numbers: those only where that is so."""
        rows = self._select("documents", "id, path, problem", numbers)
        return {number: f"{path}: {problem}" for number, path, problem in rows if problem}

    def problems_of(self, entries: Iterable[Entry]) -> dict[str, list[str]]:
        """What of each commit could not be read, by its id: those only that have something. Quick for any number."""
        query = "SELECT id, path, problem FROM documents WHERE problem IS NOT NULL"
        unread = {number: f"{path}: {problem}" for number, path, problem in self.database.execute(query)}
        told = ((entry.commit.id, [unread[n] for n in entry.documents if n in unread]) for entry in entries)
        return {commit: lines for commit, lines in told if lines}

    def paths(self, numbers: Sequence[int]) -> dict[int, str]:
        """The files that documents were, by their numbers."""
        return dict(self._select("documents", "id, path", numbers))

    def maker(self, path: str, md5: str) -> lockfile.Stage | None:
        """A stage's block, without its params, that made `path` with this md5 in some commit; None for nobody."""
        query = "SELECT stage FROM artifacts WHERE made = 1 AND md5 = ? AND path = ? LIMIT 1"
        row = self.database.execute(query, (md5, path)).fetchone()
        if row is None:
            return None
        query = "SELECT made, path, md5, size, nfiles FROM artifacts WHERE stage = ? ORDER BY rowid"
        found = self.database.execute(query, row).fetchall()
        deps, outs = (tuple(lockfile.Artifact(*one[1:]) for one in found if one[0] == made) for made in (0, 1))
        return lockfile.Stage("", deps, outs, "")

    def _select(self, table: str, columns: str, numbers: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        wanted = sorted(set(numbers))
        for start in range(0, len(wanted), 500):
            some = wanted[start : start + 500]
            marks = ",".join("?" * len(some))
            yield from self.database.execute(f"SELECT {columns} FROM {table} WHERE id IN ({marks})", some)  # noqa: S608


def _entry(row: Sequence[Any]) -> Entry:
    commit = Commit(row[0], tuple(row[1].split()), row[2], row[3], row[4], row[5])
    return Entry(commit, row[6], row[7], tuple(json.loads(row[8])), bool(row[9]), row[10])
