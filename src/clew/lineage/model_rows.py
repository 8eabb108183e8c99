"""The rows that a model was made from: dvc.lock is walked from the model by (path, md5) to its training set.

    used(index, snapshot, "int8", "train")  →  Used("models/int8", "c0de….dir", (("data/train.parquet", "2b77…"),))

A dep that this lock's outs do not have is looked for in all of the history, so that an entry that a later run left
behind leads to the rows that were used, not to those that lie there now.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clew.errors import HistoryError
from clew.history import snapshot
from clew.history.index import Index, open_index
from clew.history.lockfile import Artifact
from clew.history.repository import WORK_TREE
from clew.history.snapshot import Snapshot
from clew.history.store import store_of
from clew.lineage import data_chain
from clew.lineage.data_chain import MODELS, SPLITS, TRAIN

if TYPE_CHECKING:
    from clew.history.git import Repository

BASE = "models/base"
SHALLOW = "This clone is shallow: older commits were not searched (`git fetch --unshallow`)."
COLUMNS = ("row_id", "source", "origin", "task")


class Used(NamedTuple):
    """The files that a model's rows lie in: (made path, md5) each, as dvc.lock has them, nearest to the model first."""

    model: str
    md5: str
    files: tuple[tuple[str, str], ...]


def used(index: Index | None, revision: Snapshot, name: str, side: str) -> Used:
    """What `models/sft` (or sft) was made from; raises HistoryError. side: train, valid or test.

    index: None where there is no history to look in.
    """
    model = _model(revision, name)
    path = TRAIN if side == "train" else SPLITS
    found = [(dep.path, dep.md5) for dep in _deps(index, revision, model) if dep.path == path]
    if not found:
        base = " It is the base model: what it was trained on is unknown." if model.path == BASE else ""
        raise HistoryError(
            f"no {side} rows stand behind this model in dvc.lock",
            where=f"{model.path} ({revision.name})",
            fix=f"`clew trace {model.path}` shows what does.{base}",
        )
    return Used(model.path, model.md5, tuple(dict.fromkeys(found)))


def _model(revision: Snapshot, name: str) -> Artifact:
    made = {out.path: out for stage in revision.stages.values() for out in stage.outs}
    models = sorted(path for path in made if path.startswith(MODELS))
    for path in (name.rstrip("/"), f"{MODELS}{name}"):
        if path in models:
            return made[path]
    if not models:
        problem = f" ({'; '.join(revision.problems)})" if revision.problems else ""
        fix = f"Run `dvc repro` and commit dvc.lock, or name another revision with --rev{problem}."
        raise HistoryError("dvc.lock names no model", where=revision.name, fix=fix)
    near = difflib.get_close_matches(name, [path.removeprefix(MODELS) for path in models], n=1)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    there = ", ".join(path.removeprefix(MODELS) for path in models)
    raise HistoryError("no such model", where=f"{name} ({revision.name})", fix=f"{hint}There are: {there}.")


def _deps(index: Index | None, revision: Snapshot, model: Artifact) -> Iterator[Artifact]:
    maker = index.maker if index is not None else data_chain.nobody
    return data_chain.deps(revision.stages, maker, model.path, model.md5)


def batches(path: Path, size: int = 1 << 14) -> Iterator[list[dict[str, object]]]:
    """The rows of a file in its order, some at a time: row_id, source, file, record, task."""
    from clew.lineage import row_tables

    table = row_tables.read(path, COLUMNS).select(["row_id", "source", "file", "record", "task"])
    for batch in table.to_batches(max_chunksize=size):
        yield batch.to_pylist()


def counts(path: Path) -> list[tuple[str, str, int]]:
    """(source, task, number of rows), most first."""
    import numpy as np

    from clew.lineage import row_tables

    table = row_tables.read(path, ("row_id", "source", "task"))
    return [
        (source, task, n) for source, task, n in row_tables.counts(table, np.arange(len(table)), ["source", "task"])
    ]


def located(repo: Repository, name: str, rev: str | None, side: str) -> list[Path]:
    """The parquet files in DVC's cache of the rows that a model was made from; raises HistoryError.

    rev: None for the work tree, of a bare repository HEAD.
    """
    revision = snapshot.take(repo, rev or (WORK_TREE if repo.workdir else "HEAD"))
    index = None
    try:
        with suppress(OSError, sqlite3.Error):  # where the index cannot be kept, this dvc.lock is all that is asked
            index = open_index(repo)
        found = used(index, revision, name, side)
    except HistoryError as error:
        if not repo.is_shallow:
            raise
        raise HistoryError(error.what, where=error.where, fix=f"{error.fix} {SHALLOW}") from None
    finally:
        if index is not None:
            index.close()
    store = store_of(repo, rev or "HEAD")
    paths = []
    for made, md5 in found.files:
        wanted = made if made == TRAIN else f"{SPLITS}/{side}.parquet"
        file = data_chain.locate(store, revision, made, md5, wanted)
        if file.path is None:
            raise HistoryError(
                f"the cache lacks {wanted} ({file.md5 or md5})",
                where=f"{found.model} ({revision.name})",
                fix="`dvc pull` brings it, in a clone with a work tree; `dvc fetch --all-commits` older ones.",
            )
        paths.append(file.path)
    return paths
