"""What one revision, or the work tree, says: its params, its metrics, its dvc.lock and its files.

A snapshot is read straight from git (or the disk), a few milliseconds each; for questions to all of the history see
`index`. What cannot be read is no exception but a line in `problems`, so that one bad commit spoils no table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from clew.errors import HistoryError
from clew.history import blocks, documents, lockfile, repository
from clew.history.documents import Flat, Unreadable
from clew.history.lockfile import Artifact, Stage
from clew.history.repository import WORK_TREE, Commit
from clew.history.store import open_store

if TYPE_CHECKING:
    from clew.history.git import Repository

T = TypeVar("T")


class Files(Protocol):
    """Files by path from the root: those of a commit, or of the work tree."""

    def files(self, path: str) -> dict[str, str]:
        """Path → name to read it by, of the file at `path` or of every file below it; empty where there is none."""

    def not_a_file(self, path: str) -> str | None:
        """What is at `path` where that is no file, as a word for a problem; None for a file, and for nothing."""

    def read(self, name: str) -> str:
        """A file's text; raises Unreadable."""


class OnDisk:
    """The work tree's files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def files(self, path: str) -> dict[str, str]:
        """See `Files`."""
        if not path or documents.is_outside(path):
            return {}
        found = self.root / path
        try:
            if found.is_file():
                return {path: path}
            names = sorted(file.relative_to(self.root).as_posix() for file in found.rglob("*") if file.is_file())
        except (OSError, ValueError):
            return {}
        return {name: name for name in names}

    def not_a_file(self, path: str) -> str | None:
        """See `Files`."""
        return "it is a folder" if (self.root / path).is_dir() else None

    def read(self, name: str) -> str:
        """See `Files`."""
        path = self.root / name
        if not self._is_ours(path.resolve()):
            raise Unreadable("it is a link to outside of the repository: not read")
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise Unreadable(error.strerror or "it cannot be read") from None

    def _is_ours(self, path: Path) -> bool:
        """Whether a file lies in the work tree, or in the cache that DVC links files from."""
        if path.is_relative_to(self.root.resolve()):
            return True
        return any(path.is_relative_to(folder.resolve()) for folder in open_store(self.root).folders)


class Snapshot(NamedTuple):
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

    @property
    def lacking(self) -> str | None:
        """The first problem that is only this clone's, which has not got the file; None where there is none."""
        return next((problem for problem in self.problems if problem.endswith(repository.ABSENT)), None)


def take(repo: Repository, rev: str) -> Snapshot:
    """The snapshot of a revision, or of the work tree for WORK_TREE; raises HistoryError where there is no such."""
    if rev == WORK_TREE:
        if not repo.workdir:
            raise HistoryError("a bare repository has no work tree", where=rev, fix="Name two revisions.")
        return _read(rev, None, OnDisk(Path(repo.workdir)))
    commit = repository.resolve(repo, rev)
    return _read(rev, repository.described(commit), repository.tree_of(repo, commit))


def _read(name: str, commit: Commit | None, files: Files) -> Snapshot:
    problems: list[str] = []

    def attempt(path: str, question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except (Unreadable, lockfile.LockError) as error:
            problems.append(f"{path}: {error}")
            return otherwise

    names = (documents.PARAMS, documents.LOCK, documents.PIPELINE)
    texts = {path: attempt(path, partial(_text, files, path), "") for path in names}
    if not any(texts.values()) and not problems:
        problems.append("no params.yaml, dvc.yaml or dvc.lock: it is older than the experiment, or of another project")
    none: tuple[Flat, Mapping[str, Stage], list[str]] = ({}, {}, [])
    params = attempt(documents.PARAMS, lambda: documents.params(texts[documents.PARAMS]), none[0])
    stages = attempt(documents.LOCK, lambda: lockfile.read(texts[documents.LOCK]), none[1])
    pipeline = texts[documents.PIPELINE]
    declared = attempt(documents.PIPELINE, lambda: documents.metric_paths(pipeline, params), none[2])
    metrics: dict[str, Flat] = {}
    for one in declared:
        if documents.is_outside(one):
            problems.append(f"{documents.PIPELINE}: {documents.outside(one)}")
        for path, key in files.files(one).items():
            found = attempt(path, lambda path=path, key=key: documents.metrics(path, files.read(key)), None)  # type: ignore[misc]
            if found is not None:
                metrics[blocks.whole(path)] = found
    told = tuple(map(blocks.whole, problems))
    return Snapshot(blocks.whole(name), commit, params, metrics, stages, told, files)


def _text(files: Files, path: str) -> str:
    name = files.files(path).get(path)
    if name is None and (problem := files.not_a_file(path)):
        raise Unreadable(problem)
    return files.read(name) if name is not None else ""
