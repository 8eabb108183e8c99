"""Each metric against the library that people know it from, over rows that count any number of times."""

from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from clew.evaluation import intervals, metrics
from examples import help_desk

Row = dict[str, Any]


def rows_of(task: str, n: int = 30, seed: int = 1) -> list[Row]:
    return help_desk.predictions("sft", {task: n}, seed)


def drawn(name: str, rows: list[Row], times: list[int]) -> float:
    metric = metrics.BINARY.get(name, metrics.TEXT.get(name))(rows)
    assert not isinstance(metric, str), metric
    return float(metric(np.array([times], dtype=float))[0])


def repeated(rows: list[Row], times: list[int]) -> list[Row]:
    return [row for row, count in zip(rows, times, strict=True) for _ in range(count)]


def probabilities(row: Row) -> np.ndarray:
    odds = np.exp(np.array(row["scores"]))
    return odds / odds.sum()


TIMES = st.lists(st.integers(0, 3), min_size=30, max_size=30).filter(any)
SEEDS = st.integers(0, 50)


@given(TIMES, SEEDS, st.sampled_from(["stress", "exam", "vignettes"]))
@settings(deadline=None, max_examples=25)
def test_accuracy_f1_and_log_loss_are_those_of_scikit_learn(times: list[int], seed: int, task: str) -> None:
    rows = rows_of(task, seed=seed)
    again = repeated(rows, times)
    labels, guesses = [row["label"] for row in again], [row["prediction"] for row in again]
    assert drawn("accuracy", rows, times) == pytest.approx(sk.accuracy_score(labels, guesses))
    expected = sk.f1_score(labels, guesses, average="macro", zero_division=0)
    assert drawn("f1", rows, times) == pytest.approx(expected)
    losses = [-np.log(probabilities(row)[row["choices"].index(row["label"])]) for row in again]
    assert drawn("log_loss", rows, times) == pytest.approx(np.mean(losses))


@given(TIMES, SEEDS, st.booleans())
@settings(deadline=None, max_examples=25)
def test_auc_is_that_of_scikit_learn_with_ties_and_without(times: list[int], seed: int, ties: bool) -> None:
    rows = rows_of("stress", seed=seed)
    if ties:
        rows = [row | {"scores": [float(round(score)) for score in row["scores"]]} for row in rows]
    again = repeated(rows, times)
    labels = [row["label"] == "yes" for row in again]
    if len(set(labels)) == 2:
        margins = [row["scores"][0] - row["scores"][1] for row in again]
        assert drawn("auc", rows, times) == pytest.approx(sk.roc_auc_score(labels, margins))


def test_auc_does_not_depend_on_the_order_of_the_choices() -> None:
    rows = rows_of("stress")
    turned = [row | {"choices": row["choices"][::-1], "scores": row["scores"][::-1]} for row in rows]
    assert drawn("auc", rows, [1] * 30) == drawn("auc", turned, [1] * 30)


@given(TIMES, SEEDS)
@settings(deadline=None, max_examples=15)
def test_bleu_and_chrf_are_those_of_sacrebleu(times: list[int], seed: int) -> None:
    rows = rows_of("dialogues", seed=seed)
    again = repeated(rows, times)
    written, wanted = [row["prediction"] for row in again], [[row["reference"] for row in again]]
    assert drawn("bleu", rows, times) == sacrebleu.corpus_bleu(written, wanted, force=True).score
    assert drawn("chrf", rows, times) == sacrebleu.corpus_chrf(written, wanted).score


def test_perplexity_is_per_token_over_the_whole_task() -> None:
    rows = [{"logprob": -1.0, "tokens": 1}, {"logprob": -5.0, "tokens": 9}]
    assert drawn("perplexity", rows, [1, 1]) == pytest.approx(np.exp(6 / 10))
    assert drawn("perplexity", rows, [0, 2]) == pytest.approx(np.exp(5 / 9))


