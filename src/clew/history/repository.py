"""The history that git keeps: revisions by name, commits from the heads down, files as a commit has them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from clew.errors import HistoryError
from clew.history import blocks
from clew.history.documents import Unreadable
from clew.history.git import Repository, open_repository

__all__ = ["Repository", "open_repository"]

WORK_TREE = "work tree"
"""How the files that lie in the work tree, committed or not, are called among revisions."""
EXPERIMENTS = "refs/exps/"
NOT_HISTORY = ("refs/stash", "refs/notes/", "refs/exps/exec/", "refs/exps/stash", "refs/exps/celery/", "refs/replace/")
LAST = 253_402_214_400
"""The last day of the year 9999: a commit's time is brought within what a calendar can tell."""

ABSENT = "git does not have it here (a partial clone: `git fetch --refetch --no-filter` brings all files)"
BRING = "Bring the files, or ask where git has them all."
"""What to do where all that was asked for is absent."""


class Commit(NamedTuple):
    """time: seconds since 1970, by the committer's clock. title: the message's first line."""

    id: str
    parents: tuple[str, ...]
    author: str
    email: str
    time: int
    title: str


class Raw(NamedTuple):
    """A commit as git keeps it. tree: the id of its files, "" where it names none."""

    id: str
    tree: str
    parents: tuple[str, ...]
    content: bytes


class Reference(NamedTuple):
    """A branch, tag or the like. target: the name of the one that it stands for, "" where it names an object."""

    id: str
    target: str


def heads(repo: Repository) -> dict[str, str]:
    """Name → commit of every branch (here and at remotes), tag and DVC experiment, and of HEAD: none is lost.

    A short name that several have is told in the longer form, as git takes it: `heads/x` and `tags/x`, and of
    experiments `exps/<8 digits of the commit that they grew from>/x`.
    """
    found: dict[str, str] = {}
    for name, reference in references(repo).items():
        remote_head = name.startswith("refs/remotes/") and name.endswith("/HEAD")
        commit = None if name.startswith(NOT_HISTORY) or remote_head else commit_at(repo, reference.id)
        if commit is not None:  # no tag of a file, nor a commit that a shallow clone lacks
            found[name] = commit.id
    named = {label: found[name] for name, label in labels(found).items()}
    here = head(repo)
    return named if here is None else named | {"HEAD": here}


def references(repo: Repository) -> dict[str, Reference]:
    """Every branch, tag and the like by its full name."""
    listed = repo.ask("for-each-ref", "--format=%(objectname) %(symref) %(refname)") or ""
    fields = (line.split(" ") for line in listed.split("\n") if line)  # a name may hold U+2028
    return {name: Reference(commit, target) for commit, target, name in fields}


def head(repo: Repository) -> str | None:
    """The id of the commit that is checked out; None where there is none yet."""
    found = commit_at(repo, "HEAD")
    return found.id if found else None


def branch(repo: Repository) -> str | None:
    """The full name of the branch that is checked out; None where HEAD is a commit of its own."""
    return (repo.ask("symbolic-ref", "--quiet", "HEAD") or "").removesuffix("\n") or None


def tracked(repo: Repository) -> list[str]:
    """The files of the work tree that git's index names."""
    return [name for name in (repo.ask("ls-files", "-z") or "").split("\0") if name]


def commit_at(repo: Repository, name: str) -> Raw | None:
    """The commit that an id, or what git takes for one, leads to; None where it leads to none."""
    found = repo.read(name)
    if found is not None and found.kind == "tag":
        found = repo.read(f"{found.id}^{{commit}}")
    if found is None or found.kind != "commit":
        return None
    lines = found.content.partition(b"\n\n")[0].decode("ascii", "replace").split("\n")
    tree, parents = ([line[len(key) :] for line in lines if line.startswith(key)] for key in ("tree ", "parent "))
    return Raw(found.id, tree[0] if tree else "", tuple(parents), found.content)


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


