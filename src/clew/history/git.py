"""Git itself, asked and never told: one process gives objects by name, others answer what takes the whole history.

    repo = open_repository(Path())
    repo.read("main~1")             →  Object("9400194…", "commit", b"tree 4b825dc…\nparent …")
    repo.ask("merge-base", a, b)    →  "9400194…\n", or None where git refuses

Loading a library that reads git takes longer than git does to answer. Nothing is fetched, whatever a clone lacks, and
what `git replace` put over the history is not looked at.
"""

from __future__ import annotations

import io
import os
import subprocess
import weakref
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple, cast

from clew.errors import HistoryError, SetupError

QUIET = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # the same for a git that does not know the line above
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",  # git's errors are read here
}
FACTS = ("show-object-format", "absolute-git-dir", "git-common-dir", "show-toplevel")
"""What is asked of a repository when it is opened: the last fails where there is no work tree."""


class Object(NamedTuple):
    """What git keeps under an id. kind: commit, tree, blob or tag."""

    id: str
    kind: str
    content: bytes


class Repository:
    """A repository. path: git's own folder, with a slash at its end. common: the one that all worktrees share.

    workdir: the work tree; None where there is none.
    """

    def __init__(self, path: str, common: Path, workdir: str | None) -> None:
        self.path, self.common, self.workdir = path, common, workdir
        self._pipes: tuple[IO[bytes], IO[bytes]] | None = None

    @property
    def is_shallow(self) -> bool:
        """Whether the clone lacks older commits."""
        return (self.common / "shallow").exists()

    def ask(self, *command: str, given: Iterable[str] = (), end: str = "\0") -> str | None:
        """What git prints for a command; None where it fails. given: texts for its stdin, each with `end` after it."""
        where = ["--git-dir", self.path, *(["--work-tree", self.workdir] if self.workdir else [])]
        text = "".join(f"{one}{end}" for one in given).encode("utf-8", "surrogateescape")
        done = _run([*where, *command], self.workdir or self.path, text)
        return None if done.returncode else done.stdout.decode("utf-8", "surrogateescape")

    def read(self, name: str) -> Object | None:
        """The object of an id, or of whatever git takes for one; None where there is none that can be read."""
        if "\n" in name or (self._is_partial and len(name) == 40 and name not in self._here):
            return None
        self._pipes = to_git, from_git = self._pipes or self._started()
        with suppress(OSError, ValueError):
            to_git.write(name.encode("utf-8", "surrogateescape") + b"\n")
            header = from_git.readline()
            if header.endswith((b" missing\n", b" ambiguous\n")):
                return None
            number, kind, size = header.decode("utf-8", "replace").split(" ")
            content = from_git.read(int(size) + 1)[:-1]
            if len(content) == int(size):
                return Object(number, kind, content)
        self._pipes = None  # git gave up on an object that is damaged: the next one is another process's to read
        return None

    def _started(self) -> tuple[IO[bytes], IO[bytes]]:
        command = ["git", "--git-dir", self.path, "cat-file", "--batch"]
        running = subprocess.Popen(
            command,
            bufsize=0,
            env=os.environ | QUIET,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        weakref.finalize(self, _end, running).atexit = False
        to_git, from_git = cast(IO[bytes], running.stdin), cast(io.RawIOBase, running.stdout)
        return to_git, io.BufferedReader(from_git)

    @cached_property
    def _is_partial(self) -> bool:
        return any((self.common / "objects" / "pack").glob("*.promisor"))

    @cached_property
    def _here(self) -> set[str]:
        """The objects of a partial clone: to ask git for one that it lacks is to end it."""
        listed = self.ask("cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)")
        return set((listed or "").split())


def _end(running: subprocess.Popen[bytes]) -> None:
    running.kill()
    running.wait()
    for pipe in (running.stdin, running.stdout):
        if pipe:
            pipe.close()


def _run(command: list[str], folder: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        whole = ["git", "-C", folder, *command]
        return subprocess.run(whole, input=given, capture_output=True, env=os.environ | QUIET, check=False)
    except FileNotFoundError:
        raise SetupError("git is not installed", where="git", fix="Install git 2.30 or later.") from None


def open_repository(folder: Path) -> Repository:
    """The repository that `folder` lies in, bare or not; raises HistoryError."""
    done = _run(["rev-parse", *(f"--{fact}" for fact in FACTS)], str(folder))
    said = done.stderr.decode("utf-8", "replace").strip()
    facts = done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]
    told = len(FACTS) if not done.returncode else len(FACTS) - 1
    if len(facts) < told:
        raise _refused(folder, said)
    if len(facts) > told:  # a path with a line break
        facts = [_fact(folder, fact) for fact in FACTS[:told]]
    form, path, common, workdir = (*facts, "")[: len(FACTS)]
    if form != "sha1":
        raise HistoryError(
            "the repository names its objects by SHA-256, which clew cannot read",
            where=str(folder.resolve()),
            fix="Bring the experiment into a repository of git's usual kind (`git init --object-format=sha1`).",
        )
    return Repository(f"{path}/", (folder / common).resolve(), workdir or None)


def _fact(folder: Path, fact: str) -> str:
    done = _run(["rev-parse", f"--{fact}"], str(folder))
    return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")


def _refused(folder: Path, said: str) -> HistoryError:
    if "dubious ownership" in said:
        root = said.partition("'")[2].partition("'")[0]
        return HistoryError(
            "the repository belongs to another user, and git reads it only if you say so",
            where=str(folder.resolve()),
            fix=f"Where you trust it: `git config --global --add safe.directory {root}`.",
        )
    if "not a git repository" in said:
        return HistoryError(
            "not in a git repository",
            where=str(folder.resolve()),
            fix="clew reads the history that git keeps: go to an experiment's repository, or clone one.",
        )
    said = said.partition("\n")[0].removeprefix("fatal: ")
    return HistoryError(f"git's data cannot be read ({said})", where=str(folder.resolve()), fix="See `git status`.")
