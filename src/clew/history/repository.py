"""Git, read and never written: revisions by name, commits from the heads down, files as a commit has them."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.errors import HistoryError
from clew.history import blocks
from clew.history.documents import Unreadable

if TYPE_CHECKING:
    import pygit2

WORK_TREE = "work tree"
"""How the files that lie in the work tree, committed or not, are called among revisions."""
EXPERIMENTS = "refs/exps/"
NOT_HISTORY = ("refs/stash", "refs/notes/", "refs/exps/exec/", "refs/exps/stash", "refs/exps/celery/", "refs/replace/")
LAST = 253_402_214_400
"""The last day of the year 9999: a commit's time is brought within what a calendar can tell."""

ABSENT = "git does not have it here (a partial clone: `git fetch --refetch --no-filter` brings all files)"


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
    try:
        return pygit2.Repository(found)
    except (pygit2.GitError, OSError) as error:
        raise _refused(folder, found, str(error)) from None


def _refused(folder: Path, found: str, said: str) -> HistoryError:
    if "not owned by" in said:
        root = Path(found).parent if Path(found).name == ".git" else Path(found)
        return HistoryError(
            "the repository belongs to another user, and git reads it only if you say so",
            where=str(folder.resolve()),
            fix=f"Where you trust it: `git config --global --add safe.directory {root}`.",
        )
    if "object format" in said:
        return HistoryError(
            "the repository names its objects by SHA-256, which clew cannot read",
            where=str(folder.resolve()),
            fix="Bring the experiment into a repository of git's usual kind (`git init --object-format=sha1`).",
        )
    return HistoryError(f"git's data cannot be read ({said})", where=str(folder.resolve()), fix="See `git status`.")


def heads(repo: pygit2.Repository) -> dict[str, str]:
    """Name → commit of every branch (here and at remotes), tag and DVC experiment, and of HEAD: none is lost.

    A short name that several have is told in the longer form, as git takes it: `heads/x` and `tags/x`, and of
    experiments `exps/<8 digits of the commit that they grew from>/x`.
    """
    import pygit2

    found: dict[str, str] = {}
    for name in _names(repo):
        with suppress(pygit2.GitError, KeyError, ValueError):  # a tag of a file, or a commit that a shallow clone lacks
            found[name] = str(repo.references[name].peel(pygit2.Commit).id)
    named = {label: found[name] for name, label in labels(found).items()}
    with suppress(pygit2.GitError, KeyError, ValueError):
        if not repo.head_is_unborn:
            named["HEAD"] = str(repo.head.peel(pygit2.Commit).id)
    return named


def _names(repo: pygit2.Repository) -> list[str]:
    names = (name for name in sorted(repo.references) if not name.startswith(NOT_HISTORY))
    return [name for name in names if not (name.startswith("refs/remotes/") and name.endswith("/HEAD"))]


def labels(names: Iterable[str]) -> dict[str, str]:
    """Full name → the shortest of its forms that is no other's.

    >>> labels(["refs/heads/x", "refs/tags/x", "refs/tags/y"])
    {'refs/heads/x': 'heads/x', 'refs/tags/x': 'tags/x', 'refs/tags/y': 'y'}
    """
    found = {name: name for name in names}
    waiting = list(found)
    for form in (short, _longer):
        forms = Counter([*map(form, waiting), "HEAD"])
        settled = [name for name in waiting if forms[form(name)] == 1]
        taken = {found[name] for name in found if name not in waiting}
        found.update({name: form(name) for name in settled if form(name) not in taken})
        waiting = [name for name in waiting if found[name] == name]
    return {name: blocks.whole(label) for name, label in found.items()}


def short(name: str) -> str:
    """`refs/heads/lora` is lora, `refs/exps/ab/cdef…/hazy-dawn` is hazy-dawn."""
    if name.startswith(EXPERIMENTS):
        return name.rpartition("/")[2]
    for prefix in ("refs/heads/", "refs/tags/", "refs/remotes/", "refs/"):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _longer(name: str) -> str:
    if not name.startswith(EXPERIMENTS):
        return name.removeprefix("refs/")
    baseline, _, own = name.removeprefix(EXPERIMENTS).rpartition("/")
    return f"exps/{baseline.replace('/', '')[:8]}/{own}"


