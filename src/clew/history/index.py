"""The history in one file that can be asked: what each commit's params, metrics and dvc.lock say.

It lies in `.clew/history.sqlite` (for a bare repository in clew's cache), holds nothing that git does not, and is
keyed by git's own ids: a file that many commits share is read once, a stage's block that many locks share is parsed
once. `open_index` brings it up to date, which for a new commit is one commit's reading. A damaged one, or one of
another version of clew, is made anew. Several processes may use it at once (SQLite's locks).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.history import documents, lockfile, repository
from clew.history.documents import Flat
from clew.history.repository import Commit

if TYPE_CHECKING:
    import pygit2

VERSION = 1
"""Of the tables below: raise it when what they hold changes meaning."""

TABLES = """
CREATE TABLE commits (
  number INTEGER PRIMARY KEY,      -- parents have lower numbers than their children
  id TEXT NOT NULL UNIQUE, parents TEXT NOT NULL, author TEXT, email TEXT, time INTEGER, title TEXT,
  params INTEGER, lock INTEGER,    -- documents, or null where the commit has no such file
  metrics TEXT NOT NULL,           -- JSON list of documents
  changed INTEGER NOT NULL         -- whether params or metrics differ from those of the first parent
);
CREATE TABLE documents (
  id INTEGER PRIMARY KEY, blob TEXT NOT NULL, path TEXT NOT NULL,
  content TEXT NOT NULL,           -- JSON: dotted name → value; of a dvc.lock, stage → number in `stages`
  problem TEXT,                    -- why it could not be read
  UNIQUE (blob, path));
CREATE TABLE stages (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT, cmd TEXT, params TEXT);
CREATE TABLE artifacts (stage INTEGER, made INTEGER, path TEXT, md5 TEXT, size INTEGER, nfiles INTEGER);
CREATE INDEX artifacts_by_stage ON artifacts (stage);
CREATE INDEX artifacts_by_md5 ON artifacts (md5);
"""
WAIT = 60  # seconds, for another process that brings the index up to date


class Entry(NamedTuple):
    """A commit with the documents that it has. changed: params or metrics differ from its first parent's."""

    commit: Commit
    params: int | None
    lock: int | None
    metrics: tuple[int, ...]
    changed: bool


def open_index(repo: pygit2.Repository) -> Index:
    """The index of a repository, brought up to date with all of its branches, tags and experiments."""
    place = _place(repo)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _updated(repo, place)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
    except sqlite3.DatabaseError:
        pass
    _remove(place)
    return _updated(repo, place)


def _place(repo: pygit2.Repository) -> Path:
    if repo.workdir:
        return Path(repo.workdir) / ".clew" / "history.sqlite"
    from clew.sources import cache

    return cache.root() / "history" / f"{hashlib.sha256(repo.path.encode()).hexdigest()[:16]}.sqlite"


def _remove(place: Path) -> None:
    for path in (place, place.with_name(place.name + "-journal")):
        path.unlink(missing_ok=True)


def _updated(repo: pygit2.Repository, place: Path) -> Index:
    database = sqlite3.connect(place, timeout=WAIT, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = OFF")  # it can be made again
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, VERSION):
            raise sqlite3.DatabaseError("an index of another version")
        heads = repository.heads(repo)
        index = Index(database, heads)
        if not found or any(index.number(head) is None for head in heads.values()):
            _bring_up_to_date(repo, database, heads.values())
    except BaseException:
        database.close()
        raise
    return index


def _bring_up_to_date(repo: pygit2.Repository, database: sqlite3.Connection, heads: Iterable[str]) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        if not database.execute("PRAGMA user_version").fetchone()[0]:
            for statement in TABLES.split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
        _Writer(repo, database).add(heads)
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


