"""What code changed: the source files of the stages, each with the titles of the commits that touched it.

dvc.lock names the files and folders that each stage ran with, by md5; git names what lies in the folders, and when
it changed. Where the two disagree, the file was edited after the run, or the run was of code in no commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clew.history.compare import revisions
from clew.history.compare.model import CodeFile, Title
from clew.history.snapshot import OnDisk, Snapshot

if TYPE_CHECKING:
    import pygit2

LOCK = "requirements.lock"
PLACES = ("src/", LOCK)
"""What of a stage's deps is code."""
LITTER = (".DS_Store", "Thumbs.db")
"""What other programs leave in folders, beside what Python compiles."""
LIMIT = 5000
"""Commits that are looked through, newest first."""


def files(repo: pygit2.Repository, before: Snapshot, after: Snapshot) -> tuple[CodeFile, ...]:
    """The code files of either side's stages that differ in git, or by the md5 that dvc.lock has of them."""
    ours, theirs = declared(before), declared(after)
    old, new = (_by_path(repo, side, [*ours, *theirs]) for side in (before, after))
    changed = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    by_lock = {dep for dep in ours.keys() & theirs.keys() if ours[dep][0] != theirs[dep][0]}
    hidden = {dep for dep in by_lock if not any(_within(path, dep) for path in changed)}
    titles = commits(repo, before, after, changed)
    loose = uncommitted(repo, old if before.commit is None else new if after.commit is None else {}, changed)
    found = []
    for path in sorted(changed | hidden, key=lambda path: (path == LOCK, path)):
        deps = [dep for dep in (*ours, *theirs) if _within(path, dep)]
        stages = dict.fromkeys(stage for dep in deps for side in (theirs, ours) for stage in side.get(dep, ("", ()))[1])
        kind: Literal["changed", "added", "removed"] = "changed"
        if path in changed and (path not in old or path not in new):
            kind = "added" if path not in old else "removed"
        run = any(dep in by_lock or (dep in ours) != (dep in theirs) for dep in deps)
        committed = path in changed and not (path in loose or path in hidden)
        found.append(CodeFile(path, kind, tuple(stages), tuple(titles.get(path, ())), run, committed))
    return tuple(found)


def declared(side: Snapshot) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Path of a code file or folder → its md5 by dvc.lock (the last stage's that names it), and the stages."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, stage in side.stages.items():
        for dep in stage.deps:
            if dep.path.startswith(PLACES):
                found[dep.path] = (dep.md5, (*found.get(dep.path, ("", ()))[1], name))
    return found


def _within(path: str, dep: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


def _by_path(repo: pygit2.Repository, side: Snapshot, deps: Iterable[str]) -> dict[str, str]:
    """Path → git id of every file at or below `deps`; of the work tree's files the id that they would have."""
    found: dict[str, str] = {}
    for dep in dict.fromkeys(deps):
        names = {path: name for path, name in side.files.files(dep).items() if path == dep or not _is_litter(path)}
        if isinstance(side.files, OnDisk):
            left = _ignored(repo, [path for path in names if path != dep])
            found |= {path: _id(side.files.root / path) for path in names if path not in left}
        else:
            found |= names
    return found


def _is_litter(path: str) -> bool:
    *folders, name = path.split("/")
    return name in LITTER or name.endswith(".pyc") or "__pycache__" in folders


def _ignored(repo: pygit2.Repository, paths: Sequence[str]) -> set[str]:
    """Those that .gitignore or .dvcignore leaves out and that are in no commit: what lies in a folder by chance."""
    import pathspec

    file = Path(repo.workdir) / ".dvcignore"
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    by_dvc = pathspec.PathSpec.from_lines("gitwildmatch", lines)
    left = (path for path in paths if repo.path_is_ignored(path) or by_dvc.match_file(path))
    return {path for path in left if path not in repo.index}


def _id(path: Path) -> str:
    import pygit2

    return str(pygit2.hashfile(str(path)))


def commits(
    repo: pygit2.Repository, before: Snapshot, after: Snapshot, paths: Iterable[str]
) -> Mapping[str, list[Title]]:
    """Path → the commits since the two parted that touched it, newest first; those of `after` come first."""
    first, second = (side.commit.id if side.commit else _head(repo) for side in (before, after))
    wanted = list(paths)
    if first is None or second is None or first == second or not wanted:
        return {}
    base = revisions.common(repo, first, second)
    if base is None:
        return {}
    found: dict[str, list[Title]] = {}
    ends: tuple[tuple[str, Literal["before", "after"]], ...] = ((second, "after"), (first, "before"))
    for end, side in ends:
        for commit, path in _touching(repo, end, base, wanted):
            title = commit.message.strip().partition("\n")[0]
            found.setdefault(path, []).append(Title(str(commit.id), title, commit.author.name, side))
    return found


def uncommitted(repo: pygit2.Repository, on_disk: Mapping[str, str], paths: Iterable[str]) -> set[str]:
    """Those of `paths` that the work tree has otherwise than the last commit; `on_disk`: path → git id."""
    head = _head(repo)
    commit: Any = repo.get(head) if head and on_disk else None
    if commit is None:
        return set()
    in_head = {path: str(commit.tree[path].id) for path in paths if path in commit.tree}
    return {path for path in paths if in_head.get(path) != on_disk.get(path)}


def _head(repo: pygit2.Repository) -> str | None:
    return None if repo.head_is_unborn else str(repo.head.target)


def _touching(repo: pygit2.Repository, end: str, base: Any, paths: list[str]) -> Iterator[tuple[Any, str]]:
    """Commits from `end` back to `base`, with each path in which they differ from all of their parents."""
    import pygit2

    walker = repo.walk(end, pygit2.enums.SortMode.TOPOLOGICAL | pygit2.enums.SortMode.TIME)
    walker.hide(base)
    known: dict[tuple[str, str], str | None] = {}

    def blob(commit: Any, path: str) -> str | None:
        key = (str(commit.tree_id), path)
        if key not in known:
            known[key] = str(commit.tree[path].id) if path in commit.tree else None
        return known[key]

    for count, commit in enumerate(walker):
        if count >= LIMIT:
            return
        parents = [parent for parent in (repo.get(name) for name in commit.parent_ids) if parent is not None]
        if len(parents) < len(commit.parent_ids):
            continue  # at the edge of a shallow clone it cannot be told what a commit touched
        for path in paths:
            here = blob(commit, path)
            if all(here != blob(parent, path) for parent in parents) and (parents or here is not None):
                yield commit, path
