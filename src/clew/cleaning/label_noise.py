"""Labels that are probably wrong: confident learning (Northcutt, Jiang and Chuang, JAIR 2021) by cleanlab.

The precision of what it finds follows the accuracy of the classifier behind it: at .97 nine of ten finds are right,
at .81 fewer than half. So the accuracy decides: drop at or above `min_accuracy`, else weigh less or review.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clew.cleaning import crossval, features, terms
from clew.cleaning.finding import Action, Context, Finding, Findings
from clew.cleaning.finding import positions as positions_of
from clew.cleaning.store import Texts
from clew.errors import DataError
from clew.ledger import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import LabelNoiseRule

MOST_TERMS = 2**17
WEIGHTS = 2**22
"""Terms times classes, at most: what the classifier needs memory for."""
LOOSE = 5.0
"""scikit-learn's C of the second round: labels with less noise want less of a rein. 3 to 10 find nearly the same."""


class Doubts(NamedTuple):
    """doubted (n,); own (n,): the probability of each row's own label; likeliest (n,): the most probable label."""

    doubted: NDArray[np.bool_]
    own: NDArray[np.float64]
    likeliest: NDArray[np.object_]
    accuracy: crossval.Accuracy


def find(rows: Rows, rule: LabelNoiseRule, context: Context) -> Findings:
    """Rows of `rule.tasks` whose label confident learning doubts; what happens to them follows the accuracy.

    score is the probability that the cross-validated classifier gives the row's own label. Of rows that confident
    learning does not doubt, no score is told: no threshold could flip them.
    """
    found: dict[int, Finding] = {}
    figures = {}
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    for task in rule.tasks:
        positions = positions_of(rows, (task,))
        labels, clusters = rows.shared("label", positions), rows.shared("cluster", positions)
        where = f"clean.label_noise.tasks: {task}"
        check_known(labels, where)
        check(labels, clusters, rule.folds, where, "clean.label_noise.folds")
        vectors = features_of(Texts(rows, "text", positions), len(set(labels)), context, where)
        doubts = doubted(vectors, labels, clusters, rule, context.seed)
        action = decided(doubts.accuracy, rule.min_accuracy, rule.otherwise)
        scores[positions[doubts.doubted]] = doubts.own[doubts.doubted]
        below = np.flatnonzero(doubts.doubted & (doubts.own < rule.threshold))
        told = f"classifier accuracy {doubts.accuracy.true:.3f}"
        for index in below.tolist():
            detail = f"{labels[index]}, probably {doubts.likeliest[index]}; {told}"
            found[int(positions[index])] = Finding(action, float(doubts.own[index]), rule.threshold, detail)
        figures[task] = {"n": len(labels), "doubted": len(below)} | figures_of(
            doubts.accuracy, action, rule.min_accuracy
        )
    return Findings(found, scores, figures)


def features_of(texts: terms.Texts, classes: int, context: Context, where: str) -> Any:
    """Texts as numbers (n, d), as clean.features says: sparse tf-idf (not reduced, which tells more), or embeddings."""
    if context.features.kind != "tfidf":
        return features.embed(list(texts), context.features, context.seed)
    try:
        return terms.tfidf(texts, min(MOST_TERMS, WEIGHTS // classes))
    except terms.NoTerms:
        raise DataError(
            "the texts hold no characters to learn from",
            where=where,
            fix="Take the task out, or mend its text under prepare.",
        ) from None


def doubted(
    vectors: Any, labels: Sequence[str], clusters: Sequence[str | None], rule: LabelNoiseRule, seed: int
) -> Doubts:
    """What confident learning says of labels: cleanlab's `prune_by_noise_rate` on out-of-fold probabilities.

    Where the doubts are mostly right (the classifier is accurate enough for them to be dropped), a second round learns
    tf-idf without the doubted rows and judges all rows anew: it finds more. The accuracy stays that of the first, which
    left nothing out. On embeddings a second round would find more, too, but with more sound rows among them.
    A classifier that is no better than chance would doubt all labels but the most frequent: it doubts none.
    """
    from cleanlab.filter import find_label_issues
    from scipy.sparse import issparse

    classes = np.array(sorted(set(labels)), dtype=object)
    index = {label: code for code, label in enumerate(classes)}
    codes = np.fromiter(map(index.__getitem__, labels), np.int64, len(labels))
    fold = crossval.folds(codes, clusters, rule.folds, seed)
    found = crossval.probabilities(vectors, codes, fold, seed)
    issues = find_label_issues(codes, found, filter_by="prune_by_noise_rate", n_jobs=1)
    accuracy = crossval.accuracy(codes, found)
    if issparse(vectors) and decided(accuracy, rule.min_accuracy, rule.otherwise) == "drop":
        found = crossval.probabilities(vectors, codes, fold, seed, left_out=issues, strength=LOOSE)
        issues = find_label_issues(codes, found, filter_by="prune_by_noise_rate", n_jobs=1)
    own = rounded(found[np.arange(len(codes)), codes])
    return Doubts(issues & accuracy.informed, own, classes[found.argmax(axis=1)], accuracy)


def decided(accuracy: crossval.Accuracy, min_accuracy: float, otherwise: Action) -> Action:
    """What happens to what a classifier doubts."""
    return "drop" if accuracy.informed and accuracy.true >= min_accuracy else otherwise


def figures_of(accuracy: crossval.Accuracy, action: Action, min_accuracy: float) -> dict[str, Any]:
    """For metrics/clean.json: how good the classifier is, what follows and why.

    From one that is no better than chance nothing follows, and nothing can be told of wrong labels.
    """
    word = "at least" if action == "drop" else "below"
    why = f"accuracy {accuracy.true:.3f} is {word} {min_accuracy}"
    if not accuracy.informed:
        why = (
            f"nothing is doubted: {accuracy.given:.3f} is no better than always the same answer, {accuracy.chance:.3f}"
        )
    return {
        "accuracy": accuracy.true if accuracy.informed else None,
        "accuracy_on_given_labels": accuracy.given,
        "chance": accuracy.chance,
        "noise": accuracy.noise if accuracy.informed else None,
        "action": action if accuracy.informed else None,
        "why": why,
    }


def check_known(labels: Sequence[str | None], where: str) -> None:
    """Raise a DataError where a label is null."""
    if unknown := sum(label is None for label in labels):
        raise DataError(
            f"{unknown:,} rows of the task have no label",
            where=where,
            fix="Set `clean.missing.label` to drop or impute, or take the task out.",
        )


def check(labels: Sequence[str], clusters: Sequence[str | None], folds: int, where: str, param: str) -> None:
    """Raise a DataError unless there are two classes, each in as many rows (clusters as one) as there are folds."""
    counts = Counter(dict.fromkeys(labels, 0))
    seen: set[str | None] = set()
    for label, cluster in zip(labels, clusters, strict=True):
        if cluster is None or cluster not in seen:
            counts[label] += 1
            seen.add(cluster)
    if not counts:
        raise DataError(
            "the rules before it left no row of the task",
            where=where,
            fix="Loosen the rules before it, or take the task out.",
        )
    if len(counts) < 2:
        raise DataError(
            f"two classes are needed, and the rows that are left have one ({next(iter(counts))})",
            where=where,
            fix="Take the task out, or mend its label mapping under prepare.",
        )
    label, rarest = min(counts.items(), key=lambda pair: (pair[1], pair[0]))
    if rarest < folds:
        raise DataError(
            f"label `{label}` has {rarest} rows (near duplicates as one), fewer than {param} = {folds}",
            where=where,
            fix="Lower the folds or take the task out.",
        )
