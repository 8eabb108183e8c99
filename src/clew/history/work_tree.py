"""The work tree's files as git would store them: its filters applied, links as links, submodules by their commit.

    ids(repo, ["src"])    →  {"src/train.py": "587be6b…", "src/new.py": "9daeafb…"}

Git says what differs from the last commit, and only that is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clew.errors import HistoryError
from clew.history import documents, repository
from clew.history.git import open_repository
from clew.history.snapshot import OnDisk

if TYPE_CHECKING:
    from clew.history.git import Repository

STATUS = (
    *("--literal-pathspecs", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "-z", "--no-renames"),
    *("--untracked-files=all", "--ignore-submodules=dirty"),
)
FIELDS = {"1": 8, "u": 10}
"""Kind of a line of git's status → the fields before the path. A `?` has none, but for a folder of another repository.

1 .M N... 100644 100644 100644 587be6b… 587be6b… src/train.py
"""
MANY = 500
"""Paths that one command line takes; of more their first folders are asked for."""
UNREADABLE = "unreadable"
"""Instead of an id: what is like no file of a commit."""


def ids(repo: Repository, wanted: Sequence[str]) -> dict[str, str]:
    """Path → git id of every file at or below `wanted`; without what .gitignore and .dvcignore leave out below."""
    wanted = [path for path in wanted if "\0" not in path and not documents.is_outside(path)]
    if not wanted:
        return {}
    root = Path(repo.workdir or ".")
    said = repo.ask(*STATUS, "--", *(wanted if len(wanted) <= MANY else {path.split("/")[0] for path in wanted}))
    if said is None:  # a clone without trees, an index that is damaged
        return _hashed(repo, [name for path in wanted for name in OnDisk(root).files(path)])
    head = repository.commit_at(repo, "HEAD")
    tree = repository.tree_of(repo, head) if head else None
    found = {name: key for path in wanted for name, key in tree.files(path).items()} if tree else {}
    read, new, among = [], [], {path.rstrip("/") for path in wanted}
    for kind, fields, path in _lines(said):
        if not _is_below(path, among):
            continue
        found.pop(path, None)
        if kind == "?":
            new.append(path)
        elif fields[1][1] == ".":  # as the index has it
            found |= {} if fields[5] == "000000" else {path: fields[7]}
        else:
            read.append(path)
    named = [path for path in wanted if path not in found and (root / path).is_file()]  # though git ignores it
    left = _left_out(root, new) - {*wanted}
    return found | _hashed(repo, dict.fromkeys([*read, *(path for path in new if path not in left), *named]))


def _lines(said: str) -> Iterator[tuple[str, list[str], str]]:
    for line in said.split("\0"):
        kind, _, path = line.partition(" ")
        if kind in FIELDS:
            *fields, path = line.split(" ", FIELDS[kind])
            yield kind, fields, path
        elif kind == "?" and not path.endswith("/"):
            yield kind, [], path


def _is_below(path: str, wanted: Collection[str]) -> bool:
    names = path.split("/")
    return any("/".join(names[:count]) in wanted for count in range(1, len(names) + 1))


def _left_out(root: Path, paths: Iterable[str]) -> set[str]:
    file = root / ".dvcignore"
    if not file.is_file():
        return set()
    import pathspec

    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return set(pathspec.PathSpec.from_lines("gitwildmatch", lines).match_files(paths))


def _hashed(repo: Repository, paths: Iterable[str]) -> dict[str, str]:
    """Path → git id of those that are there."""
    found: dict[str, str] = {}
    files = []
    for path in paths:
        place = Path(repo.workdir or ".") / path
        try:
            mode = place.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[path] = _id(os.fsencode(place.readlink()))
            elif stat.S_ISDIR(mode):
                found[path] = repository.head(open_repository(place)) or UNREADABLE
            else:
                files.append(path)
        except HistoryError:
            found[path] = UNREADABLE
        except OSError:
            continue
    return found | _filtered(repo, files)


def _filtered(repo: Repository, files: Sequence[str]) -> dict[str, str]:
    if not files:
        return {}
    told = repo.ask("hash-object", "--stdin-paths", given=map(_quoted, files), end="\n")
    if told is None and len(files) > 1:  # one of them cannot be read
        half = len(files) // 2
        return _filtered(repo, files[:half]) | _filtered(repo, files[half:])
    keys = [UNREADABLE] if told is None else told.split()
    return dict(zip(files, keys, strict=True))


def _quoted(path: str) -> str:
    r"""A path as git reads it from a line.

    >>> print(_quoted('a\n"b'))
    "a\n\"b"
    """
    signs = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
    return f'"{"".join(signs.get(sign, sign) for sign in path)}"'


def _id(content: bytes) -> str:
    """The id that git gives to bytes."""
    import hashlib

    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
