"""Which files hold the rows of a revision: found by walking dvc.lock upstream from its models, by path and md5.

    stages of dvc.lock  →  Chain(ledgers=(("prepare", "9c1f…"), ("clean", "07aa…"), …), rows="51d0…",
                                 splits="8ea2….dir", train="2b77…", models={"models/sft": "c0de….dir"}, fed=())

DVC leaves the entries of stages that were switched off in dvc.lock. Their ledgers are no part of what the models of
this revision saw, so the lock's stages are never simply listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clew.history.lockfile import Artifact, Stage
from clew.history.snapshot import OnDisk, Snapshot
from clew.history.store import DIR, Store, md5_of

ROWS, SPLITS, TRAIN = "data/rows.parquet", "data/splits", "data/train.parquet"
LEDGER, FED, MODELS = "data/ledger/", "data/fed/", "models/"
SIDES = ("train", "valid", "test")


@dataclass(frozen=True)
class Chain:
    """md5s by what they are; None where the lock has none. ledgers, fed: (stage, md5), upstream first.

    models: path → md5 of every model that `train` was used for, as the lock has them.
    """

    ledgers: tuple[tuple[str, str], ...] = ()
    rows: str | None = None
    splits: str | None = None
    train: str | None = None
    models: tuple[tuple[str, str], ...] = ()
    fed: tuple[tuple[str, str], ...] = ()


def chain(stages: Mapping[str, Stage]) -> Chain:
    """The chain of a dvc.lock. Without a training set it ends at what was made last of splits and rows."""
    makers = {(out.path, out.md5): name for name, stage in stages.items() for out in stage.outs}
    made = dict(makers.keys())
    end = next((path for path in (TRAIN, SPLITS, "data/clean.parquet", ROWS) if path in made), None)
    if end is None:
        return Chain()
    train = _trained_on(stages, makers) or (made[end] if end == TRAIN else None)
    visited = list(upstream(stages, end, train if end == TRAIN and train else made[end]))
    outs = [out for name in visited for out in stages[name].outs]
    of = {out.path: out.md5 for out in outs}
    models = _models(stages, makers, train)
    return Chain(
        ledgers=_by_stage(outs, LEDGER),
        rows=of.get(ROWS),
        splits=of.get(SPLITS),
        train=train,
        models=tuple((path, md5) for path, md5, _ in models),
        fed=_by_stage([out for *_, name in models for out in stages[name].outs], FED),
    )


def upstream(stages: Mapping[str, Stage], path: str, md5: str) -> Iterator[str]:
    """The stages that (path, md5) came through, those that ran first first; a dep of another md5 leads nowhere."""
    makers = {(out.path, out.md5): name for name, stage in stages.items() for out in stage.outs}
    seen: set[str] = set()

    def visit(path: str, md5: str) -> Iterator[str]:
        name = makers.get((path, md5))
        if name is None or name in seen:
            return
        seen.add(name)
        for dep in stages[name].deps:
            yield from visit(dep.path, dep.md5)
        yield name

    yield from visit(path, md5)


def _trained_on(stages: Mapping[str, Stage], makers: Mapping[tuple[str, str], str]) -> str | None:
    """The training set that the lock's own models were made from, where they agree on one that is still there."""
    used = {dep.md5 for stage in stages.values() if _makes_model(stage) for dep in stage.deps if dep.path == TRAIN}
    there = [md5 for md5 in sorted(used) if (TRAIN, md5) in makers]
    return there[0] if len(there) == 1 else None


def _makes_model(stage: Stage) -> bool:
    return any(out.path.startswith(MODELS) for out in stage.outs)


def _models(
    stages: Mapping[str, Stage], makers: Mapping[tuple[str, str], str], train: str | None
) -> list[tuple[str, str, str]]:
    """(path, md5, stage) of the models that come, by path and md5, from the training set."""
    from_train: dict[str, bool] = {}

    def comes(name: str) -> bool:
        if name not in from_train:
            from_train[name] = False  # a lock that goes in circles ends here
            deps = stages[name].deps
            above = [makers[dep.path, dep.md5] for dep in deps if (dep.path, dep.md5) in makers]
            from_train[name] = any((dep.path, dep.md5) == (TRAIN, train) for dep in deps) or any(map(comes, above))
        return from_train[name]

    found = [(out.path, out.md5, name) for name, stage in stages.items() for out in stage.outs if comes(name)]
    return [one for one in found if one[0].startswith(MODELS)]


def _by_stage(outs: list[Artifact], folder: str) -> tuple[tuple[str, str], ...]:
    found = [out for out in outs if out.path.startswith(folder) and out.path.endswith(".parquet")]
    return tuple((out.path.removeprefix(folder).removesuffix(".parquet"), out.md5) for out in found)


@dataclass(frozen=True)
class Found:
    """A file of a revision. md5: None where dvc.lock names none. path: None where the cache has it not."""

    md5: str | None
    path: Path | None


def locate(store: Store, snapshot: Snapshot, made_path: str, md5: str | None, wanted: str) -> Found:
    """The file `wanted` of the out (made_path, md5); of the work tree also the file that lies there, if it is that."""
    if md5 is None:
        return Found(None, None)
    if md5.endswith(DIR):
        inner = wanted.removeprefix(made_path).lstrip("/")
        members = store.members(md5)
        if members is None:
            return Found(md5, None)
        md5 = next((member.md5 for member in members if member.path == inner), None)
        if md5 is None:
            return Found(None, None)
    path = store.find(md5)
    if path is None and isinstance(snapshot.files, OnDisk):
        here = snapshot.files.root / wanted
        path = here if here.is_file() and md5_of(here) == md5 else None
    return Found(md5, path)
