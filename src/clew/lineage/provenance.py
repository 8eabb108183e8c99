"""What surrounds a run: its params, who last changed its code, and the machine and versions of its runtime record."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import io, paths
from clew.history import documents, repository
from clew.history.lockfile import Artifact, Stage
from clew.history.store import DIR, Member, md5_of
from clew.lineage.graph import Linker
from clew.lineage.revision import Revision, listing_md5, of_commit

if TYPE_CHECKING:
    from clew.history.git import Repository

MOST = 1e18
"""Above any number of seconds or bytes that a record may tell of."""
AT_MOST = 16 << 20
"""Bytes of outs that are hashed to see whether a record speaks of them, unless it is asked for more."""


@lru_cache(maxsize=512)
def _params(text: str) -> tuple[tuple[str, Any], ...]:
    found: dict[str, Any] = {}
    file, lines = "", [""]
    for line in [*text.split("\n"), "end:"]:
        if line[:1] not in ("", " "):
            prefix = "" if file in ("", documents.PARAMS) else f"{file}:"
            found |= {prefix + name: value for name, value in documents.params("\n".join(lines)).items()}
            file, lines = line.rstrip().rstrip(":").strip("'\""), [""]
        else:
            lines.append(line[2:])
    return tuple(found.items())


def params(stage: Stage) -> dict[str, Any]:
    """The values that dvc.lock recorded for a run, by dotted name: with the file before them if not params.yaml."""
    try:
        return dict(_params(stage.params))
    except documents.Unreadable as error:
        return {"": f"unreadable: {error}"}


def origins(stage: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a run's params say it fetched: those in the stage's own section, for a report may be run with all params.

    >>> values = {"fetch.notes.uri": "file://n.csv", "fetch.notes.sha256": "ab"}
    >>> origins("fetch", values), origins("report", values)
    ([{'name': 'notes', 'uri': 'file://n.csv', 'sha256': 'ab', 'license': None}], [])
    """
    found = []
    values = {name: value for name, value in values.items() if name.split(".")[0] == stage.partition("@")[0]}
    for name, value in values.items():
        section, _, last = name.rpartition(".")
        if last == "uri" and isinstance(value, str):
            given = {key: values.get(f"{section}.{key}") for key in ("sha256", "license")}
            own = {key: None if value is None else str(value) for key, value in given.items()}
            found.append({"name": section.rpartition(".")[2], "uri": value, **own})
    return found


