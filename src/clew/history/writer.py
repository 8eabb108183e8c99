"""The writer of the history's index: commits into tables, each file and each stage's block once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clew.history import blocks, documents, lockfile, repository
from clew.history.documents import Flat
from clew.history.repository import Raw, Tree

if TYPE_CHECKING:
    from clew.history.git import Repository

VERSION = 2
"""Of the tables below: raise it when what they hold changes meaning."""

TABLES = """
CREATE TABLE commits (
  number INTEGER PRIMARY KEY,      -- parents have lower numbers than their children
  id TEXT NOT NULL UNIQUE, parents TEXT NOT NULL, author TEXT, email TEXT, time INTEGER, title TEXT,
  params INTEGER, lock INTEGER,    -- documents, or null where the commit has no such file
  pipeline INTEGER,                -- a document that tells why dvc.yaml could not be read; null where it could
  metrics TEXT NOT NULL,           -- JSON list of documents
  changed INTEGER NOT NULL         -- whether params or metrics differ from those of the first parent
);
CREATE TABLE documents (
  id INTEGER PRIMARY KEY, blob TEXT NOT NULL, path TEXT NOT NULL,
  content TEXT NOT NULL,           -- JSON: dotted name → value; of a dvc.lock, stage → number in `stages`
  problem TEXT,                    -- why it could not be read
  UNIQUE (blob, path));
