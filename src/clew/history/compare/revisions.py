"""Which revisions are compared, and what a bare `clew compare` means: the work tree with its fork from main."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clew.errors import HistoryError
from clew.history import repository, snapshot
from clew.history.repository import WORK_TREE
from clew.history.snapshot import Snapshot

if TYPE_CHECKING:
    from clew.history.git import Repository

MAINS = ("refs/heads/main", "refs/heads/master", "refs/remotes/origin/main", "refs/remotes/origin/master")
HERE = (".", WORK_TREE)
"""Names of the work tree."""
NO_FORK = "the baseline is the last commit, for want of a fork"
FETCH_MAIN = "git fetch --unshallow origin +main:refs/remotes/origin/main"


def chosen(repo: Repository, names: Sequence[str]) -> list[Snapshot]:
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


def fork(repo: Repository) -> Snapshot:
    """Where the work tree's branch left main; on main itself (or without a main): the last commit.

    It is the last commit, with NO_FORK among its problems, where the fork is not to be found.
    """
    head = repository.resolve(repo, "HEAD").id
    found = main(repo)
    if found is None and repo.is_shallow:
        return _no_fork(repo, f"this shallow clone has no main (`{FETCH_MAIN}`)")
    if found is None or repository.branch(repo) == found[0] or found[1] == head:
        return snapshot.take(repo, "HEAD")
    base = repository.common(repo, found[1], head)
    if base is None and repo.is_shallow:
        return _no_fork(repo, "this shallow clone does not reach the fork from main (`git fetch --unshallow`)")
    if base is None:
        return _no_fork(repo, f"HEAD has no common commit with {repository.short(found[0])}")
    return snapshot.take(repo, base)._replace(name=f"{repository.short(found[0])} at {base[:7]}")


def _no_fork(repo: Repository, why: str) -> Snapshot:
    found = snapshot.take(repo, "HEAD")
    return found._replace(problems=(f"{why}: {NO_FORK}", *found.problems))


def main(repo: Repository) -> tuple[str, str] | None:
    """The reference of the main branch and its commit: main, master, or what origin/HEAD stands for."""
    known = repository.references(repo)
    for name in (*MAINS, "refs/remotes/origin/HEAD"):
        if name in known and (found := repository.commit_at(repo, known[name].id)):
            return known[name].target or name, found.id
    return None