def last_changes(repo: Repository, commit: str, wanted: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Path → the commit (and its author, time, title) that last changed the file, or anything in the folder.

    One `git log` reads newest first and is stopped when every path was seen. In a shallow clone what is older than
    its edge is said to be `at_edge`.
    """
    waiting = set(wanted)
    found: dict[str, dict[str, Any]] = {}
    edges = _edges(repo)
    for entry, names in _log(repo, commit, sorted(waiting)):
        touched = {path for path in waiting if any(name == path or name.startswith(f"{path}/") for name in names)}
        for path in touched:
            found[path] = entry | {"at_edge": entry["commit"] in edges}
        waiting -= touched
        if not waiting:
            break
    return found


def _edges(repo: Repository) -> set[str]:
    file = Path(repo.path) / "shallow"
    return set(file.read_text().split()) if repo.is_shallow and file.exists() else set()


def _log(repo: Repository, commit: str, wanted: list[str]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    if not wanted:
        return
    form = "--format=%x01%H%x00%an%x00%ae%x00%ct%x00%s"
    command = ["git", "--no-optional-locks", "--literal-pathspecs", "-c", "log.showSignature=false"]
    command += ["--git-dir", repo.path, "log", "-z", "--name-only"]
    command += ["--no-renames", "-c", form, commit, "--", *wanted]
    try:
        offline = {**os.environ, "GIT_NO_LAZY_FETCH": "1"}
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=offline)
    except FileNotFoundError:  # git itself is not needed for the rest
        return
    try:
        assert running.stdout is not None  # noqa: S101 - for the type checker
        for text in _records(running.stdout):
            fields = text.split("\0")
            if len(fields) < 5 or not fields[3].isdecimal():  # a title that holds our own marks
                continue
            entry = dict(zip(("commit", "author", "email", "time", "title"), fields, strict=False))
            yield entry | {"time": int(fields[3])}, [name.lstrip("\n") for name in fields[5:] if name.strip()]
    finally:
        running.kill()
        running.wait()
        if running.stdout:
            running.stdout.close()


def _records(stream: Any) -> Iterator[str]:
    rest = b""
    while chunk := stream.read1(1 << 16):
        *whole, rest = (rest + chunk).split(b"\x01")
        yield from (text.decode("utf-8", errors="replace") for text in whole if text)
    if rest:
        yield rest.decode("utf-8", errors="replace")


class Records:
    """metrics/runtime/<stage>.json of runs, each believed only where it is shown to speak of what the run made.

    thorough: hash outs of any size, not only those up to AT_MOST.
    """

    def __init__(self, repo: Repository, linker: Linker, *, thorough: bool) -> None:
        self.repo, self.linker, self.thorough = repo, linker, thorough

    def of(self, revision: Revision, stage: str, block: Stage, change: Mapping[str, Any] | None) -> dict[str, Any]:
        """The record of a run, or {"missing": why}. change: of the commit that last changed the record."""
        path = (paths.RUNTIME / f"{stage}.json").as_posix()
        content = revision.files.content(path)
        if content is None:
            return {"missing": f"there is no {path} in {revision.name}"}
        try:
            record = _sound(json.loads(content))
            outs = dict(record.get("outs") or {})
        except (ValueError, AttributeError, TypeError, RecursionError):
            return {"missing": f"{path} cannot be read"}
        checked, wrong = 0, []
        for out in block.outs:
            found = self.sha256(revision, out) if out.path in outs else None
            checked += found is not None
            if found is not None and found != outs[out.path]:
                wrong.append(out.path)
        if wrong:
            return {"missing": f"{path} is not of this run: it names other bytes of {', '.join(wrong)}"}
        if checked:
            return record | {
                "believed": f"it names the SHA-256 of {checked} of {len(block.outs)} outs, which are these"
            }
        if self._committed_with(stage, block, record, revision, change):
            return record | {"believed": "it was committed together with this run, on the commit that it names"}
        why = "neither the files that it names nor the commit that it names could be matched with this run"
        return {"missing": f"{path} is not believed: {why} (--hash reads large files, too)"}

    def _committed_with(
        self, stage: str, block: Stage, record: Mapping[str, Any], revision: Revision, change: Mapping[str, Any] | None
    ) -> bool:
        head = repository.commit_at(self.repo, "HEAD") if revision.commit is None else None
        if head is not None:
            committed = of_commit(self.repo, head)
            path = (paths.RUNTIME / f"{stage}.json").as_posix()
            if committed.files.content(path) != revision.files.content(path):
                return record.get("commit") == head.id and committed.stages.get(stage) != block
        if change is None:
            return False
        made = of_commit(self.repo, repository.resolve(self.repo, change["commit"]))
        return (
            made.commit is not None and record.get("commit") in made.commit.parents and made.stages.get(stage) == block
        )

    def sha256(self, revision: Revision, out: Artifact) -> str | None:
        """The SHA-256 (of a folder: `io.tree_sha256`) of an out, from git or the cache; None where it is not read."""
        if not self.thorough and (out.size is None or out.size > AT_MOST):
            return None
        if out.md5.endswith(DIR):
            return self._of_folder(out.md5)
        if revision.digest(out.path) == out.md5:
            return hashlib.sha256(revision.files.content(out.path) or b"").hexdigest()
        return self._of_file(out.md5)

    def _of_file(self, md5: str) -> str | None:
        """Of a file in the cache; None where it is missing, or is another file than its name says."""
        path = self.linker.store.find(md5) if md5 else None
        if path is None:
            return None
        try:
            found, sha256 = both_digests(path)
        except OSError:
            return None
        return sha256 if found == md5 else None

    def _of_folder(self, md5: str) -> str | None:
        lines = []
        for path, digest in sorted(self.linker.listing(md5) or ()):
            found = self._of_file(digest)
            if found is None:
                return None
            lines.append(f"{found}  {path}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else None


def _sound(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the facts that are of another kind than clew writes: anybody may have edited it.

    >>> _sound({"seconds": "abc", "who": "Ada", "versions": ["a"], "hardware": {"cpu": "x", "memory_bytes": "big"}})
    {'who': 'Ada', 'hardware': {'cpu': 'x'}}
    """
    kinds: dict[str, type] = {"hardware": dict, "versions": dict, "started": str, "who": str, "commit": str}
    found = {
        name: value for name, value in record.items() if value is None or isinstance(value, kinds.get(name, object))
    }
    hardware: Any = found.get("hardware") or {}
    for facts, name in ((found, "seconds"), (hardware, "memory_bytes")):
        value = facts.get(name)
        if value is not None and not (isinstance(value, (int, float)) and 0 <= value < MOST):
            del facts[name]
    if found.get("seconds", 0) is None:
        del found["seconds"]
    return found


def same(path: Path, artifact: Artifact, *, thorough: bool) -> bool | None:
    """Whether a file or folder on disk is an artifact; None where it may be, and is too large to be hashed unasked."""
    if not path.is_dir() and not path.is_file():
        return False
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    try:
        size = sum(file.stat().st_size for file in files)
        if artifact.size not in (None, size) or (path.is_dir() and artifact.nfiles not in (None, len(files))):
            return False
        if not artifact.md5 or (size > AT_MOST and not thorough):
            return None
        if path.is_dir():
            return (
                listing_md5(Member(file.relative_to(path).as_posix(), md5_of(file)) for file in files) == artifact.md5
            )
        return md5_of(path) == artifact.md5
    except OSError:
        return None


def both_digests(path: Path) -> tuple[str, str]:
    """MD5 and SHA-256 of a file, read once in chunks of 1 MiB, and told on a terminal for large ones."""
    md5, sha256, done = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with path.open("rb") as file, _told(path) as tell:
        while chunk := file.read(io.CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
            done += len(chunk)
            tell(done)
    return md5.hexdigest(), sha256.hexdigest()


@contextmanager
def _told(path: Path) -> Iterator[Callable[[int], None]]:
    """A function that is told the bytes done, and shows them on a terminal where there are many to do."""
    total = path.stat().st_size
    shown = total > 256 << 20 and sys.stderr.isatty()

    def tell(done: int) -> None:
        if shown and done % (32 << 20) == 0:
            sys.stderr.write(f"\rhashing {path.name}: {100 * done // total} %")
            sys.stderr.flush()

    yield tell
    if shown:
        sys.stderr.write("\r" + " " * (len(path.name) + 24) + "\r")


def code(
    repo: Repository, revision: Revision, dep: Artifact, change: Mapping[str, Any] | None, head: str | None
) -> dict[str, Any]:
    """A code dep of a run: its MD5 as the run read it, and the commit that last changed it up to there.

    state: `as run` (the revision has the same bytes), `not committed` (the work tree has them, HEAD has not), `changed
    since` (the revision has others; `commit` is then of the version that the run read), `not in history`.
    """
    fact: dict[str, Any] = {"path": dep.path, "md5": dep.md5}
    if revision.digest(dep.path) == dep.md5:
        there = repository.resolve(repo, head) if revision.commit is None and head is not None else None
        if there is not None and of_commit(repo, there).digest(dep.path) != dep.md5:
            return fact | {"state": "not committed"}
        return fact | {"state": "as run"} | dict(change or {})
    earlier = _version(repo, head, dep)
    return fact | ({"state": "changed since"} | earlier if earlier else {"state": "not in history"})


def _version(repo: Repository, head: str | None, dep: Artifact, most: int = 200) -> dict[str, Any] | None:
    """The commit that brought the version of a file or folder that a run read."""
    if head is None:
        return None
    for tried, (entry, _names) in enumerate(_log(repo, head, [dep.path])):
        if of_commit(repo, repository.resolve(repo, entry["commit"])).digest(dep.path) == dep.md5:
            return entry
        if tried == most:
            break
    return None
