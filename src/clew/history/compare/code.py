"""What code changed: the source files of the stages, each with the titles of the commits that touched it.

dvc.lock names the files and folders that each stage ran with, by md5; git names what lies in the folders, and when
it changed. Where the two disagree, the file was edited after the run, or the run was of code in no commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from clew.history import repository, work_tree
from clew.history.compare.model import CodeFile, Title
from clew.history.snapshot import OnDisk, Snapshot

if TYPE_CHECKING:
    from clew.history.git import Repository
    from clew.history.repository import Raw

LOCK = "requirements.lock"
PLACES = ("src/", LOCK)
"""What of a stage's deps is code."""
LITTER = (".DS_Store", "Thumbs.db")
"""What other programs leave in folders, beside what Python compiles."""
LIMIT = 5000
"""Commits that are looked through, newest first."""
COMMAND_LINE = 50_000
"""Letters of paths that git is given; for more it looks through all that may be code."""


def files(repo: Repository, before: Snapshot, after: Snapshot) -> tuple[CodeFile, ...]:
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
        found.append(CodeFile(printable(path), kind, tuple(stages), tuple(titles.get(path, ())), run, committed))
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


def _by_path(repo: Repository, side: Snapshot, deps: Iterable[str]) -> dict[str, str]:
    """Path → git id of every file at or below `deps`; of the work tree's files the id that they would have."""
    wanted = list(dict.fromkeys(deps))
    if isinstance(side.files, OnDisk):
        found = work_tree.ids(repo, wanted)
    else:
        found = {path: name for dep in wanted for path, name in side.files.files(dep).items()}
    return {path: name for path, name in found.items() if path in wanted or not _is_litter(path)}


def _is_litter(path: str) -> bool:
    *folders, name = path.split("/")
    return name in LITTER or name.endswith(".pyc") or "__pycache__" in folders


def printable(path: str) -> str:
    r"""A path that may not be UTF-8, with what is not as it stands in a listing of git.

    >>> print(printable("a\udcff.py"))
    a\xff.py
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def commits(repo: Repository, before: Snapshot, after: Snapshot, paths: Iterable[str]) -> Mapping[str, list[Title]]:
    """Path → the commits since the two parted that touched it, newest first; those of `after` come first."""
    first, second = (side.commit.id if side.commit else repository.head(repo) for side in (before, after))
    wanted = list(paths)
    if first is None or second is None or first == second or not wanted:
        return {}
    base = repository.common(repo, first, second)
    if base is None:
        return {}
    found: dict[str, list[Title]] = {}
    ends: tuple[tuple[str, Literal["before", "after"]], ...] = ((second, "after"), (first, "before"))
    for end, side in ends:
        for commit, path in _touching(repo, end, base, wanted):
            words = repository.described(commit)
            found.setdefault(path, []).append(Title(words.id, words.title, words.author, side))
    return found


def uncommitted(repo: Repository, on_disk: Mapping[str, str], paths: Iterable[str]) -> set[str]:
    """Those of `paths` that the work tree has otherwise than the last commit; `on_disk`: path → git id."""
    head = repository.commit_at(repo, "HEAD") if on_disk else None
    if head is None:
        return set()
    tree = repository.tree_of(repo, head)
    return {path for path in paths if tree.files(path).get(path) != on_disk.get(path)}


def _touching(repo: Repository, end: str, base: str, paths: list[str]) -> Iterator[tuple[Raw, str]]:
    """Commits from `end` back to `base`, with each path in which they differ from all of their parents."""
    few = sum(map(len, paths)) < COMMAND_LINE
    order = ("--date-order", "--full-history", f"--max-count={LIMIT}")
    below = paths if few else [place.rstrip("/") for place in PLACES]
    names = (repo.ask("--literal-pathspecs", "rev-list", *order, end, f"^{base}", "--", *below) or "").split()
    found = {name: commit for name in names if (commit := repository.commit_at(repo, name))}
    whole = [name for name, commit in found.items() if _has_parents(repo, commit)]
    said = repo.ask("diff-tree", "--stdin", "--root", "-r", "-c", "--name-only", "-z", given=whole, end="\n")
    wanted, commit = {*paths}, None
    for text in (said or "").split("\0"):
        if text in found:  # no path of code is an id: see PLACES
            commit = found[text]
        elif commit is not None and text in wanted:
            yield commit, text


def _has_parents(repo: Repository, commit: Raw) -> bool:
    """Not at the edge of a shallow clone, where it cannot be told what a commit touched."""
    return all(repository.commit_at(repo, name) for name in commit.parents)
