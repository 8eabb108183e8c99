"""Better, worse or no difference shown: paired tests on the stored predictions of the rows that both sides tested.

Of each number the rows are drawn with replacement, the same draws for both sides (`evaluation.intervals`), and
the differences of the draws give its interval and p-value. All p-values of a view are corrected together (Holm, 1979).
The number of draws bounds p from above; where a view has so many tests that the bound alone would hide every
difference, a difference with no draw beyond zero gets the p of Student's t with n - 1 degrees of freedom of the
difference over its bootstrap standard error (Efron and Tibshirani, 1993, ch. 12), if that is smaller.

The bootstrap believes too much of few rows: where k rows were answered otherwise at all, a test that swaps the sides of
rows at random (Fisher's randomisation test; Noreen, 1989) cannot give less than 2^(1 - k), and so no p here is less.
Where k is 0 nothing could be shown, so there is no test, and none to be corrected for (Tarone, 1990).
For accuracy that test is exact (the sign test on the rows right on one side alone; McNemar, 1947), and no p is less
than its p: the level holds. For the other metrics it holds about: of few changed rows the bootstrap rejects too often.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from clew import io
from clew.errors import DataError
from clew.evaluation import intervals, metrics
from clew.evaluation.predictions import Row, by_task
from clew.history.compare.model import BETTER, SAME, WORSE, Number, Paired, Shared

Index = tuple[int, int]
"""Which side of the view, and which of its numbers."""
MOST = 10_000
"""Draws at most: beyond, p-values come from the tail of Student's t."""


BY_ANSWER = ("accuracy", "f1", "bleu", "chrf", "exact_match", "micro_f1", "macro_f1")
"""Metrics that see the answer alone, not how likely it was."""


class Rows(NamedTuple):
    """What a test stands on: its rows, the least p that they allow, and whether draws are few for the tests."""

    n: int
    least: float
    confidence: float
    coarse: bool


class Plan:
    """The tests of a view, gathered before any is made, so that one draw of rows serves all that need the same rows.

    jobs: (task, row ids) → index → (key of before, key of after); makers: the metric of each key, a function of counts.
    least: index → the least p that the rows allow.
    """

    def __init__(self) -> None:
        self.least: dict[Index, float] = {}
        self.jobs: dict[tuple[str, tuple[str, ...]], dict[Index, tuple[Hashable, Hashable]]] = {}
        self.made: dict[tuple[tuple[str, tuple[str, ...]], Hashable], intervals.Metric] = {}

    def size(self) -> int:
        """How many tests there are."""
        return sum(map(len, self.jobs.values()))


def resamples(tests: int, asked: int, alpha: float) -> int:
    """Draws enough for the smallest p-value to pass Holm's first step, alpha / tests, with room to spare.

    >>> resamples(20, 1000, 0.05), resamples(5000, 1000, 0.05)
    (1600, 10000)
    """
    return max(asked, min(MOST, math.ceil(4 * tests / alpha)))


def plan(
    plan: Plan, index: Index, number: Number, rows: tuple[Sequence[Row], Sequence[Row]], names: tuple[str, str]
) -> str:
    """Add the test of a number to the plan, or say why there is none.

    rows: of the number's task on each side, in one order. names: what makes each side's predictions (an md5).
    """
    task = number.name.partition(".")[0]
    key = (task, tuple(row["row_id"] for row in rows[0]))
    sides = []
    for name, side in zip(names, rows, strict=True):
        maker = (name, number.metric)
        if (key, maker) not in plan.made:
            try:
                made = metrics.table(task, side)[number.metric](side)
            except KeyError:
                return "no test is known for it"
            except (DataError, ValueError) as error:
                return str(error)
            if isinstance(made, str):
                return made
            plan.made[key, maker] = made
        sides.append(maker)
    plan.jobs.setdefault(key, {})[index] = (sides[0], sides[1])
    plan.least[index] = sign(rows) if number.metric == "accuracy" else least(changed(number.metric, rows))
    return ""


def run(plan: Plan, draws: int, confidence: float, seed: int, *, coarse: bool) -> dict[Index, Paired | str]:
    """Make the tests of the plan: the paired difference of each, or why there is none."""
    found: dict[Index, Paired | str] = {}
    for key, pairs in plan.jobs.items():
        task, ids = key
        n = len(ids)
        wanted = {maker: plan.made[key, maker] for pair in pairs.values() for maker in pair}
        values = {maker: intervals.point(metric, n) for maker, metric in wanted.items()}
        samples = intervals.bootstrap(wanted, n, draws, intervals.generator(seed, task))
        for index, (first, second) in pairs.items():
            how = Rows(n, plan.least[index], confidence, coarse)
            found[index] = test(values[second], values[first], samples[second], samples[first], how)
    return found


