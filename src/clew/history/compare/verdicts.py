"""Every verdict of a view: finds the predictions of both sides, tests what can be tested, corrects all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clew import paths
from clew.errors import HistoryError
from clew.history import store as stores
from clew.history.compare import gaps, numbers, paired
from clew.history.compare.model import SAME, Number, Paired, Shared
from clew.history.snapshot import Snapshot

Rows = tuple[list[Any], list[Any]]


class Setting(NamedTuple):
    """How the tests are made: of the baseline's params.yaml, where it says so."""

    resamples: int
    confidence: float
    seed: int

    @property
    def alpha(self) -> float:
        """About the chance of one false verdict or more in the view, if nothing differs.

        For accuracy it is at most that (`paired.sign`); the other tests are bootstraps, which only come near it.
        """
        return round(1 - self.confidence, 10)


def setting(side: Snapshot) -> Setting:
    """evaluate.resamples, evaluate.confidence and seed; 1000, 0.95 and 0 where there are none."""

    def value(name: str, kinds: tuple[type, ...], default: Any) -> Any:
        found: Any = side.params.get(name)
        return found if type(found) in kinds and found > 0 else default

    confidence = float(value("evaluate.confidence", (float,), 0.95))
    confidence = confidence if confidence < 1 else 0.95
    return Setting(value("evaluate.resamples", (int,), 1000), confidence, value("seed", (int,), 0))


class Predictions:
    """Predictions of revisions: from DVC's cache, or the work tree where its file is the one. Each is read once.

    DVC does not check what lies in its cache, so a file is believed only if it has the md5 that dvc.lock names.
    """

    def __init__(self, store: stores.Store, root: Path | None) -> None:
        self.store, self.root = store, root
        self.known: dict[str, list[Mapping[str, Any]] | str | None] = {}

    def of(self, side: Snapshot, variant: str) -> tuple[str, list[Mapping[str, Any]] | str]:
        """(md5, rows), or (md5, why there are none)."""
        path = (paths.PREDICTIONS / f"{variant}.parquet").as_posix()
        made = side.out(path)
        if made is None or not made.md5:
            return "", f"dvc.lock of {side.name} names no predictions of {variant}"
        try:
            md5 = self.store.digest(made.path, made.md5, path)
        except HistoryError as error:
            return "", f"{error.what}: {error.where}"
        if md5 not in self.known:
            self.known[md5] = self._read(md5, path)
        found = self.known[md5]
        absent = f"the predictions of {variant} in {side.name} are not in DVC's cache here (`dvc pull` brings them)"
        return md5, absent if found is None else found

    def _read(self, md5: str, path: str) -> list[Mapping[str, Any]] | str | None:
        """The rows, or why they cannot be read or believed; None where there is no such file."""
        wrong = None
        try:
            file = self.store.verified(md5) if md5 else None
        except HistoryError as error:
            file, wrong = None, f"{error.what}, so it is not believed: {error.where}"
        file = file or self._lying(path, md5)
        return paired.read(file) if file else wrong

    def _lying(self, path: str, md5: str) -> Path | None:
        file = self.root / path if self.root else None
        return file if file and file.is_file() and stores.md5_of(file) == md5 else None


Found = tuple[list[list[Number]], list[dict[str, dict[str, Shared]]], int, int]


def give(
    before: Snapshot, sides: Sequence[tuple[Snapshot, list[Number]]], predictions: Predictions, how: Setting
) -> Found:
    """(the numbers of each side with verdicts, how the test rows overlap, the tests made, draws of each)."""
    plan = paired.Plan()
    reasons: dict[paired.Index, str] = {}
    audits: list[tuple[int, str, str, str, Any, Rows]] = []
    overlaps: list[dict[str, dict[str, Shared]]] = []
    for index, (after, found) in enumerate(sides):
        joined, same, missing, overlap = _joined(before, after, found, predictions)
        overlaps.append(overlap)
        for place, number in enumerate(found):
            key, task = (index, place), number.name.partition(".")[0]
            if number.kind not in ("quality", "fairness") or number.reason:
                continue
            if number.variant in missing:
                reasons[key] = missing[number.variant]
            elif number.variant in same:
                found[place] = number._replace(verdict=SAME, reason="the predictions are the same, to the byte")
            elif not joined[number.variant].get(task, ([], []))[0]:
                reasons[key] = "the two test sets share no row of this task"
            elif _same(*joined[number.variant][task]):
                found[place] = number._replace(verdict=SAME, reason="the predictions of all shared rows are the same")
            elif number.kind == "quality" and not paired.changed(number.metric, joined[number.variant][task]):
                found[place] = number._replace(verdict=SAME, reason="every shared row was answered the same")
            elif number.kind == "quality":
                names = (predictions.of(before, number.variant)[0], predictions.of(after, number.variant)[0])
                reasons[key] = paired.plan(plan, key, number, joined[number.variant][task], names)
            elif number.metric in gaps.UNTESTED:
                reasons[key] = gaps.UNTESTED[number.metric]
        audits += _audits(index, before, after, found, joined, {*missing, *same})
    tests = plan.size() + len(gaps.TESTED) * len(audits)  # at most: what two sides share is tested once
    draws = paired.resamples(tests, how.resamples, how.alpha)
    coarse = 2 * tests > how.alpha * (draws + 1)
    results = paired.run(plan, draws, how.confidence, how.seed, coarse=coarse)
    results |= _fairness(sides, audits, draws, how, coarse)
    made = _judge(before, sides, results, reasons, predictions, how.alpha)
    return [found for _, found in sides], overlaps, made, draws