class _Writer:
    """Reads commits into the tables, within one transaction."""

    def __init__(self, repo: pygit2.Repository, database: sqlite3.Connection) -> None:
        self.repo, self.database = repo, database
        self.numbers: dict[tuple[str, str], int] = {}  # (blob, path) → document
        self.blocks: dict[bytes, int] = {}  # digest of a stage's block → number in `stages`
        self.metric_paths: dict[tuple[str, int | None], list[str]] = {}
        self.state: dict[str, tuple[Any, ...]] = {}  # commit → its documents

    def add(self, heads: Iterable[str]) -> None:
        for commit in repository.walk(self.repo, heads, self._is_known):
            self._add(commit)

    def _is_known(self, commit: str) -> bool:
        return self.database.execute("SELECT 1 FROM commits WHERE id = ?", (commit,)).fetchone() is not None

    def _add(self, commit: pygit2.Commit) -> None:
        words = repository.described(commit)
        tree = repository.Tree(self.repo, commit.tree)
        params = self._document(tree, documents.PARAMS, tree.blob(documents.PARAMS))
        lock = self._document(tree, documents.LOCK, tree.blob(documents.LOCK))
        metrics = tuple(
            document
            for declared in self._metric_paths(tree, params)
            for path, blob in tree.files(declared).items()
            if (document := self._document(tree, path, blob)) is not None
        )
        state = (params, metrics)
        self.state[words.id] = state
        before = self._state_of(words.parents[0]) if words.parents else (None, ())
        self.database.execute(
            "INSERT INTO commits (id, parents, author, email, time, title, params, lock, metrics, changed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(words.id, " ".join(words.parents), words.author, words.email, words.time, words.title),
                *(params, lock, json.dumps(metrics), state != before),
            ),
        )

    def _state_of(self, commit: str) -> tuple[Any, ...]:
        if commit not in self.state:
            row = self.database.execute("SELECT params, metrics FROM commits WHERE id = ?", (commit,)).fetchone()
            self.state[commit] = (row[0], tuple(json.loads(row[1]))) if row else (None, ())
        return self.state[commit]

    def _metric_paths(self, tree: repository.Tree, params: int | None) -> list[str]:
        blob = tree.blob(documents.PIPELINE)
        if blob is None:
            return []
        for key in ((blob, None), (blob, params)):
            if key in self.metric_paths:
                return self.metric_paths[key]
        text = tree.read(blob)
        try:
            found = documents.metric_paths(text, self._content(params))
        except documents.Unreadable:
            found = []
        self.metric_paths[blob, params if "${" in text else None] = found
        return found

    def _content(self, document: int | None) -> Flat:
        row = self.database.execute("SELECT content FROM documents WHERE id = ?", (document,)).fetchone()
        found: Flat = json.loads(row[0]) if row else {}
        return found

    def _document(self, tree: repository.Tree, path: str, blob: str | None) -> int | None:
        """The number of a file's document, read and kept if it is new."""
        if blob is None:
            return None
        if (blob, path) not in self.numbers:
            query = "SELECT id FROM documents WHERE blob = ? AND path = ?"
            row = self.database.execute(query, (blob, path)).fetchone()
            self.numbers[blob, path] = row[0] if row else self._read(tree, path, blob)
        return self.numbers[blob, path]

    def _read(self, tree: repository.Tree, path: str, blob: str) -> int:
        content: Mapping[str, Any] = {}
        problem = None
        try:
            text = tree.read(blob)
            if path == documents.LOCK:
                content = {name: self._stage(name, block) for name, block in lockfile.cut(text).items()}
            else:
                content = documents.params(text) if path == documents.PARAMS else documents.metrics(path, text)
        except (lockfile.LockError, documents.Unreadable) as error:
            problem = str(error)
        cursor = self.database.execute(
            "INSERT INTO documents (blob, path, content, problem) VALUES (?, ?, ?, ?)",
            (blob, path, json.dumps(content, default=str, separators=(",", ":")), problem),
        )
        return int(cursor.lastrowid or 0)

    def _stage(self, name: str, block: str) -> int:
        digest = hashlib.blake2b(f"{name}\0{block}".encode(), digest_size=16).digest()
        if digest not in self.blocks:
            row = self.database.execute("SELECT id FROM stages WHERE digest = ?", (digest,)).fetchone()
            self.blocks[digest] = row[0] if row else self._parse(name, block, digest)
        return self.blocks[digest]

    def _parse(self, name: str, block: str, digest: bytes) -> int:
        stage = lockfile.parse(block)
        insert = "INSERT INTO stages (digest, name, cmd, params) VALUES (?, ?, ?, ?)"
        number = int(self.database.execute(insert, (digest, name, stage.cmd, stage.params)).lastrowid or 0)
        self.database.executemany(
            "INSERT INTO artifacts (stage, made, path, md5, size, nfiles) VALUES (?, ?, ?, ?, ?, ?)",
            [(number, made, *artifact) for made, side in enumerate((stage.deps, stage.outs)) for artifact in side],
        )
        return number


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
        columns = "id, parents, author, email, time, title, params, lock, metrics, changed"
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
        if '"' in name or "\\" in name:  # SQLite's paths cannot quote these
            rows = self.database.execute("SELECT id, content FROM documents WHERE path = ?", (path,))
            return {number: value for number, text in rows if (value := json.loads(text).get(name)) is not None}
        query = "SELECT id, json_extract(content, ?) AS value FROM documents WHERE path = ? AND value IS NOT NULL"
        return dict(self.database.execute(query, (f'$."{name}"', path)).fetchall())

    def problems(self, numbers: Sequence[int]) -> dict[int, str]:
        """Why documents could not be read, by their numbers: those only where that is so."""
        rows = self._select("documents", "id, path, problem", numbers)
        return {number: f"{path}: {problem}" for number, path, problem in rows if problem}

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
    return Entry(commit, row[6], row[7], tuple(json.loads(row[8])), bool(row[9]))