CREATE INDEX unread ON documents (id) WHERE problem IS NOT NULL;
CREATE TABLE notes (               -- how git showed the history when it was read
  key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE stages (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT, cmd TEXT, params TEXT);
CREATE TABLE artifacts (stage INTEGER, made INTEGER, path TEXT, md5 TEXT, size INTEGER, nfiles INTEGER);
CREATE INDEX artifacts_by_stage ON artifacts (stage);
CREATE INDEX artifacts_by_md5 ON artifacts (md5);
"""
VIEW, LACKING = "view", "lacking"
"""Notes: what cut the history short; the objects that git had when something was not there."""


def is_current(repo: Repository, database: sqlite3.Connection) -> bool:
    """Whether git still shows the commits that were read as it did: no new parents, and none of the lacking files."""
    notes = dict(database.execute("SELECT key, value FROM notes"))
    if notes.get(VIEW) != repository.view(repo):
        return False
    return LACKING not in notes or notes[LACKING] == repository.objects(repo)


def bring_up_to_date(repo: Repository, database: sqlite3.Connection, heads: Iterable[str]) -> None:
    """Add what is new, in one transaction; all anew where git shows old commits otherwise than they were read."""
    database.execute("BEGIN IMMEDIATE")
    try:
        if database.execute("PRAGMA user_version").fetchone()[0] and not is_current(repo, database):
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                database.execute(f"DROP TABLE {name}")
            database.execute("PRAGMA user_version = 0")
        if not database.execute("PRAGMA user_version").fetchone()[0]:
            for statement in TABLES.split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute("INSERT INTO notes (key, value) VALUES (?, ?)", (VIEW, repository.view(repo)))
        Writer(repo, database).add(heads)
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


class Writer:
    """Reads commits into the tables, within one transaction."""

    def __init__(self, repo: Repository, database: sqlite3.Connection) -> None:
        self.repo, self.database = repo, database
        self.numbers: dict[tuple[str, str], int] = {}  # (blob, path) → document
        self.blocks: dict[bytes, int] = {}  # digest of a stage's block → number in `stages`
        self.metric_paths: dict[tuple[str, int | None], tuple[list[str], int | None]] = {}
        self.lacking = False  # whether git lacked something that was to be read
        self.state: dict[str, tuple[Any, ...]] = {}  # commit → its documents

    def add(self, heads: Iterable[str]) -> None:
        """Read the commits that `heads` reach and that are not known yet."""
        objects = repository.objects(self.repo)
        for commit in repository.walk(self.repo, heads, self._is_known):
            self._add(commit)
        if self.lacking:
            self._note(LACKING, objects)

    def _is_known(self, commit: str) -> bool:
        return self.database.execute("SELECT 1 FROM commits WHERE id = ?", (commit,)).fetchone() is not None

    def _add(self, commit: Raw) -> None:
        words = repository.described(commit)
        tree = repository.tree_of(self.repo, commit)
        params, lock = (self._file(tree, path, commit.tree) for path in (documents.PARAMS, documents.LOCK))
        declared, pipeline = self._metric_paths(tree, params, commit.tree)
        found = (file for one in declared for file in tree.files(one).items())
        metrics = tuple(dict.fromkeys(self._document(tree, path, blob) for path, blob in found))
        self.lacking = self.lacking or tree.lacking
        state = (params, metrics)
        self.state[words.id] = state
        before = self._state_of(words.parents[0]) if words.parents else (None, ())
        self.database.execute(
            "INSERT INTO commits (id, parents, author, email, time, title, params, lock, pipeline, metrics, changed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(words.id, " ".join(words.parents), words.author, words.email, words.time, words.title),
                *(params, lock, pipeline, json.dumps(metrics), state != before),
            ),
        )

    def _state_of(self, commit: str) -> tuple[Any, ...]:
        if commit not in self.state:
            row = self.database.execute("SELECT params, metrics FROM commits WHERE id = ?", (commit,)).fetchone()
            self.state[commit] = (row[0], tuple(json.loads(row[1]))) if row else (None, ())
        return self.state[commit]

    def _metric_paths(self, tree: Tree, params: int | None, root: str) -> tuple[list[str], int | None]:
        """The declared metrics, and a document where something of dvc.yaml could not be read. root: id of the tree."""
        path = documents.PIPELINE
        blob = tree.blob(path)
        if blob is None:
            return [], self._file(tree, path, root)
        for key in ((blob, None), (blob, params)):
            if key in self.metric_paths:
                return self.metric_paths[key]
        found: list[str] = []
        text = ""
        try:
            text = tree.read(blob)
            found = documents.metric_paths(text, self._content(params))
            problem = "; ".join(documents.outside(one) for one in found if documents.is_outside(one))
        except documents.Unreadable as error:
            problem = str(error)
        with_params = params if "${" in text else None
        name = blob if with_params is None else f"{blob} with {with_params}"
        document = self._kept(name, path, {}, problem) if problem else None
        self.metric_paths[blob, with_params] = found, document
        return found, document

    def _content(self, document: int | None) -> Flat:
        row = self.database.execute("SELECT content FROM documents WHERE id = ?", (document,)).fetchone()
        found: Flat = json.loads(row[0]) if row else {}
        return found

    def _file(self, tree: Tree, path: str, root: str) -> int | None:
        """The document of a file at a fixed place; None where there is none. root: id of the commit's tree."""
        blob = tree.blob(path)
        if blob is not None:
            return self._document(tree, path, blob)
        problem = tree.not_a_file(path)
        return self._kept(root, path, {}, problem) if problem else None

    def _document(self, tree: Tree, path: str, blob: str) -> int:
        """The number of a file's document, read and kept if it is new."""
        if (blob, path) not in self.numbers:
            found = self._known(blob, path)
            self.numbers[blob, path] = self._read(tree, path, blob) if found is None else found
        return self.numbers[blob, path]

    def _known(self, blob: str, path: str) -> int | None:
        query = "SELECT id FROM documents WHERE blob = ? AND path = ?"
        row = self.database.execute(query, (blob, blocks.whole(path))).fetchone()
        return int(row[0]) if row else None

    def _read(self, tree: Tree, path: str, blob: str) -> int:
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
        return self._kept(blob, path, content, problem)

    def _kept(self, blob: str, path: str, content: Mapping[str, Any], problem: str | None) -> int:
        found = self._known(blob, path)
        if found is not None:
            return found
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        insert = "INSERT INTO documents (blob, path, content, problem) VALUES (?, ?, ?, ?)"
        told = blocks.whole(problem) if problem else None
        return int(self.database.execute(insert, (blob, blocks.whole(path), text, told)).lastrowid or 0)

    def _note(self, key: str, value: str) -> None:
        self.database.execute("INSERT OR REPLACE INTO notes (key, value) VALUES (?, ?)", (key, value))

    def _stage(self, name: str, block: str) -> int:
        from hashlib import blake2b  # loads a library that a warm index does without

        digest = blake2b(f"{name}\0{block}".encode(), digest_size=16).digest()
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
