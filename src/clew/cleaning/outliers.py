"""Texts unlike all others of their task, and near duplicates: cleanlab's Datalab, over a graph of neighbours by faiss.

Datalab's own graph compares all with all in Python: 50,000 texts take minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.cleaning.features import embed
from clew.cleaning.finding import Context, Finding, Findings, positions
from clew.cleaning.neighbours import nearest
from clew.cleaning.store import Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import OutliersRule

FEWEST = 4
"""Texts of which quartiles say something."""


def find(rows: Rows, rule: OutliersRule, context: Context) -> Findings:
    """Rows of `rule.tasks` whose text is farther from its neighbours than Datalab's threshold allows, and, where
    `rule.near_duplicates` says what is to happen to them, those that Datalab calls near duplicates of an earlier row.

    score is the threshold at which Datalab would begin to call the row an outlier, at most 1.
    """
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    found: dict[int, Finding] = {}
    figures: dict[str, Any] = {}
    for task in rule.tasks:
        some = positions(rows, (task,))
        figures[task] = {"n": len(some), "found": 0, "near_duplicates": 0}
        if len(some) < FEWEST:
            continue
        vectors = embed(list(Texts(rows, "text", some)), context.features, context.seed)
        distances, others = nearest(vectors, min(rule.neighbours, len(some) - 1), context.seed)
        issues, alike = _issues(distances, others, rule.threshold)
        means = distances.mean(axis=1)
        scores[some] = thresholds(means)
        outlying = np.flatnonzero(issues["is_outlier_issue"])
        for position, mean in zip(some[outlying].tolist(), means[outlying].tolist(), strict=True):
            told = f"mean distance {mean:.3f} to its neighbours; the median is {np.median(means):.3f}"
            found[position] = Finding(rule.action, float(scores[position]), rule.threshold, told)
        near = np.flatnonzero(issues["is_near_duplicate_issue"])
        if rule.near_duplicates is not None:
            ids = rows.take(some, ["row_id"])["row_id"].to_pylist()
            for local in near.tolist():
                if (first := min(alike[local], default=local)) < local:
                    told = f"near duplicate of row {ids[first][:12]} by its embedding"
                    found.setdefault(int(some[local]), Finding(rule.near_duplicates, detail=told))
        figures[task] |= {"found": len(outlying), "near_duplicates": len(near)}
    return Findings(found, scores, figures)


def thresholds(means: NDArray[np.float32]) -> NDArray[np.float64]:
    """The highest threshold t of Datalab's at which each mean distance (n,) is no outlier's: Q3 + (1 / t - 1) IQR.

    >>> thresholds(np.array([1, 2, 3, 4, 9])).round(3).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.286]
    """
    low, high = np.percentile(means, [25, 75])
    beyond = np.maximum(means - high, 0)
    found: NDArray[np.float64] = np.divide(high - low, high - low + beyond, out=np.ones(len(means)), where=beyond > 0)
    return found


def _issues(
    distances: NDArray[np.float32], others: NDArray[np.int64], threshold: float
) -> tuple[Any, Sequence[NDArray[np.int64]]]:
    """Datalab's table of issues (is_outlier_issue and is_near_duplicate_issue of each row), and what each is like."""
    from cleanlab import Datalab
    from scipy.sparse import csr_matrix

    n, k = distances.shape
    starts = np.arange(0, n * k + 1, k)
    graph = csr_matrix((distances.ravel(), np.maximum(others, 0).ravel(), starts), shape=(n, n))
    lab = Datalab(data={"row": np.arange(n)}, verbosity=0)
    lab.find_issues(
        knn_graph=graph, issue_types={"outlier": {"k": k, "threshold": threshold}, "near_duplicate": {"k": k}}
    )
    issues = lab.get_issues()  # without a column that it could not make: it prints errors and goes on
    return issues, lab.get_info("near_duplicate")["near_duplicate_sets"]
