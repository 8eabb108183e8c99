"""What one commit, or the work tree, holds for a trace: its dvc.lock, and the files that git tracks.

data/predictions  08006b86….dir   the folder that `evaluate` read
├── base.parquet  c1881cf3…       what `predict@base` made      MD5 of DVC's listing of these
└── sft.parquet   6575450d…       what `predict@sft` made       is the folder's: so it was these, and no others
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from clew.errors import HistoryError
from clew.history import blocks, documents, lockfile, repository
from clew.history.lockfile import Artifact, Stage
from clew.history.repository import WORK_TREE, Commit
from clew.history.store import DIR, Member

if TYPE_CHECKING:
    from clew.history.git import Repository
    from clew.history.repository import Raw

CODE = (".py", ".pyi", ".sh", ".lock", ".toml", ".cfg", ".ini", ".txt", ".ipynb", ".r", ".jl", ".yaml", ".yml")
"""How files end that say what to do, rather than what with."""


class Made(NamedTuple):
    """An out, and the stage of a revision's dvc.lock that made it."""

    revision: Revision
    stage: str
    out: Artifact


class Files(Protocol):
    """The files that git tracks at a revision."""

    def below(self, path: str) -> list[str]:
        """The path itself where it is a file, or every file below it; empty where there is none."""

    def content(self, path: str) -> bytes | None:
        """A file's bytes; None where there are none (a submodule, a deleted file)."""


class InGit:
    """The files of a commit."""

    def __init__(self, repo: Repository, commit: Raw) -> None:
        self.tree = repository.tree_of(repo, commit)

    def below(self, path: str) -> list[str]:
        """See `Files`."""
        return list(self.tree.files(path)) if path else []

    def content(self, path: str) -> bytes | None:
        """See `Files`."""
        blob = self.tree.blob(path)
        return self.tree.content(blob) if blob else None


class OnDisk:
    """The files of the work tree that git's index names, as they lie there."""

    def __init__(self, repo: Repository) -> None:
        self.root = Path(repo.workdir or ".")
        self.names = repository.tracked(repo)

    def below(self, path: str) -> list[str]:
        """See `Files`."""
        return [name for name in self.names if name == path or name.startswith(f"{path}/")] if path else []

    def content(self, path: str) -> bytes | None:
        """See `Files`."""
        try:
            return (self.root / path).read_bytes()
        except OSError:
            return None


class Revision:
    """One revision. name: as people call it. commit: None for the work tree. known: its stages, where they are."""

    def __init__(
        self, name: str, commit: Commit | None, files: Files, known: Mapping[str, Stage] | None = None
    ) -> None:
        self.name, self.commit, self.files, self.known = name, commit, files, known

    @cached_property
    def stages(self) -> Mapping[str, Stage]:
        """The stages of its dvc.lock: none where that cannot be read."""
        return self._read[0]

    @cached_property
    def problem(self) -> str | None:
        """Why its dvc.lock is not read; None where it is."""
        return self._read[1]

    @cached_property
    def made(self) -> list[Made]:
        """Every out."""
        return [Made(self, name, out) for name, stage in self.stages.items() for out in stage.outs]

    @cached_property
    def _read(self) -> tuple[Mapping[str, Stage], str | None]:
        if self.known is not None:
            return self.known, None
        lock = self.files.content(documents.LOCK)
        if lock is None:
            return {}, "there is no dvc.lock: nothing had been run, or it is older than the experiment"
        try:
            return lockfile.read(lock.decode("utf-8", errors="replace")), None
        except lockfile.LockError as error:
            return {}, f"its dvc.lock cannot be read: {error}"

    def checked(self) -> Revision:
        """Itself; raises HistoryError where its dvc.lock cannot be read."""
        if self.problem:
            merge = "conflict markers" in self.problem
            raise HistoryError(
                self.problem,
                where=self.name,
                fix="End the merge: take one side's dvc.lock, run `dvc repro`, commit; or name another revision."
                if merge
                else "Name another revision with --rev, or run `dvc repro` and commit.",
            )
        return self

    def digest(self, path: str) -> str | None:
        """The MD5 that DVC has for a file or folder that git tracks; None where it tracks none."""
        names = [name for name in self.files.below(path) if "__pycache__" not in name]
        if names == [path]:
            content = self.files.content(path)
            return None if content is None else md5_of(content)
        members = self.members(path)
        return listing_md5(members) if members else None

    def members(self, path: str) -> list[Member]:
        """The files that git tracks in a folder."""
        return [
            Member(name[len(path) + 1 :], md5_of(content))
            for name in self.files.below(path)
            if "__pycache__" not in name and (content := self.files.content(name)) is not None
        ]

    def declared(self, stage: str) -> bool | None:
        """Whether dvc.yaml still has the stage (of `predict@base`: also the item); None where it cannot tell."""
        return is_declared(_text(self.files, documents.PIPELINE), _text(self.files, documents.PARAMS), stage)

    def live(self, made: list[Made]) -> list[Made]:
        """Of what several entries of dvc.lock made: that of stages that dvc.yaml may still have, if any are."""
        return [one for one in made if self.declared(one.stage) is not False] or made if len(made) > 1 else made