def test(
    value: float,
    other: float,
    samples: intervals.Array,
    others: intervals.Array,
    how: Rows,
) -> Paired | str:
    """One paired test of `value` against `other`, from their draws of shape (draws,), or why there is none."""
    if not (math.isfinite(value) and math.isfinite(other)):
        return "it is not a finite number on the shared rows"
    found = intervals.difference(value, other, samples, others, how.confidence)
    if found["p"] is None:
        return str(found["reason"])
    p = float(found["p"])
    if how.coarse and p <= 2 / (len(samples) + 1) and how.n > 1:
        p = min(p, tail(found["difference"], samples, others, how.n))
    p = max(p, how.least)
    return Paired(float(found["difference"]), found["low"], found["high"], p, how.n)


def changed(metric: str, rows: tuple[Sequence[Row], Sequence[Row]]) -> int:
    """How many rows the two sides answered otherwise, as far as a metric sees it."""
    by_answer = metric in BY_ANSWER or metric.startswith("entity_")
    columns = ("prediction", "predicted") if by_answer else ("prediction", "scores", "logprob")
    return sum(
        any(first.get(name) != second.get(name) for name in columns) for first, second in zip(*rows, strict=True)
    )


def least(changed: int) -> float:
    """The least two-sided p that swapping the sides of `changed` rows at random can give.

    >>> least(0), least(1), least(5)
    (1.0, 1.0, 0.0625)
    """
    return min(1.0, 2.0 ** (1 - changed))


def sign(rows: tuple[Sequence[Row], Sequence[Row]]) -> float:
    """The exact two-sided p of as many rows right before alone and after alone, were each as likely (McNemar, 1947)."""
    from scipy import special

    right = [[row["prediction"] == row["label"] for row in side] for side in rows]
    lost = sum(before and not after for before, after in zip(*right, strict=True))
    won = sum(after and not before for before, after in zip(*right, strict=True))
    return min(1.0, 2 * float(special.bdtr(min(lost, won), lost + won, 0.5))) if lost + won else 1.0


def tail(difference: float, samples: intervals.Array, others: intervals.Array, n: int) -> float:
    """Two-sided p of Student's t with n - 1 degrees of freedom; 1 where the draws do not vary."""
    import numpy as np
    from scipy import special

    deltas = samples - others
    spread = float(np.std(deltas[np.isfinite(deltas)], ddof=1))
    return 2 * float(special.stdtr(n - 1, -abs(difference) / spread)) if spread > 0 else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979, 65-70).

    The k-th smallest of m is multiplied by m - k + 1, never falls below the one before it, and is at most 1.

    >>> [round(p, 3) for p in holm([0.04, 0.01, 0.03])]
    [0.06, 0.03, 0.06]
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, highest = [1.0] * len(values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = highest
    return corrected


def judged(number: Number, paired: Paired, alpha: float) -> Number:
    """The number with its verdict: shown where the corrected p-value is at most alpha."""
    verdict = SAME
    if paired.holm <= alpha and paired.difference != 0:
        lower = number.kind == "fairness" or number.metric in metrics.LOWER_IS_BETTER
        verdict = BETTER if (paired.difference < 0) == lower else WORSE
    return number._replace(verdict=verdict, paired=paired, reason="")


def shared(
    before: Iterable[Row], after: Iterable[Row]
) -> tuple[dict[str, tuple[list[Row], list[Row]]], dict[str, Shared]]:
    """The rows of both sides by task, joined by row id and sorted by it; and how many were shared.

    A row that a file holds twice counts once.
    """
    ours, theirs = by_task(list(before)), by_task(list(after))
    joined, counts = {}, {}
    for task in sorted(ours.keys() | theirs.keys()):
        first, second = ({row["row_id"]: row for row in side.get(task, ())} for side in (ours, theirs))
        ids = sorted(first.keys() & second.keys())
        joined[task] = ([first[name] for name in ids], [second[name] for name in ids])
        counts[task] = Shared(len(ids), len(first) - len(ids), len(second) - len(ids))
    return joined, counts


def read(path: Any) -> list[Mapping[str, Any]] | str:
    """The predictions in a file, or why they cannot be read."""
    from clew import rows

    try:
        return list(io.read_parquet(path, rows.PREDICTION_SCHEMA))
    except DataError as error:
        told = error.what
    try:
        return list(io.read_parquet(path, rows.PREDICTION_SCHEMA_1))
    except DataError:
        return told
