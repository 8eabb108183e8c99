"""The rows of all history, ready to be asked: commits, DVC's cache, and the row sets brought up to date with both."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from clew.errors import DataError, HistoryError, SetupError
from clew.history import index as history_index
from clew.history import lockfile, repository, snapshot
from clew.history.documents import LOCK
from clew.history.index import Index
from clew.history.snapshot import Snapshot
from clew.history.store import DIR, Store, store_of
from clew.lineage import data_chain, row_files, row_history, rowsets
from clew.lineage.data_chain import LEDGER, SPLITS, TRAIN, Chain
from clew.lineage.row_history import At
from clew.lineage.rowsets import RowSets

if TYPE_CHECKING:
    from clew.history.git import Repository

T = TypeVar("T")
MANY = 20
"""Files to be read before anything is said about it."""


@dataclass
class Archive:
    """All that a question needs. missing: plain words for what the cache lacks; filled as files are looked for.

    problems: plain words for commits whose dvc.lock cannot be read. shallow: whether git lacks older commits.
    """

    index: Index
    store: Store
    sets: RowSets
    history: Sequence[At]
    scores: bool = False
    shallow: bool = False
    tell: Callable[[str], None] = lambda _line: None
    missing: list[str] = field(default_factory=list)
    sides: dict[str, dict[str, str]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)

    @property
    def problems(self) -> list[str]:
        """Which commits' dvc.lock cannot be read, and why."""
        read = [(at.commit.id[:7] if at.commit else "work tree", at.problem) for at in self.history if at.problem]
        return [f"{name}: {problem}" for name, problem in read]

    def open(self) -> None:
        """Bring the row sets up to date with every file of the history that the cache has."""
        self._read_folders({at.chain.splits for at in self.history if at.chain.splits})
        wanted = {md5: path for at in self.history for path, md5 in files(at.chain, self.sides)}
        new = self.sets.unknown(wanted)
        if len(new) > MANY:
            self.tell(f"reading the rows of {len(new):,} files, once …")
        for md5 in new:
            try:
                path = self.file(md5)
                if path is not None:
                    row_files.add(self.sets, md5, path)
                    continue
                self.missing.append(f"{wanted[md5]} ({md5})")
            except (DataError, HistoryError) as error:
                self.missing.append(f"{wanted[md5]}: {error.what} ({error.where})")
            self.absent.add(md5)

    def file(self, md5: str) -> Path | None:
        """The cache's file of an md5, hashed unless it is the very file that was hashed before; None for none.

        Raises HistoryError where it is another file.
        """
        path = self.store.find(md5)
        if path is None:
            return None
        stat, key = path.stat(), f"hashed {md5}"
        seen = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if self.sets.noted([key]).get(key) != seen:
            path = self.store.verified(md5)
            self.sets.note({key: seen})
        return path

    def _read_folders(self, md5s: Iterable[str]) -> None:
        keys = {f"folder {md5}": md5 for md5 in sorted(md5s)}
        self.sides = {keys[key]: value for key, value in self.sets.noted(list(keys)).items()}
        if not all(isinstance(sides, dict) for sides in self.sides.values()):
            raise sqlite3.DatabaseError("a note that cannot be read")
        new: dict[str, dict[str, str]] = {}
        for md5 in keys.values():
            if md5 in self.sides or not md5.endswith(DIR):
                continue
            try:
                listed = data_chain.members(self.store, md5)
                if listed is not None:
                    new[md5] = {path.removesuffix(".parquet"): one for path, one in listed.items()}
                    continue
                self.missing.append(f"{SPLITS}/ ({md5})")
            except HistoryError as error:
                self.missing.append(f"{SPLITS}/: {error.what} ({error.where})")
            self.absent.add(md5)
        self.sets.note({f"folder {md5}": sides for md5, sides in new.items()})
        self.sides |= new


def files(chain: Chain, sides: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """(path, md5) of the files whose rows are kept as sets."""
    found = [(f"{LEDGER}{stage}.parquet", md5) for stage, md5 in chain.ledgers]
    found += [(f"{SPLITS}/{side}.parquet", md5) for side, md5 in sides.get(chain.splits or "", {}).items()]
    found += [(f"data/fed/{stage}.parquet", md5) for stage, md5 in chain.fed]
    found += [(TRAIN, chain.train)] if chain.train else []
    return found + [(f"{TRAIN} of {model}", md5) for model, md5 in chain.elsewhere]


def ask(
    repo: Repository,
    revs: Sequence[str],
    question: Callable[[Archive], T],
    *,
    scores: bool = False,
    tell: Callable[[str], None] = lambda _line: None,
) -> T:
    """What `question` makes of the rows of some revisions, or (for none) of every commit and the work tree.

    scores: read large files, too, for scores and weights. tell: is given a line before something long.
    Raises HistoryError for a revision that there is not, and where there is no history.
    """
    try:
        index = history_index.open_index(repo)
    except (OSError, sqlite3.OperationalError) as error:
        raise _not_kept(repo, error) from None
    named = [snapshot.take(repo, rev) for rev in revs]

    def asked(sets: RowSets) -> T:
        if revs:
            history = [_at(one, index) for one in named]
        else:
            history = row_history.commits(index, sets, None)
            history += _uncommitted(repo, history, index)
        if not history:
            repository.resolve(repo, "HEAD")
        store = store_of(repo, revs[0] if revs else "HEAD")
        archive = Archive(index, store, sets, history, scores, repo.is_shallow, tell)
        archive.open()
        return question(archive)

    try:
        return rowsets.ask(repo, asked)
    except (OSError, sqlite3.OperationalError) as error:
        raise _not_kept(repo, error) from None
    finally:
        index.close()


def _not_kept(repo: Repository, error: Exception) -> SetupError:
    return SetupError(
        f"the index of rows cannot be kept ({error})",
        where=str(rowsets.place(repo)),
        fix="Free some space, or let this user write there; it is derived, and may be deleted.",
    )


def _at(revision: Snapshot, index: Index) -> At:
    chain = data_chain.chain(revision.stages, index.maker)
    if chain == Chain():
        reason = "; ".join(revision.problems) or "no stage of clew made any"
        fix = f"Name a later revision, or run `dvc repro` and commit dvc.lock ({reason})."
        raise HistoryError("dvc.lock names no rows", where=revision.name, fix=fix)
    return At(revision.commit, chain)


def _uncommitted(repo: Repository, history: Sequence[At], index: Index) -> list[At]:
    """The work tree, where its dvc.lock is not that of HEAD."""
    path = Path(repo.workdir) / LOCK if repo.workdir else None
    if path is None or not path.is_file():
        return []
    try:
        stages = lockfile.read(path.read_text(encoding="utf-8", errors="replace"))
    except lockfile.LockError as error:
        return [At(None, Chain(), f"{LOCK}: {error}")]
    chain, head = data_chain.chain(stages, index.maker), index.heads.get("HEAD")
    committed = next((at.chain for at in reversed(history) if at.commit is not None and at.commit.id == head), None)
    return [] if chain in (committed, Chain()) else [At(None, chain)]