@lru_cache(maxsize=4096)
def is_declared(pipeline: str, params: str, stage: str) -> bool | None:
    """See `Revision.declared`: the same of the texts of dvc.yaml and params.yaml."""
    name, _, item = stage.partition("@")
    block = re.search(rf"^  {re.escape(name)}:[ \t]*(?:#.*)?\n((?:    .*\n|\s*\n)*)", pipeline + "\n", re.MULTILINE)
    if block is not None and not item:
        return True
    over = re.search(r"^    foreach: *['\"]?\$\{ *([\w.]+) *\}", block[1], re.MULTILINE) if block else None
    if over is None:
        return _declared_in(_tree(pipeline), name, item)
    try:
        values = documents.params(params)
    except documents.Unreadable:
        return None
    return _has_item(values.get(over[1], {key for key in values if key.startswith(f"{over[1]}.")}), over[1], item)


def _declared_in(tree: Any, name: str, item: str) -> bool | None:
    stages = tree.get("stages") if isinstance(tree, Mapping) else None
    if not isinstance(stages, Mapping):
        return None
    block = stages.get(name)
    if not item or not isinstance(block, Mapping):
        return name in stages
    return _has_item(block.get("foreach"), "", item)


def _has_item(items: Any, name: str, item: str) -> bool | None:
    if isinstance(items, set):
        return any(key.removeprefix(f"{name}.").partition(".")[0] == item for key in items) if items else None
    return item in map(str, items) if isinstance(items, (list, Mapping)) else None


@lru_cache(maxsize=256)
def _tree(text: str) -> Any:
    try:
        return blocks.load(text)
    except Exception:  # ruamel has many
        return None


def of_commit(
    repo: Repository, commit: Raw, name: str | None = None, known: Mapping[str, Stage] | None = None
) -> Revision:
    """The revision that is a commit. known: the stages of its dvc.lock, where they need not be read again."""
    return Revision(name or commit.id[:10], repository.described(commit), InGit(repo, commit), known)


def of(repo: Repository, rev: str | None) -> Revision:
    """The revision that is asked for; of None the work tree where it has a dvc.lock, else HEAD. Raises HistoryError."""
    if rev not in (None, WORK_TREE):
        return of_commit(repo, repository.resolve(repo, str(rev)), rev)
    lock = Path(repo.workdir) / documents.LOCK if repo.workdir else None
    if repo.workdir and (rev == WORK_TREE or (lock is not None and lock.is_file())):
        return Revision(WORK_TREE, None, OnDisk(repo))
    return of_commit(repo, repository.resolve(repo, "HEAD"), "HEAD")


def edge(repo: Repository) -> str:
    """A word for a clone that lacks the older commits; "" where it has all."""
    return (
        "this clone is shallow: `git fetch --unshallow` brings the commits beyond its edge" if repo.is_shallow else ""
    )


def _text(files: Files, path: str) -> str:
    return (files.content(path) or b"").decode("utf-8", errors="replace")


def md5_of(content: bytes) -> str:
    """DVC's digest of a file's bytes."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def listing_md5(members: Iterable[Member]) -> str:
    """DVC's digest of a folder: the MD5 of its listing, with `.dir` at its end.

    >>> listing_md5([Member("a.txt", "d41d8cd98f00b204e9800998ecf8427e")])
    'c8b707c7db8de5344f16fc09ca113ab4.dir'
    """
    listed = sorted(({"md5": md5, "relpath": path} for path, md5 in members), key=lambda entry: entry["relpath"])
    return md5_of(json.dumps(listed, sort_keys=True).encode()) + DIR


def is_code(path: str, files: Files) -> bool:
    """Whether a dep that no stage makes is code (or a lock file) rather than data."""
    lowered = path.lower()
    if lowered.endswith(CODE):
        return True
    names = files.below(path)
    return names != [path] and any(name.lower().endswith(CODE) for name in names)