@pytest.mark.parametrize("task", ["stress", "exam", "dialogues"])
def test_perfect_predictions_have_perfect_scores(task: str) -> None:
    rows = [row | {"prediction": row["reference"]} for row in rows_of(task)]
    names = ("bleu", "chrf") if task == "dialogues" else ("accuracy", "f1")
    best = 100 if task == "dialogues" else 1
    assert [drawn(name, rows, [1] * 30) for name in names] == [pytest.approx(best)] * 2


def test_empty_and_missing_answers_count_as_wrong() -> None:
    rows = [row | {"prediction": None} for row in rows_of("stress")]
    assert drawn("accuracy", rows, [1] * 30) == drawn("f1", rows, [1] * 30) == 0
    texts = [row | {"prediction": answer} for row, answer in zip(rows_of("dialogues"), ["", None] * 15, strict=True)]
    assert drawn("bleu", texts, [1] * 30) == drawn("chrf", texts, [1] * 30) == 0


@pytest.mark.parametrize(
    ("task", "name", "change", "reason"),
    [
        ("stress", "auc", {"label": "yes"}, "all labels are the same"),
        ("stress", "auc", {"scores": [-np.inf, -np.inf]}, "a choice has no finite log-likelihood"),
        ("stress", "log_loss", {"scores": [np.nan, -1.0]}, "a choice has no finite log-likelihood"),
        ("stress", "perplexity", {"logprob": None}, "no log-probability of the completion"),
        ("stress", "perplexity", {"tokens": 0}, "no log-probability of the completion"),
        ("dialogues", "perplexity", {"logprob": -np.inf}, "no finite log-probability"),
        ("dialogues", "bleu", {"reference": " "}, "a row has no reference text"),
    ],
)
def test_what_cannot_be_had_says_why(task: str, name: str, change: Row, reason: str) -> None:
    rows = [row | change for row in rows_of(task)]
    found = metrics.BINARY.get(name, metrics.TEXT.get(name))(rows)
    assert isinstance(found, str)
    assert reason in found


def test_the_metrics_of_a_task_follow_from_its_rows() -> None:
    assert "auc" in metrics.table("stress", rows_of("stress"))
    assert "auc" not in metrics.table("exam", rows_of("exam"))
    assert set(metrics.table("dialogues", rows_of("dialogues"))) == {"bleu", "chrf", "perplexity"}


def test_signatures_name_sacrebleus_version_and_settings() -> None:
    found = metrics.signatures(metrics.TEXT)
    assert found["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.")
    assert "nc:6|nw:0" in found["chrf"]


def test_a_row_that_never_counts_changes_nothing() -> None:
    rows = rows_of("vignettes")
    for name in metrics.CHOICE:
        alone = intervals.point(metrics.CHOICE[name](rows[:20]), 20)
        assert drawn(name, rows, [1] * 20 + [0] * 10) == pytest.approx(alone)


CHOICES = ["anger", "fear", "joy"]
SUBSETS = st.lists(st.tuples(st.sets(st.sampled_from(CHOICES)), st.sets(st.sampled_from(CHOICES))), min_size=1)


@given(SUBSETS)
@settings(deadline=None, max_examples=50)
def test_scores_of_several_labels_are_those_of_scikit_learn(pairs: list[tuple[set[str], set[str]]]) -> None:
    rows = [{"choices": CHOICES, "labels": sorted(actual), "predicted": sorted(said)} for actual, said in pairs]
    assert metrics.table("moods", rows) is metrics.LABELS
    actual, said = ([[label in one[side] for label in CHOICES] for one in pairs] for side in (0, 1))
    there = [any(column) for column in np.array(actual + said).T]

    def value(name: str) -> float:
        metric = metrics.LABELS[name](rows)
        assert not isinstance(metric, str), metric
        return intervals.point(metric, len(rows))

    assert value("exact_match") == pytest.approx(sk.accuracy_score(actual, said))
    if not any(map(any, actual)):
        assert metrics.LABELS["micro_f1"](rows) == metrics.LABELS["macro_f1"](rows) == "no row has a label"
        return
    assert value("micro_f1") == pytest.approx(sk.f1_score(actual, said, average="micro", zero_division=0))
    each = np.array(sk.f1_score(actual, said, average=None, zero_division=0))
    assert value("macro_f1") == pytest.approx(each[there].mean())