def resolve(repo: pygit2.Repository, rev: str) -> pygit2.Commit:
    """The commit that `rev` names; raises HistoryError with the nearest.

    What git itself takes (branch, tag, id, HEAD~2, …) goes first, so that no experiment hides a branch.
    """
    import pygit2

    if repo.is_empty or (repo.head_is_unborn and not list(repo.references)):
        raise HistoryError("the repository has no commits", where=rev, fix="Commit first: `git add -A && git commit`.")
    with suppress(KeyError, ValueError, TypeError, pygit2.GitError):
        return repo.revparse_single(rev).peel(pygit2.Commit)
    known = heads(repo)
    if rev in known:
        found: Any = repo[known[rev]]
        return found  # type: ignore[no-any-return]
    names = sorted(known)
    same = [name for name in names if name.startswith("exps/") and name.endswith(f"/{rev}")]
    if same:
        choices = " or ".join(f"`{name}`" for name in same[:3])
        raise HistoryError(f"{len(same)} experiments have this name", where=rev, fix=f"Write {choices}.")
    near = difflib.get_close_matches(rev, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else f"There are: {_few(names)}."
    shallow = " This clone is shallow: `git fetch --unshallow` brings the rest." if repo.is_shallow else ""
    raise HistoryError("no such revision", where=rev, fix=hint + shallow)


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


def described(commit: pygit2.Commit) -> Commit:
    """The commit's own words, whatever encoding it claims and whatever its clock said."""
    author, encoding = commit.author, commit.message_encoding
    title = _decoded(commit.raw_message, encoding).strip().partition("\n")[0]
    names = (_decoded(author.raw_name, encoding), _decoded(author.raw_email, encoding))
    parents = tuple(str(parent) for parent in commit.parent_ids)
    return Commit(str(commit.id), parents, *names, max(0, min(commit.commit_time, LAST)), title)


def _decoded(raw: bytes, encoding: str | None) -> str:
    try:
        return blocks.whole(raw.decode(encoding or "utf-8", errors="replace"))
    except (LookupError, ValueError):  # an encoding that there is not, or that is none of texts
        return raw.decode("utf-8", errors="replace")


def view(repo: pygit2.Repository) -> str:
    """A digest of what cuts the history short for git, as `git fetch --unshallow` changes it."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("shallow", "info/grafts"):
        with suppress(OSError):
            digest.update(name.encode() + (_common(repo) / name).read_bytes())
    return digest.hexdigest()


def objects(repo: pygit2.Repository) -> str:
    """A digest that changes when objects come in, as packs or one by one."""
    found = []
    root = _common(repo) / "objects"
    for folder in [root / "pack", *sorted(root.glob("[0-9a-f][0-9a-f]"))]:
        with suppress(OSError):
            found.append(f"{folder.name} {folder.stat().st_mtime_ns}")
    return hashlib.blake2b("\n".join(found).encode(), digest_size=16).hexdigest()


def _common(repo: pygit2.Repository) -> Path:
    """The folder that all worktrees of a repository share."""
    own = Path(repo.path)
    try:
        return own / (own / "commondir").read_text().strip()
    except OSError:
        return own


def walk(repo: pygit2.Repository, starts: Iterable[str], known: Callable[[str], bool]) -> Iterator[pygit2.Commit]:
    """Every commit that `starts` reach without passing a known one, parents before children."""
    waiting = list(dict.fromkeys(starts))
    found: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name in found or known(name):
            continue
        commit: Any = None
        with suppress(ValueError):  # what git itself would not have made
            commit = repo.get(name)
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
    """The files of a commit, by path from the root. tree: the commit's, or None where git lacks it."""

    def __init__(self, repo: pygit2.Repository, tree: pygit2.Tree | None) -> None:
        self.repo, self.tree = repo, tree
        self.submodules: set[str] = set()
        self.lacking = tree is None
        """Whether git lacked something that was asked for."""

    def blob(self, path: str) -> str | None:
        """The git id of the file at `path`; None where there is none, or a folder or submodule."""
        found = self._at(path)
        return str(found.id) if found is not None and found.type_str == "blob" else None

    def not_a_file(self, path: str) -> str | None:
        """What is at `path` where that is no file: a word for a problem; None for a file, and for nothing."""
        if self.tree is None:
            return ABSENT
        found = self._at(path)
        kind = "blob" if found is None else found.type_str
        return {"tree": "it is a folder", "commit": "it is a submodule"}.get(kind)

    def files(self, path: str) -> dict[str, str]:
        """Path → git id of the file at `path`, or of every file below it; of a submodule that of its commit."""
        found = self._at(path)
        if found is None:
            return {}
        if found.type_str != "tree":
            if found.type_str == "commit":
                self.submodules.add(str(found.id))
            return {path: str(found.id)}
        try:
            entries = [entry.name for entry in found]
        except (KeyError, ValueError):
            self.lacking = True
            return {}
        return {name: blob for entry in entries for name, blob in self.files(f"{path}/{entry}").items()}

    def read(self, blob: str) -> str:
        """The text of a file by its git id; raises Unreadable where git has no such file."""
        import pygit2

        if blob in self.submodules:
            raise Unreadable("it is a submodule")
        try:
            found: Any = self.repo[blob]
            return bytes(found.data).decode("utf-8", errors="replace")
        except (KeyError, ValueError, AttributeError, pygit2.GitError):
            self.lacking = True
            raise Unreadable(ABSENT) from None

    def _at(self, path: str) -> Any:
        try:
            return None if self.tree is None else self.tree[path]
        except (KeyError, ValueError, TypeError):  # TypeError: half of a surrogate pair is no path
            return None


def tree_of(repo: pygit2.Repository, commit: pygit2.Commit) -> Tree:
    """The files of a commit, none where a clone without trees lacks them."""
    import pygit2

    try:
        return Tree(repo, commit.tree)
    except (KeyError, ValueError, pygit2.GitError):
        return Tree(repo, None)
