"""Cross-validated probabilities: a row is judged by a classifier that saw neither it nor a near duplicate of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEARNT = 4_000_000
"""Rows times classes that a fold's classifier learns from, at most: more hardly change it, and take long."""
LEAST = 1_000
"""Rows of a rare class that are learnt from in any case."""
SUREST = 0.3
"""More would be taken to be sure where a classifier is weak, fewer leave the noise to chance: see benchmarks."""


class Accuracy(NamedTuple):
    """How good a classifier is. given: share of rows where it says the given label; chance: the same of one that always
    says the most frequent label; noise: share of labels that are wrong, as estimated; true: the accuracy that it would
    have against right labels, as estimated; informed: whether it is better than chance by two standard errors."""

    given: float
    chance: float
    noise: float
    true: float
    informed: bool


def folds(codes: NDArray[np.int64], clusters: Sequence[str | None], number: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row (n,): drawn, each class spread evenly, and rows of one cluster in one fold."""
    first: dict[str, int] = {}
    unit = np.fromiter(
        (i if name is None else first.setdefault(name, i) for i, name in enumerate(clusters)), np.int64, len(codes)
    )
    units = np.unique(unit)  # the position of each one's first row
    drawn = np.random.default_rng(seed).permutation(len(units))
    by_class = drawn[np.argsort(codes[units][drawn], kind="stable")]
    fold = np.empty(len(codes), dtype=np.int64)
    fold[units[by_class]] = np.arange(len(units)) % number
    return fold[unit]


def probabilities(
    features: Any,
    codes: NDArray[np.int64],
    fold: NDArray[np.int64],
    seed: int,
    *,
    intercept: bool = True,
    left_out: NDArray[np.bool_] | None = None,
    strength: float = 1.0,
) -> NDArray[np.float64]:
    """Of each class, out of fold (n, classes), by a logistic regression. features: (n, d), sparse or not.

    left_out (n,): rows that are judged and not learnt from. strength: scikit-learn's C. A class that stands in one fold
    only, or whose other rows are left out, has the probability 0 there.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    found = np.zeros((len(codes), int(codes.max()) + 1))
    with threadpool_limits(1):  # sums do not follow the number of threads, and small products are faster
        for number in np.unique(fold):
            others = fold != number if left_out is None else (fold != number) & ~left_out
            learnt = _learnt(np.flatnonzero(others), codes, seed)
            of_fold = np.flatnonzero(fold == number)
            only = np.unique(codes[learnt])
            if len(only) == 1:
                found[of_fold, only[0]] = 1
                continue
            model = LogisticRegression(C=strength, fit_intercept=intercept, max_iter=300)
            model.fit(features[learnt], codes[learnt])
            found[np.ix_(of_fold, model.classes_)] = model.predict_proba(features[of_fold])
    return found


def _learnt(rows: NDArray[np.int64], codes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Those of the rows to learn from: all, or of each class its share of LEARNT, drawn."""
    counts = np.bincount(codes[rows])
    most = LEARNT // len(counts)
    if len(rows) <= most:
        return rows
    quotas = np.maximum(counts * most // len(rows), np.minimum(counts, LEAST))
    drawn = rows[np.random.default_rng(seed).permutation(len(rows))]
    parts = [drawn[codes[drawn] == code][:quota] for code, quota in enumerate(quotas)]
    return np.sort(np.concatenate(parts))


def accuracy(codes: NDArray[np.int64], found: NDArray[np.float64]) -> Accuracy:
    """How good the classifier behind `found` (n, classes) is, given labels of which some may be wrong.

    Wrong labels make a classifier look worse than it is. How many they are is told by the rows that it is surest of
    (those with the highest probability, class by class as predicted): where it disagrees with the label there, it
    is taken to be the label that is wrong. If wrong labels are spread evenly over the K classes, an accuracy of t
    against right ones looks like t (1 - noise) + (1 - t) noise / (K - 1): solved for t.
    """
    predicted, sureness = found.argmax(axis=1), found.max(axis=1)
    agrees = predicted == codes
    given = float(agrees.mean())
    order = np.lexsort((-sureness, predicted))
    counts = np.bincount(predicted)
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    surest = order[rank < np.maximum(1, SUREST * np.repeat(counts, counts))]
    disagreements = np.bincount(predicted[surest], ~agrees[surest], len(counts))
    shares = disagreements / np.maximum(1, np.bincount(predicted[surest], minlength=len(counts)))
    noise = float((counts * shares).sum() / len(codes))
    elsewhere = noise / max(1, found.shape[1] - 1)
    informative = 1 - noise - elsewhere
    true = (given - elsewhere) / informative if informative > 0 else given
    chance = float(np.bincount(codes).max() / len(codes))
    informed = given > chance + 2 * np.sqrt(chance * (1 - chance) / len(codes))
    return Accuracy(given, chance, noise, min(1.0, max(given, true)), bool(informed))
