"""What one revision, or the work tree, says: its params, its metrics, its dvc.lock and its files.

A snapshot is read straight from git (or the disk), a few milliseconds each; for questions to all of the history see
`index`. What cannot be read is no exception but a line in `problems`, so that one bad commit spoils no table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clew.errors import HistoryError
from clew.history import documents, lockfile, repository
from clew.history.documents import Flat
from clew.history.lockfile import Artifact, Stage
from clew.history.repository import WORK_TREE, Commit

if TYPE_CHECKING:
    import pygit2


class Files(Protocol):
    """Files by path from the root: those of a commit, or of the work tree."""

    def files(self, path: str) -> dict[str, str]:
        """Path → name to read it by, of the file at `path` or of every file below it; empty where there is none."""

    def read(self, name: str) -> str:
        """A file's text."""


class OnDisk:
    """The work tree's files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def files(self, path: str) -> dict[str, str]:
        """See `Files`."""
        found = self.root / path
        if found.is_file():
            return {path: path}
        names = sorted(file.relative_to(self.root).as_posix() for file in found.rglob("*") if file.is_file())
        return {name: name for name in names}

    def read(self, name: str) -> str:
        """See `Files`."""
        return (self.root / name).read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Snapshot:
    """name: as it was asked for. commit: None for the work tree. metrics: file → dotted name → value."""

    name: str
    commit: Commit | None
    params: Flat
    metrics: Mapping[str, Flat]
    stages: Mapping[str, Stage]
    problems: tuple[str, ...]
    files: Files

    def out(self, path: str) -> Artifact | None:
        """What the revision's dvc.lock says was made at `path`, exactly or as a file's folder; None for nothing."""
        made = [out for stage in self.stages.values() for out in stage.outs]
        exact = next((out for out in made if out.path == path), None)
        return exact or next((out for out in made if path.startswith(f"{out.path}/")), None)


def take(repo: pygit2.Repository, rev: str) -> Snapshot:
    """The snapshot of a revision, or of the work tree for WORK_TREE; raises HistoryError where there is no such."""
    if rev == WORK_TREE:
        if not repo.workdir:
            raise HistoryError("a bare repository has no work tree", where=rev, fix="Name two revisions.")
        return _read(rev, None, OnDisk(Path(repo.workdir)))
    commit = repository.resolve(repo, rev)
    return _read(rev, repository.described(commit), repository.Tree(repo, commit.tree))


def _read(name: str, commit: Commit | None, files: Files) -> Snapshot:
    problems: list[str] = []
    texts = {path: _text(files, path) for path in (documents.PARAMS, documents.LOCK, documents.PIPELINE)}
    if not any(texts.values()):
        problems.append("no params.yaml, dvc.yaml or dvc.lock: it is older than the experiment, or of another project")
    params: Flat = {}
    stages: Mapping[str, Stage] = {}
    declared: list[str] = []
    try:
        params = documents.params(texts[documents.PARAMS])
    except documents.Unreadable as error:
        problems.append(f"{documents.PARAMS}: {error}")
    try:
        stages = lockfile.read(texts[documents.LOCK])
    except lockfile.LockError as error:
        problems.append(f"{documents.LOCK}: {error}")
    try:
        declared = documents.metric_paths(texts[documents.PIPELINE], params)
    except documents.Unreadable as error:
        problems.append(f"{documents.PIPELINE}: {error}")
    metrics: dict[str, Flat] = {}
    for path, key in ((path, key) for one in declared for path, key in files.files(one).items()):
        try:
            metrics[path] = documents.metrics(path, files.read(key))
        except documents.Unreadable as error:
            problems.append(f"{path}: {error}")
    return Snapshot(name, commit, params, metrics, stages, tuple(problems), files)


def _text(files: Files, path: str) -> str:
    return next((files.read(name) for found, name in files.files(path).items() if found == path), "")
