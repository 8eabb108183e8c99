"""Which files hold the rows of a revision: found by walking dvc.lock upstream from its models, by path and md5.

    stages of dvc.lock  →  Chain(ledgers=(("prepare", "9c1f…"), ("clean", "07aa…"), …), rows="51d0…",
                                 splits="8ea2….dir", train="2b77…", models=(("models/sft", "c0de….dir"),), fed=())

DVC leaves the entries of stages that were switched off in dvc.lock. Their ledgers are no part of what the models of
this revision saw, so the lock's stages are never simply listed. A lock that was committed after a part of the stages
ran again does not lead on from every dep: who made that one is asked of the history, and what it does not know either
is `broken`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clew.errors import HistoryError
from clew.history.lockfile import Artifact, Stage
from clew.history.snapshot import OnDisk, Snapshot
from clew.history.store import DIR, Store, md5_of

ROWS, SPLITS, TRAIN = "data/rows.parquet", "data/splits", "data/train.parquet"
MADE = (TRAIN, "data/augmented.parquet", "data/selected.parquet", SPLITS, "data/clean.parquet", ROWS)
"""What the stages make of the rows, one after the other, the last first."""
LEDGER, FED, MODELS = "data/ledger/", "data/fed/", "models/"
SIDES = ("train", "valid", "test")

Maker = Callable[[str, str], Stage | None]
"""(path, md5) → the stage that made it in some commit."""


@dataclass(frozen=True)
class Chain:
    """md5s by what they are; None where the lock has none. ledgers, fed: (stage, md5), upstream first.

    models: path → md5 of every model that `train` was used for, as the lock has them. elsewhere: (model, md5 of its
    training set), of those that were made from another one. broken: deps of which nobody knows who made them.
    """

    ledgers: tuple[tuple[str, str], ...] = ()
    rows: str | None = None
    splits: str | None = None
    train: str | None = None
    models: tuple[tuple[str, str], ...] = ()
    fed: tuple[tuple[str, str], ...] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()
    broken: tuple[str, ...] = ()


def nobody(_path: str, _md5: str) -> Stage | None:
    """The maker where there is no history to ask."""
    return None


def chain(stages: Mapping[str, Stage], maker: Maker = nobody) -> Chain:
    """The chain of a dvc.lock. Without a training set it ends at what was made last before one."""
    made = {out.path: out.md5 for stage in stages.values() for out in stage.outs}
    walk = _Walk(stages, maker)
    models = [(out, stage) for stage in stages.values() for out in stage.outs if out.path.startswith(MODELS)]
    used = [(out, stage, walk.training_sets(out)) for out, stage in models]
    end = next((path for path in MADE if path in made), None)
    elsewhere = [(out.path, md5) for out, _, md5s in used for md5 in md5s]
    if end is None:
        return Chain(elsewhere=tuple(elsewhere), broken=tuple(walk.broken))
    train = (_trained_on(stages, walk) or made[TRAIN]) if end == TRAIN else None
    outs = [out for stage in walk.upstream(end, train or made[end]) for out in stage.outs]
    of = {out.path: out.md5 for out in outs}
    ours = [(out, stage) for out, stage, md5s in used if train in md5s]
    return Chain(
        ledgers=_by_stage(outs, LEDGER),
        rows=of.get(ROWS),
        splits=of.get(SPLITS),
        train=train,
        models=tuple((out.path, out.md5) for out, _ in ours),
        fed=_by_stage([one for _, stage in ours for one in stage.outs], FED),
        elsewhere=tuple(one for one in elsewhere if one[1] != train),
        broken=tuple(walk.broken),
    )


def deps(stages: Mapping[str, Stage], maker: Maker, path: str, md5: str) -> Iterator[Artifact]:
    """Every dep of the stages that a model came through, nearest first; training sets end a branch of the walk."""
    return _Walk(stages, maker).deps(path, md5)


class _Walk:
    """From what was made to what it was made from, by path and md5."""

    def __init__(self, stages: Mapping[str, Stage], maker: Maker) -> None:
        self.here = {(out.path, out.md5): stage for stage in stages.values() for out in stage.outs}
        self.paths = {path for path, _ in self.here}
        self.maker = maker
        self.broken: dict[str, None] = {}

    def _made(self, path: str, md5: str) -> Stage | None:
        stage = self.here.get((path, md5)) or (self.maker(path, md5) if md5 else None)
        if stage is None and (path in self.paths or path in MADE):
            self.broken[f"what made {path} ({md5 or 'no md5'})"] = None
        return stage

    def upstream(self, path: str, md5: str) -> Iterator[Stage]:
        """The stages that (path, md5) came through, those that ran first first."""
        seen: set[tuple[tuple[str, str], ...]] = set()

        def visit(path: str, md5: str) -> Iterator[Stage]:
            stage = self._made(path, md5)
            key = tuple((out.path, out.md5) for out in stage.outs) if stage else ()
            if stage is None or key in seen:
                return
            seen.add(key)
            for dep in stage.deps:
                yield from visit(dep.path, dep.md5)
            yield stage

        yield from visit(path, md5)

    def deps(self, path: str, md5: str) -> Iterator[Artifact]:
        waiting, seen = [(path, md5)], set()
        while waiting:
            key = waiting.pop(0)
            if key in seen:
                continue
            seen.add(key)
            stage = self._made(*key)
            for dep in stage.deps if stage else ():
                yield dep
                if dep.path.startswith(MODELS):
                    waiting.append((dep.path, dep.md5))

    def training_sets(self, model: Artifact) -> list[str]:
        """The md5s of the training sets behind a model."""
        return list(dict.fromkeys(dep.md5 for dep in self.deps(model.path, model.md5) if dep.path == TRAIN))


def _trained_on(stages: Mapping[str, Stage], walk: _Walk) -> str | None:
    """The training set that the lock's own models were made from, where they agree on one that is still there."""
    used = {dep.md5 for stage in stages.values() if _makes_model(stage) for dep in stage.deps if dep.path == TRAIN}
    there = [md5 for md5 in used if (TRAIN, md5) in walk.here]
    return there[0] if len(there) == 1 else None