def resolve(repo: Repository, rev: str) -> Raw:
    """The commit that `rev` names; raises HistoryError with the nearest.

    What git itself takes (branch, tag, id, HEAD~2, …) goes first, so that no experiment hides a branch.
    """
    if not rev.strip():
        raise HistoryError("an empty revision", where=f"revision `{rev}`", fix="Name a branch, a tag or a commit.")
    found = commit_at(repo, rev)
    if found is not None:
        return found
    known = heads(repo)
    if not known:
        raise HistoryError("the repository has no commits", where=rev, fix="Commit first: `git add -A && git commit`.")
    found = commit_at(repo, known[rev]) if rev in known else None
    if found is not None:
        return found
    names = sorted(known)
    same = [name for name in names if name.startswith("exps/") and name.endswith(f"/{rev}")]
    if same:
        choices = " or ".join(f"`{name}`" for name in same[:3])
        raise HistoryError(f"{len(same)} experiments have this name", where=rev, fix=f"Write {choices}.")
    import difflib

    near = difflib.get_close_matches(rev, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else f"There are: {_few(names)}."
    shallow = " This clone is shallow: `git fetch --unshallow` brings the rest." if repo.is_shallow else ""
    raise HistoryError("no such revision", where=rev, fix=hint + shallow)


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


AUTHOR = re.compile(rb"^author (?P<name>[^<\n]*?) *<(?P<email>[^>\n]*)>", re.MULTILINE)
TIME = re.compile(rb"^committer .*> (?P<time>-?\d{1,20})", re.MULTILINE)
ENCODING = re.compile(rb"^encoding (?P<name>\S+)$", re.MULTILINE)


def described(commit: Raw) -> Commit:
    """The commit's own words, whatever encoding it claims and whatever its clock said."""
    header, _, message = commit.content.partition(b"\n\n")
    author, time, claimed = AUTHOR.search(header), TIME.search(header), ENCODING.search(header)
    encoding = claimed["name"].decode("ascii", "replace") if claimed else "utf-8"
    name, email = (_decoded(author[key], encoding) if author else "" for key in ("name", "email"))
    title = _decoded(message, encoding).strip().partition("\n")[0]
    return Commit(commit.id, commit.parents, name, email, max(0, min(int(time["time"]), LAST)) if time else 0, title)


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return blocks.whole(raw.decode(encoding, errors="replace"))
    except (LookupError, ValueError):  # an encoding that there is not, or that is none of texts
        return raw.decode("utf-8", errors="replace")


def view(repo: Repository) -> str:
    """What cuts the history short for git, as `git fetch --unshallow` changes it."""
    found = ""
    for name in ("shallow", "info/grafts"):
        with suppress(OSError):
            found += f"{name} {(repo.common / name).read_text()}"
    return found


def objects(repo: Repository) -> str:
    """A text that changes when objects come in, as packs or one by one."""
    found = []
    root = repo.common / "objects"
    for folder in [root / "pack", *sorted(root.glob("[0-9a-f][0-9a-f]"))]:
        with suppress(OSError):
            found.append(f"{folder.name} {folder.stat().st_mtime_ns}")
    return " ".join(found)


def walk(repo: Repository, starts: Iterable[str], known: Callable[[str], bool]) -> Iterator[Raw]:
    """Every commit that `starts` reach without passing a known one, parents before children."""
    waiting = list(dict.fromkeys(starts))
    found: dict[str, Raw] = {}
    while waiting:
        name = waiting.pop()
        if name in found or known(name):
            continue
        commit = commit_at(repo, name)
        if commit is None:  # beyond the edge of a shallow clone
            continue
        found[name] = commit
        waiting += commit.parents
    yield from _parents_first(found)


def _parents_first(commits: dict[str, Raw]) -> Iterator[Raw]:
    children: dict[str, list[str]] = {}
    missing = {}
    for name, commit in commits.items():
        parents = [parent for parent in dict.fromkeys(commit.parents) if parent in commits]
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


def common(repo: Repository, first: str, second: str) -> str | None:
    """The last commit that both grew from; None where they have none, or a shallow clone does not reach it."""
    return (repo.ask("merge-base", first, second) or "").strip() or None


ENTRY = re.compile(rb"(?P<mode>\d+) (?P<name>[^\0]+)\0(?P<id>.{20})", re.DOTALL)
KINDS = {b"40000": "tree", b"160000": "commit"}


class Entry(NamedTuple):
    """What a folder holds under a name. kind: blob, tree or (a submodule) commit."""

    kind: str
    id: str


class Tree:
    """The files of a commit, by path from the root. tree: the commit's, "" where it names none."""

    def __init__(self, repo: Repository, tree: str) -> None:
        self.repo, self.tree = repo, tree
        self.folders: dict[str, dict[str, Entry] | None] = {}
        self.submodules: set[str] = set()
        self.lacking = False
        """Whether git lacked something that was asked for."""

    def blob(self, path: str) -> str | None:
        """The git id of the file at `path`; None where there is none, or a folder or submodule."""
        found = self._at(path)
        return found.id if found is not None and found.kind == "blob" else None

    def id(self, path: str) -> str | None:
        """The git id of whatever is at `path`, a folder too; None where there is nothing."""
        found = self._at(path)
        return found.id if found is not None else None

    def not_a_file(self, path: str) -> str | None:
        """What is at `path` where that is no file: a word for a problem; None for a file, and for nothing."""
        if self._entries(self.tree) is None:
            return ABSENT if self.tree else "the commit names no files: git itself would not have made it"
        found = self._at(path)
        kind = "blob" if found is None else found.kind
        return {"tree": "it is a folder", "commit": "it is a submodule"}.get(kind)

    def files(self, path: str) -> dict[str, str]:
        """Path → git id of the file at `path`, or of every file below it; of a submodule that of its commit."""
        found = self._at(path)
        return {} if found is None else dict(self._below(path, found))

    def read(self, blob: str) -> str:
        """The text of a file by its git id; raises Unreadable where git has no such file."""
        if blob in self.submodules:
            raise Unreadable("it is a submodule")
        content = self.content(blob)
        if content is None:
            raise Unreadable(ABSENT)
        return content.decode("utf-8", errors="replace")

    def content(self, blob: str) -> bytes | None:
        """The bytes of a file by its git id; None where git has no such file."""
        found = self.repo.read(blob)
        self.lacking = self.lacking or found is None
        return found.content if found is not None and found.kind == "blob" else None

    def _below(self, path: str, found: Entry) -> Iterator[tuple[str, str]]:
        if found.kind == "tree":
            for name, entry in (self._entries(found.id) or {}).items():
                yield from self._below(f"{path}/{name}", entry)
            return
        if found.kind == "commit":
            self.submodules.add(found.id)
        yield path, found.id

    def _at(self, path: str) -> Entry | None:
        found: Entry | None = Entry("tree", self.tree)
        for name in path.removesuffix("/").split("/"):
            entries = self._entries(found.id) if found is not None and found.kind == "tree" else None
            found = entries.get(name) if entries else None
        return found

    def _entries(self, folder: str) -> dict[str, Entry] | None:
        """What a folder holds, by its git id; None where git lacks it."""
        if folder not in self.folders:
            read = self.repo.read(folder) if folder else None
            self.lacking = self.lacking or read is None
            self.folders[folder] = _listed(read.content) if read is not None and read.kind == "tree" else None
        return self.folders[folder]


def _listed(content: bytes) -> dict[str, Entry]:
    found = ENTRY.findall(content)
    return {
        name.decode("utf-8", "surrogateescape"): Entry(KINDS.get(mode, "blob"), key.hex()) for mode, name, key in found
    }


def tree_of(repo: Repository, commit: Raw) -> Tree:
    """The files of a commit, none where a clone without trees lacks them."""
    return Tree(repo, commit.tree)
