"""Git, read and never written: revisions by name, commits from the heads down, files as a commit has them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.errors import HistoryError

if TYPE_CHECKING:
    import pygit2

WORK_TREE = "work tree"
"""How the files that lie in the work tree, committed or not, are called among revisions."""
EXPERIMENTS = "refs/exps/"
NOT_HISTORY = ("refs/stash", "refs/notes/", "refs/exps/exec/", "refs/exps/stash", "refs/exps/celery/")


class Commit(NamedTuple):
    """time: seconds since 1970, by the committer's clock. title: the message's first line."""

    id: str
    parents: tuple[str, ...]
    author: str
    email: str
    time: int
    title: str


def open_repository(folder: Path) -> pygit2.Repository:
    """The repository that `folder` lies in, bare or not; raises HistoryError."""
    import pygit2

    found = pygit2.discover_repository(str(folder))
    if found is None:
        raise HistoryError(
            "not in a git repository",
            where=str(folder.resolve()),
            fix="clew reads the history that git keeps: go to an experiment's repository, or clone one.",
        )
    return pygit2.Repository(found)


def heads(repo: pygit2.Repository) -> dict[str, str]:
    """Short name → commit of every branch (here and at remotes), tag and DVC experiment, and of HEAD."""
    import pygit2

    found: dict[str, str] = {}
    for name in sorted(repo.references):
        if name.startswith(NOT_HISTORY) or name.endswith("/HEAD"):
            continue
        try:
            commit = repo.references[name].peel(pygit2.Commit)
        except (pygit2.GitError, KeyError, ValueError):
            continue  # a tag of a file, or a name whose commit a shallow clone lacks
        found[short(name)] = str(commit.id)
    if not repo.head_is_unborn:
        found.setdefault("HEAD", str(repo.head.peel(pygit2.Commit).id))
    return found


def short(name: str) -> str:
    """`refs/heads/lora` is lora, `refs/exps/ab/cdef…/hazy-dawn` is hazy-dawn."""
    if name.startswith(EXPERIMENTS):
        return name.rpartition("/")[2]
    for prefix in ("refs/heads/", "refs/tags/", "refs/remotes/", "refs/"):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def resolve(repo: pygit2.Repository, rev: str) -> pygit2.Commit:
    """The commit that `rev` names (branch, tag, experiment, id, HEAD~2, …); raises HistoryError with the nearest."""
    import pygit2

    if repo.is_empty or (repo.head_is_unborn and not list(repo.references)):
        raise HistoryError("the repository has no commits", where=rev, fix="Commit first: `git add -A && git commit`.")
    named = next((name for name in repo.references if name.startswith(EXPERIMENTS) and short(name) == rev), rev)
    try:
        return repo.revparse_single(named).peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError):
        pass
    names = sorted(heads(repo))
    near = difflib.get_close_matches(rev, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else f"There are: {_few(names)}."
    shallow = " This clone is shallow: `git fetch --unshallow` brings the rest." if repo.is_shallow else ""
    raise HistoryError("no such revision", where=rev, fix=hint + shallow)


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


def described(commit: pygit2.Commit) -> Commit:
    """The commit's own words."""
    title = commit.message.strip().partition("\n")[0]
    parents = tuple(str(parent) for parent in commit.parent_ids)
    return Commit(str(commit.id), parents, commit.author.name, commit.author.email, commit.commit_time, title)


def walk(repo: pygit2.Repository, starts: Iterable[str], known: Callable[[str], bool]) -> Iterator[pygit2.Commit]:
    """Every commit that `starts` reach without passing a known one, parents before children."""
    waiting = list(dict.fromkeys(starts))
    found: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name in found or known(name):
            continue
        commit: Any = repo.get(name)
        if commit is None:  # beyond the edge of a shallow clone
            continue
        found[name] = commit
        waiting += map(str, commit.parent_ids)
    yield from _parents_first(found)


def _parents_first(commits: dict[str, Any]) -> Iterator[Any]:
    children: dict[str, list[str]] = {}
    missing = {}
    for name, commit in commits.items():
        parents = [str(parent) for parent in dict.fromkeys(commit.parent_ids) if str(parent) in commits]
        missing[name] = len(parents)
        for parent in parents:
            children.setdefault(parent, []).append(name)
    ready = [name for name, count in missing.items() if not count]
    while ready:
        name = ready.pop()
        yield commits[name]
        for child in children.get(name, ()):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)


class Tree:
    """The files of a commit, by path from the root."""

    def __init__(self, repo: pygit2.Repository, tree: pygit2.Tree) -> None:
        self.repo, self.tree = repo, tree

    def blob(self, path: str) -> str | None:
        """The git id of the file or folder at `path`; None where there is none."""
        try:
            return str(self.tree[path].id)
        except KeyError:
            return None

    def files(self, path: str) -> dict[str, str]:
        """Path → git id of the file at `path`, or of every file below it."""
        import pygit2

        try:
            found = self.tree[path]
        except KeyError:
            return {}
        if not isinstance(found, pygit2.Tree):
            return {path: str(found.id)}
        return {name: blob for entry in found for name, blob in self.files(f"{path}/{entry.name}").items()}

    def read(self, blob: str) -> str:
        """The text of a file by its git id."""
        found: Any = self.repo[blob]
        return bytes(found.data).decode("utf-8", errors="replace")
