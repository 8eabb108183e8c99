"""The metrics: one function each, and its line in CHOICE, BINARY, LABELS or TEXT; those of tags are in `entities`.

A metric takes a task's predictions and returns a function of how often each row counts (see intervals), or, as a
string, the reason why the number cannot be had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from clew.evaluation import entities
from clew.evaluation.intervals import Array, Metric
from clew.evaluation.predictions import Row, is_choice

Maker = Callable[[Sequence[Row]], Metric | str]


def accuracy(rows: Sequence[Row]) -> Metric | str:
    """Share of rows whose prediction is the label."""
    hits = np.array([row["prediction"] == row["label"] for row in rows], dtype=np.float64)
    return lambda counts: counts @ hits / counts.sum(axis=1)


def macro_f1(rows: Sequence[Row]) -> Metric | str:
    """Mean over the classes of 2 TP / (2 TP + FP + FN); a class counts where it is a label or a prediction."""
    classes = sorted({row["label"] for row in rows} | {_text(row["prediction"]) for row in rows})
    actual = np.array([[row["label"] == name for name in classes] for row in rows], dtype=np.float64)
    predicted = np.array([[row["prediction"] == name for name in classes] for row in rows], dtype=np.float64)
    return lambda counts: _mean_f1(counts, actual, predicted)


def _mean_f1(counts: Array, actual: Array, predicted: Array) -> Array:
    """Mean F1 over the columns of two matrices of 0 and 1 (rows, classes); a class that is in neither is left out."""
    twice, total = 2 * (counts @ (actual * predicted)), counts @ (actual + predicted)
    score = np.divide(twice, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(score.sum(axis=1) / (total > 0).sum(axis=1))


def exact_match(rows: Sequence[Row]) -> Metric | str:
    """Share of rows whose predicted labels are all the right ones and no other."""
    hits = np.array([set(row["predicted"]) == set(row["labels"]) for row in rows], dtype=np.float64)
    return lambda counts: counts @ hits / counts.sum(axis=1)


def micro_f1(rows: Sequence[Row]) -> Metric | str:
    """2 TP / (2 TP + FP + FN), summed over the labels; of rows that may have several."""
    actual, predicted = _indicators(rows)
    if not actual.any():
        return "no row has a label"
    hits, either = (actual * predicted).sum(axis=1), (actual + predicted).sum(axis=1)
    return lambda counts: np.asarray(2 * (counts @ hits) / (counts @ either))


def macro_f1_of_labels(rows: Sequence[Row]) -> Metric | str:
    """Mean over the labels of 2 TP / (2 TP + FP + FN); a label counts where a row has it or is predicted to."""
    actual, predicted = _indicators(rows)
    if not actual.any():
        return "no row has a label"
    return lambda counts: _mean_f1(counts, actual, predicted)


def _indicators(rows: Sequence[Row]) -> tuple[Array, Array]:
    """Which label each row has and was predicted to have, each of shape (rows, labels)."""
    labels = sorted({label for row in rows for label in row["choices"]})
    columns = ("labels", "predicted")
    actual, predicted = ([[label in row[column] for label in labels] for row in rows] for column in columns)
    return np.array(actual, dtype=np.float64), np.array(predicted, dtype=np.float64)


def log_loss(rows: Sequence[Row]) -> Metric | str:
    """Mean of -ln p(label), p being the softmax of the choices' log-likelihoods; in nats."""
    loss = np.array([_loss(row) for row in rows])
    if not np.isfinite(loss).all():
        return "a choice has no finite log-likelihood"
    return lambda counts: counts @ loss / counts.sum(axis=1)


def auc(rows: Sequence[Row]) -> Metric | str:
    """For two choices: area under the ROC curve of the two choices' difference in log-likelihood; ties count half."""
    positive = sorted(rows[0]["choices"])[0]  # which of the two makes no difference
    is_positive = np.array([row["label"] == positive for row in rows], dtype=np.float64)
    if is_positive.all() or not is_positive.any():
        return "all labels are the same"
    margins = np.array([_margin(row, positive) for row in rows])
    if not np.isfinite(margins).all():
        return "a choice has no finite log-likelihood"
    order = np.argsort(margins, kind="stable")
    starts = np.unique(margins[order], return_index=True)[1]  # where each run of ties begins

    def metric(counts: Array) -> Array:
        sorted_counts = counts[:, order]
        ups = np.add.reduceat(sorted_counts * is_positive[order], starts, axis=1)
        downs = np.add.reduceat(sorted_counts * (1 - is_positive[order]), starts, axis=1)
        below = np.cumsum(downs, axis=1) - downs / 2
        return np.asarray((ups * below).sum(axis=1) / (ups.sum(axis=1) * downs.sum(axis=1)))

    return metric


