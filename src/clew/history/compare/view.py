"""The view: every section of every revision beside the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clew.errors import HistoryError
from clew.history import repository
from clew.history import store as stores
from clew.history.compare import asked, code, costs, numbers, revisions, why
from clew.history.compare.model import Number, Shared, Side, View
from clew.history.lockfile import Stage
from clew.history.snapshot import Snapshot
from clew.lineage import data_chain, data_changes

if TYPE_CHECKING:
    from clew.history.git import Repository

UNTESTED = "paired tests were switched off (--no-tests)"


def compare(repo: Repository, names: Sequence[str], *, tests: bool = True) -> View:
    """Compare the named revisions with the first of them; see `revisions.chosen` for what few names mean.

    tests: whether to make paired tests. Raises HistoryError for a name that is no revision.
    """
    before, *others = revisions.chosen(repo, names)
    root = Path(repo.workdir) if repo.workdir else None
    store = stores.store_of(repo, others[-1].commit.id if others[-1].commit else "HEAD")
    found = [(after, numbers.numbers(before, after)) for after in others]
    if not any((before.params, before.stages, before.metrics)) and not any(a.params or a.stages for a in others):
        raise _nothing([before, *others])
    alpha, made, draws = _settings(before)
    overlaps: list[dict[str, dict[str, Shared]]] = [{} for _ in others]
    if tests:
        from clew.history.compare import verdicts

        how = verdicts.setting(before)
        predictions = verdicts.Predictions(store, root)
        _, overlaps, made, draws = verdicts.give(before, found, predictions, how)
    sides = [
        _side(repo, store, before, after, those if tests else [_switched_off(number) for number in those], overlap)
        for (after, those), overlap in zip(found, overlaps, strict=True)
    ]
    return View(before, tuple(sides), made, draws, alpha, tests, tuple(notes(before)))


def _nothing(sides: Sequence[Snapshot]) -> HistoryError:
    where = ", ".join(side.name for side in sides)
    lacking = next((side.lacking for side in sides if side.lacking), None)
    if lacking:
        return HistoryError(lacking, where=where, fix=repository.BRING)
    return HistoryError(
        "there is nothing of an experiment in any of them: no params.yaml, dvc.lock or metrics",
        where=where,
        fix="Name revisions of an experiment's repository.",
    )


def _settings(before: Snapshot) -> tuple[float, int, int]:
    confidence = before.params.get("evaluate.confidence")
    return round(1 - confidence, 10) if isinstance(confidence, float) and 0 < confidence < 1 else 0.05, 0, 0


def _switched_off(number: Number) -> Number:
    if number.reason or number.kind not in ("quality", "fairness"):
        return number
    return Number(number.kind, number.variant, number.name, number.before, number.after, None, UNTESTED)


def _side(
    repo: Repository,
    store: stores.Store,
    before: Snapshot,
    after: Snapshot,
    those: Sequence[Number],
    overlap: dict[str, dict[str, Shared]],
) -> Side:
    params = why.waiting(before, after, asked.params(before, after))
    changed = code.files(repo, before, after)
    return Side(
        after=after,
        params=params,
        data=data_changes.between(store, before, after, maker=_maker(repo, before, after)),
        code=changed,
        numbers=tuple(those),
        shared=overlap,
        others=asked.others(before, after, numbers.FILES.values()),
        costs=costs.costs(before, after),
        reaches=why.reaches(before, after, params, changed),
        notes=(*notes(after), *between(repo, before, after)),
    )


def _maker(repo: Repository, before: Snapshot, after: Snapshot) -> data_chain.Maker:
    """Who made what neither side's dvc.lock leads on from: the history is asked, and only then is its index opened."""
    made = {out.path for side in (before, after) for stage in side.stages.values() for out in stage.outs}

    def maker(path: str, md5: str) -> Stage | None:
        if path not in made:  # code, or what nobody makes
            return None
        from clew.history import index

        with suppress(OSError, HistoryError):  # where it cannot be kept, the two locks are all that is asked
            return index.ask(repo, lambda found: found.maker(path, md5))
        return None

    return maker


def notes(side: Snapshot) -> list[str]:
    """What is wrong with a revision, in plain words."""
    found = [*side.problems]
    if not side.metrics and not side.problems:
        found.append("it has no metrics: the pipeline has not run there, or the metrics were not committed")
    for path in (numbers.QUALITY, numbers.FAIRNESS):
        made, name = side.out(path), side.files.files(path).get(path)
        if made and name and made.md5 and made.md5 != _md5(side.files.read(name)):
            found.append(f"{path} is not the file that dvc.lock says was made: it was edited, or not committed with it")
    return found


def _md5(text: str) -> str:
    import hashlib

    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def between(repo: Repository, before: Snapshot, after: Snapshot) -> list[str]:
    """What is to be known about the two together."""
    found = []
    if before.commit and after.commit:
        if before.commit.id == after.commit.id:
            found.append(f"the same commit as {before.name}")
        elif repository.common(repo, before.commit.id, after.commit.id) is None:
            shallow = " that this shallow clone reaches (`git fetch --unshallow`)" if repo.is_shallow else ""
            found.append(f"it has no common commit with {before.name}{shallow}: which commits changed it is not known")
    for side in (before, after):
        if side.commit and len(side.commit.parents) > 1:
            found.append(f"{side.name} is a merge of {len(side.commit.parents)} commits")
    renamed = dict(renames(before, after))
    found += [f"stage {old} is called {new} now" for old, new in renamed.items()]
    if before.stages and after.stages:
        gone = [name for name in before.stages if name not in after.stages and name not in renamed]
        new = [name for name in after.stages if name not in before.stages and name not in renamed.values()]
        found += [f"only {before.name} has stage {', '.join(gone)}"] if gone else []
        found += [f"only {after.name} has stage {', '.join(new)}"] if new else []
    return found


def renames(before: Snapshot, after: Snapshot) -> list[tuple[str, str]]:
    """(old, new) name of stages that make the same paths under another name."""
    gone = {frozenset(o.path for o in s.outs): n for n, s in before.stages.items() if n not in after.stages}
    found = []
    for name, stage in after.stages.items():
        outs = frozenset(out.path for out in stage.outs)
        if name not in before.stages and outs and outs in gone:
            found.append((gone[outs], name))
    return found
