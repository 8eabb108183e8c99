"""Preference pairs whose chosen answer is probably the worse one: `chosen` as a noisy label.

A logistic regression learns to tell the better of two answers from the difference of their features (Bradley and
Terry's model, 1952); confident learning says which choices it doubts. For written answers: letters and label words say
nothing about themselves.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clew.cleaning import crossval, label_noise
from clew.cleaning.finding import Context, Finding, Findings
from clew.cleaning.finding import where as positions_where
from clew.errors import DataError
from clew.ledger import rounded

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import PreferencesRule


def find(rows: Rows, rule: PreferencesRule, context: Context) -> Findings:
    """Pairs of `rule.tasks` whose choice is doubted; what happens to them follows the accuracy, as in label_noise.

    score is the probability that the chosen answer is the better one; of pairs that are not doubted, none is told.
    """
    found: dict[int, Finding] = {}
    figures = {}
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    for task in rule.tasks:
        where = f"clean.preferences.tasks: {task}"
        positions = positions_where(rows, ["task", "completion", "rejected"], partial(_is_paired, task))
        pairs = rows.take(positions, ["completion", "rejected", "cluster"])
        doubted, own, accuracy = doubts(pairs, rule.folds, context, where)
        action = label_noise.decided(accuracy, rule.min_accuracy, rule.otherwise)
        scores[positions[doubted]] = own[doubted]
        below = np.flatnonzero(doubted & (own < rule.threshold))
        told = f"the rejected answer is probably better; classifier accuracy {accuracy.true:.3f}"
        for index in below.tolist():
            found[int(positions[index])] = Finding(action, float(own[index]), rule.threshold, told)
        figures[task] = {"n": len(positions), "doubted": len(below)} | (
            label_noise.figures_of(accuracy, action, rule.min_accuracy)
        )
    return Findings(found, scores, figures)


def _is_paired(task: str, batch: pa.Table) -> pa.ChunkedArray:
    both = pc.and_(batch["completion"].is_valid(), batch["rejected"].is_valid())
    return pc.and_(pc.equal(batch["task"], task), both)


def doubts(
    pairs: pa.Table, folds: int, context: Context, where: str
) -> tuple[NDArray[np.bool_], NDArray[np.float64], crossval.Accuracy]:
    """Which choices are doubted (n,), the probability that the chosen answer is better (n,), and the accuracy.

    pairs: the columns completion, rejected and cluster. The classifier sees the two answers in an order that is drawn,
    and has no intercept: swapped answers swap the probabilities.
    """
    from cleanlab.filter import find_label_issues

    n = len(pairs)
    if n < 2 * folds:
        raise DataError(
            f"{n} rows with a rejected answer are too few for clean.preferences.folds = {folds}",
            where=where,
            fix="Take the task out, or map rejected answers under prepare.",
        )
    answers = [*pairs["completion"].fill_null("").to_pylist(), *pairs["rejected"].to_pylist()]
    vectors = label_noise.features_of(answers, 2, context, where)
    first = np.random.default_rng(context.seed).permutation(n) % 2  # 1: the chosen answer comes first
    before = np.where(first, np.arange(n), n + np.arange(n))
    after = np.where(first, n + np.arange(n), np.arange(n))
    fold = crossval.folds(first, pairs["cluster"].to_pylist(), folds, context.seed)
    probabilities = crossval.probabilities(vectors[before] - vectors[after], first, fold, context.seed, intercept=False)
    issues = find_label_issues(first, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    accuracy = crossval.accuracy(first, probabilities)
    return issues & accuracy.informed, rounded(probabilities[np.arange(n), first]), accuracy
