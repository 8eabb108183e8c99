"""Which revisions are compared, and what a bare `clew compare` means: the work tree with its fork from main."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clew.errors import HistoryError
from clew.history import repository, snapshot
from clew.history.repository import WORK_TREE
from clew.history.snapshot import Snapshot

if TYPE_CHECKING:
    import pygit2

MAINS = ("refs/heads/main", "refs/heads/master", "refs/remotes/origin/main", "refs/remotes/origin/master")
HERE = (".", WORK_TREE)
"""Names of the work tree."""


def chosen(repo: pygit2.Repository, names: Sequence[str]) -> list[Snapshot]:
    """The snapshots to compare, the baseline first; raises HistoryError for a name that is no revision.

    No name: the fork from main, and the work tree. One name: that revision, and the work tree.
    """
    if len(names) < 2 and not repo.workdir:
        raise HistoryError(
            "a bare repository has no work tree to compare with",
            where=str(repo.path),
            fix="Name two revisions: `clew compare main my-branch`.",
        )
    if not names:
        return [fork(repo), snapshot.take(repo, WORK_TREE)]
    found = [snapshot.take(repo, WORK_TREE if name in HERE else name) for name in names]
    return found if len(found) > 1 else [*found, snapshot.take(repo, WORK_TREE)]


def fork(repo: pygit2.Repository) -> Snapshot:
    """Where the work tree's branch left main; on main itself (or without a main): the last commit."""
    head = repository.resolve(repo, "HEAD")
    found = main(repo)
    if found is None or repo.head.name == found[0] or found[1] == head.id:
        return snapshot.take(repo, "HEAD")
    base = common(repo, found[1], head.id)
    if base is None:
        return snapshot.take(repo, "HEAD")
    left = snapshot.take(repo, str(base))
    return replace(left, name=f"{repository.short(found[0])} at {str(base)[:7]}")


def main(repo: pygit2.Repository) -> tuple[str, Any] | None:
    """The reference of the main branch and its commit: main, master, or what origin/HEAD stands for."""
    import pygit2

    names = [*MAINS]
    if "refs/remotes/origin/HEAD" in repo.references:
        names.append("refs/remotes/origin/HEAD")
    for name in names:
        if name in repo.references:
            try:
                found = repo.references[name].resolve()
                return found.name, found.peel(pygit2.Commit).id
            except (KeyError, ValueError, pygit2.GitError):
                continue  # a name whose commit a shallow clone lacks
    return None


def common(repo: pygit2.Repository, first: Any, second: Any) -> Any | None:
    """The last commit that both grew from; None where they have none, or a shallow clone does not reach it."""
    import pygit2

    try:
        return repo.merge_base(first, second)
    except (KeyError, ValueError, pygit2.GitError):
        return None
