"""Labels that are probably wrong: confident learning (Northcutt, Jiang and Chuang, JAIR 2021) by cleanlab.

The precision of what it finds follows the accuracy of the classifier behind it: at .97 nine of ten finds are right,
at .81 fewer than half. So the measured accuracy decides: drop at or above `min_accuracy`, else weigh less.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from clew.cleaning.finding import Finding, Findings
from clew.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clew.params import LabelNoiseRule


def find(rows: list[dict[str, Any]], rule: LabelNoiseRule, seed: int) -> Findings:
    """Drop, or weigh less, the rows whose label the cross-validated classifier doubts, in each of `rule.tasks`.

    score is the probability that the classifier gives the row's own label; threshold is `min_accuracy`.
    """
    found: dict[int, Finding] = {}
    figures = {}
    for task in rule.tasks:
        positions = [position for position, row in enumerate(rows) if row["task"] == task]
        texts = [rows[position]["text"] for position in positions]
        labels = [rows[position]["label"] for position in positions]
        _check(task, labels, rule.folds)
        doubted, confidence, accuracy = doubts(texts, labels, rule.folds, seed)
        drop = accuracy >= rule.min_accuracy
        for position, is_doubted, own in zip(positions, doubted, confidence, strict=True):
            if is_doubted:
                found[position] = Finding(
                    "dropped" if drop else "changed",
                    "label_noise",
                    score=float(own),
                    threshold=rule.min_accuracy,
                    detail=f"classifier accuracy {accuracy:.3f}",
                    weight=None if drop else rule.weight,
                )
        figures[task] = {
            "accuracy": accuracy,
            "n": len(labels),
            "doubted": int(doubted.sum()),
            "action": "drop" if drop else "weigh less",
        }
    return Findings(found, figures)


def doubts(
    texts: list[str], labels: list[str], folds: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64], float]:
    """Which labels are doubted (n,), the probability given to each row's own label (n,), and the accuracy.

    Probabilities are out of fold: logistic regression on tf-idf of words and word pairs; issues by cleanlab's
    `prune_by_noise_rate`.
    """
    import numpy as np
    from cleanlab.filter import find_label_issues
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    classes, codes = np.unique(labels, return_inverse=True)
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000),
    )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # these products are small: threads that wait for each other take ten times as long
        probabilities = cross_val_predict(model, texts, codes, cv=splitter, method="predict_proba")
    issues = find_label_issues(codes, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    accuracy = float((probabilities.argmax(axis=1) == codes).mean())
    assert probabilities.shape == (len(labels), len(classes))  # noqa: S101 - every class stands in every fold
    return issues, probabilities[np.arange(len(codes)), codes], accuracy


def _check(task: str, labels: list[str], folds: int) -> None:
    counts = Counter(labels)
    where = f"clean.label_noise.tasks: {task}"
    if len(counts) < 2:
        only = f" ({next(iter(counts))})" if counts else ""
        raise DataError(
            f"label noise needs two classes, and the rows have {len(counts)}{only}",
            where=where,
            fix="Take the task out of clean.label_noise.tasks, or mend its label mapping under prepare.",
        )
    label, rarest = min(counts.items(), key=lambda pair: (pair[1], pair[0]))
    if rarest < folds:
        raise DataError(
            f"label `{label}` has {rarest} rows, fewer than clean.label_noise.folds = {folds}",
            where=where,
            fix="Lower the folds or take the task out.",
        )