def _makes_model(stage: Stage) -> bool:
    return any(out.path.startswith(MODELS) for out in stage.outs)


def _by_stage(outs: Iterable[Artifact], folder: str) -> tuple[tuple[str, str], ...]:
    found = [out for out in outs if out.path.startswith(folder) and out.path.endswith(".parquet")]
    return tuple((out.path.removeprefix(folder).removesuffix(".parquet"), out.md5) for out in found)


def members(store: Store, md5: str) -> dict[str, str] | None:
    """path → md5 of a folder's files; None where the cache lacks its listing; raises HistoryError for a false one."""
    path = store.verified(md5)
    if path is None:
        return None
    try:
        found = {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}
        if all(re.fullmatch("[0-9a-f]{32}", one) for one in found.values()):
            return found
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        pass
    fix = "Delete it, then `dvc pull` or `dvc repro` brings the right one."
    raise HistoryError("the cache's listing of a folder cannot be read", where=str(path), fix=fix)


@dataclass(frozen=True)
class Found:
    """A file of a revision. md5: None where dvc.lock names none. path: None where the cache has it not."""

    md5: str | None
    path: Path | None


def locate(store: Store, snapshot: Snapshot, made_path: str, md5: str | None, wanted: str) -> Found:
    """The file `wanted` of the out (made_path, md5); of the work tree also the file that lies there, if it is that.

    Raises HistoryError where the cache holds another file under that md5.
    """
    if md5 is None:
        return Found(None, None)
    if md5.endswith(DIR):
        listed = members(store, md5)
        if listed is None:
            return Found(md5, None)
        md5 = listed.get(wanted.removeprefix(made_path).lstrip("/"))
        if md5 is None:
            return Found(None, None)
    path = store.verified(md5)
    if path is None and isinstance(snapshot.files, OnDisk):
        here = snapshot.files.root / wanted
        path = here if here.is_file() and md5_of(here) == md5 else None
    return Found(md5, path)