def _joined(
    before: Snapshot, after: Snapshot, found: Sequence[Number], predictions: Predictions
) -> tuple[dict[str, dict[str, Rows]], set[str], dict[str, str], dict[str, dict[str, Shared]]]:
    """By variant: shared rows by task; those with one and the same file; why there are none; how they overlap."""
    joined: dict[str, dict[str, Rows]] = {}
    same: set[str] = set()
    missing: dict[str, str] = {}
    overlap: dict[str, dict[str, Shared]] = {}
    for variant in dict.fromkeys(number.variant for number in found if number.kind in ("quality", "fairness")):
        (name, first), (other, second) = predictions.of(before, variant), predictions.of(after, variant)
        if name and name == other:
            same.add(variant)
        elif isinstance(first, str) or isinstance(second, str):
            missing[variant] = first if isinstance(first, str) else str(second)
        else:
            joined[variant], overlap[variant] = paired.shared(first, second)
    return joined, same, missing, overlap


def _same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return list(first) == list(second)


def _audits(
    index: int,
    before: Snapshot,
    after: Snapshot,
    found: Sequence[Number],
    joined: Mapping[str, Mapping[str, Rows]],
    without: set[str],
) -> list[tuple[int, str, str, str, Any, Rows]]:
    """(side, variant, task, attribute, audit or why not, rows) of each audit that both sides made."""
    trees = [numbers.content(side, numbers.FAIRNESS) for side in (before, after)]
    asked = {
        (number.variant, *number.name.rpartition(".")[0].partition(".")[::2]): None
        for number in found
        if number.kind == "fairness" and not number.reason and number.variant not in without
    }
    audits = []
    for variant, task, attribute in asked:
        rows = joined[variant].get(task, ([], []))
        if rows[0] and not _same(*rows):
            described = [tree.get(variant, {}).get(task, {}).get(attribute, {}).get("audit") for tree in trees]
            audits.append((index, variant, task, attribute, gaps.audit(described, task, attribute), rows))
    return audits


def _fairness(
    sides: Sequence[tuple[Snapshot, list[Number]]],
    audits: Sequence[tuple[int, str, str, str, Any, Rows]],
    draws: int,
    how: Setting,
    coarse: bool,
) -> dict[paired.Index, Paired | str]:
    results: dict[paired.Index, Paired | str] = {}
    for index, variant, task, attribute, asked, rows in audits:
        tested = (
            asked if isinstance(asked, str) else gaps.tests(asked, rows, draws, how.confidence, how.seed, coarse=coarse)
        )
        for place, number in enumerate(sides[index][1]):
            whose = (number.kind, number.variant, number.name.rpartition(".")[0])
            if whose == ("fairness", variant, f"{task}.{attribute}") and number.metric in gaps.TESTED:
                results[index, place] = tested if isinstance(tested, str) else tested[number.metric]
    return {key: result for key, result in results.items() if not sides[key[0]][1][key[1]].reason}


def _judge(
    before: Snapshot,
    sides: Sequence[tuple[Snapshot, list[Number]]],
    results: Mapping[paired.Index, Paired | str],
    reasons: Mapping[paired.Index, str],
    predictions: Predictions,
    alpha: float,
) -> int:
    """Put the verdicts, or the reasons why there are none, into the numbers; the number of tests.

    Two revisions with the same predictions ask one question: it is one test, and corrected for once.
    """
    asked: dict[paired.Index, tuple[str, str, str]] = {}
    values: dict[tuple[str, str, str], float] = {}
    for key, result in results.items():
        if isinstance(result, Paired):
            after, number = sides[key[0]][0], sides[key[0]][1][key[1]]
            names = (predictions.of(before, number.variant)[0], predictions.of(after, number.variant)[0])
            asked[key] = (*names, number.name)
            values[asked[key]] = result.p
    corrected = dict(zip(values, paired.holm(list(values.values())), strict=True))
    for index, place in results.keys() | reasons.keys():
        number = sides[index][1][place]
        found = results.get((index, place))
        if isinstance(found, Paired):
            tested = found._replace(holm=corrected[asked[index, place]])
            sides[index][1][place] = paired.judged(number, tested, alpha)
        else:
            sides[index][1][place] = number._replace(reason=found or reasons[index, place])
    return len(values)
