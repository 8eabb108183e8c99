"""Labels that are probably wrong: confident learning (Northcutt, Jiang and Chuang, JAIR 2021) by cleanlab.

The precision of what it finds follows the accuracy of the classifier behind it: at .97 nine of ten finds are right,
at .81 fewer than half. So the measured accuracy decides: drop at or above `min_accuracy`, else weigh less or review.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clew.cleaning.finding import Action, Context, Finding, Findings
from clew.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from clew.params_clean import LabelNoiseRule


def find(rows: pa.Table, rule: LabelNoiseRule, context: Context) -> Findings:
    """Rows of `rule.tasks` whose label confident learning doubts; what happens to them follows the accuracy.

    score is the probability that the cross-validated classifier gives the row's own label. Of rows that confident
    learning does not doubt, no score is told: no threshold could flip them.
    """
    found: dict[int, Finding] = {}
    figures = {}
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    for task in rule.tasks:
        positions = np.flatnonzero(pc.equal(rows["task"], task).to_numpy(zero_copy_only=False))
        of_task = rows.select(["text", "label"]).take(positions)
        texts, labels = of_task["text"].to_pylist(), of_task["label"].to_pylist()
        _check(task, labels, rule.folds)
        try:
            doubted, confidence, accuracy = doubts(texts, labels, rule.folds, context.seed)
        except NoTerms:
            raise DataError(
                "the texts hold no characters to learn from",
                where=f"clean.label_noise.tasks: {task}",
                fix="Take the task out, or mend its text under prepare.",
            ) from None
        action: Action = "drop" if accuracy >= rule.min_accuracy else rule.otherwise
        scores[positions[doubted]] = confidence[doubted]
        told = f"classifier accuracy {accuracy:.3f}"
        below = np.flatnonzero(doubted & (confidence < rule.threshold))
        for position, own in zip(positions[below].tolist(), confidence[below].tolist(), strict=True):
            found[position] = Finding(action, score=own, threshold=rule.threshold, detail=told)
        figures[task] = {
            "accuracy": accuracy,
            "n": len(labels),
            "doubted": len(below),
            "action": action,
            "why": f"accuracy {accuracy:.3f} is {'at least' if action == 'drop' else 'below'} {rule.min_accuracy}",
        }
    return Findings(found, scores, figures)


def doubts(
    texts: list[str], labels: list[str], folds: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64], float]:
    """Which labels are doubted (n,), the probability given to each row's own label (n,), and the accuracy.

    Probabilities are out of fold: logistic regression on tf-idf of words and word pairs, or of characters and their
    pairs where words are not told apart or never recur; issues by cleanlab's `prune_by_noise_rate`.
    """
    from cleanlab.filter import find_label_issues

    classes, codes = np.unique(labels, return_inverse=True)
    probabilities = _probabilities(texts, codes, folds, seed)
    issues = find_label_issues(codes, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    accuracy = float((probabilities.argmax(axis=1) == codes).mean())
    assert probabilities.shape == (len(labels), len(classes))  # noqa: S101 - every class stands in every fold
    return issues, probabilities[np.arange(len(codes)), codes], accuracy


class NoTerms(Exception):  # noqa: N818 - told as a DataError with the task's name
    """The texts hold nothing to learn from."""


UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Letters of scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han."""


def _probabilities(texts: list[str], codes: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.float64]:
    """Of each class, out of fold (n, classes); from words, or from characters where words say nothing."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    characters = TfidfVectorizer(ngram_range=(1, 2), analyzer="char", sublinear_tf=True)
    unspaced = sum(len(UNSPACED.findall(text)) for text in texts)
    letters = sum(character.isalpha() for text in texts for character in text)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for features in [characters] if 2 * unspaced > letters else [words, characters]:
        model = make_pipeline(features, LogisticRegression(C=10, max_iter=1000))
        try:
            with threadpool_limits(1):  # small products: threads that wait for each other take ten times as long
                found: NDArray[np.float64] = cross_val_predict(model, texts, codes, cv=splitter, method="predict_proba")
            return found
        except ValueError as error:
            if "terms" not in str(error) and "vocabulary" not in str(error):
                raise
    raise NoTerms


def _check(task: str, labels: list[str], folds: int) -> None:
    counts = Counter(labels)
    where = f"clean.label_noise.tasks: {task}"
    if not counts:
        raise DataError(
            "the rules before label noise left no row of the task",
            where=where,
            fix="Loosen clean.missing, clean.length or clean.duplicates, or take the task out.",
        )
    if len(counts) < 2:
        raise DataError(
            f"label noise needs two classes, and the rows that are left have one ({next(iter(counts))})",
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