def perplexity(rows: Sequence[Row]) -> Metric | str:
    """exp(-sum of log-probabilities / number of tokens) of the completions that were wanted, over the whole task."""
    if any(row["logprob"] is None or not row["tokens"] for row in rows):
        return "a row has no log-probability of the completion that was wanted"
    logprobs = np.array([row["logprob"] for row in rows], dtype=np.float64)
    tokens = np.array([row["tokens"] for row in rows], dtype=np.float64)
    if not np.isfinite(logprobs).all():
        return "a row has no finite log-probability of the completion that was wanted"
    return lambda counts: np.exp(-(counts @ logprobs) / (counts @ tokens))


def bleu(rows: Sequence[Row]) -> Metric | str:
    """Corpus BLEU (Papineni et al., 2002), 0 to 100, by sacrebleu with its default tokenisation and smoothing."""
    return _corpus_score(rows, sacrebleu_metrics()["bleu"])


def chrf(rows: Sequence[Row]) -> Metric | str:
    """Corpus chrF2 (Popović, 2015), 0 to 100, by sacrebleu."""
    return _corpus_score(rows, sacrebleu_metrics()["chrf"])


CHOICE: dict[str, Maker] = {
    "accuracy": accuracy,
    "f1": macro_f1,
    "log_loss": log_loss,
    "perplexity": perplexity,
}
BINARY: dict[str, Maker] = {**CHOICE, "auc": auc}
LABELS: dict[str, Maker] = {"exact_match": exact_match, "micro_f1": micro_f1, "macro_f1": macro_f1_of_labels}
TEXT: dict[str, Maker] = {"bleu": bleu, "chrf": chrf, "perplexity": perplexity}

LOWER_IS_BETTER = frozenset({"log_loss", "perplexity", "size_bytes", "seconds_per_example"})


def table(task: str, rows: Sequence[Row]) -> Mapping[str, Maker]:
    """The metrics of a task: of tags, of several labels, of choices, of the same two choices, or of text."""
    if rows[0].get("tags") is not None:
        return entities.table(rows)
    if rows[0].get("labels") is not None:
        return LABELS
    if not is_choice(task, rows):
        return TEXT
    choices = {tuple(sorted(row["choices"])) for row in rows}
    return BINARY if len(choices) == 1 and len(choices.pop()) == 2 else CHOICE


def sacrebleu_metrics() -> dict[str, Any]:
    """sacrebleu's scorers, as they are used here. `force` keeps its advice on tokenised text quiet."""
    from sacrebleu.metrics import BLEU, CHRF

    return {"bleu": BLEU(force=True), "chrf": CHRF()}


def signatures(table: Mapping[str, Maker]) -> dict[str, str]:
    """What another must use to get the same numbers: sacrebleu's signature of each text metric; seqeval's version."""
    found = dict.fromkeys((name for name in table if name.startswith("entity_")), entities.SIGNATURE)
    if table is not TEXT:
        return found
    for name, scorer in sacrebleu_metrics().items():
        scorer.corpus_score(["a"], [["a"]])  # the signature holds the number of references, known after scoring
        found[name] = str(scorer.get_signature())
    return found


def _corpus_score(rows: Sequence[Row], scorer: Any) -> Metric | str:
    """The score of the summed n-gram statistics of the rows, as sacrebleu's own corpus_score and bootstrap do it."""
    references = [_text(row["reference"]) for row in rows]
    if not all(reference.strip() for reference in references):
        return "a row has no reference text"
    statistics = np.array(
        scorer._extract_corpus_statistics([_text(row["prediction"]) for row in rows], [references]),
        dtype=np.float64,
    )

    def metric(counts: Array) -> Array:
        sums = (counts @ statistics).round().astype(np.int64).tolist()
        return np.array([scorer._compute_score_from_stats(row).score for row in sums], dtype=np.float64)

    return metric


def _text(value: str | None) -> str:
    return value or ""


def _loss(row: Row) -> float:
    scores = np.array(row["scores"], dtype=np.float64)
    with np.errstate(all="ignore"):
        return float(np.logaddexp.reduce(scores) - scores[row["choices"].index(row["label"])])


def _margin(row: Row, positive: str) -> float:
    first = row["choices"].index(positive)
    return float(row["scores"][first] - row["scores"][1 - first])
