"""The tests themselves: Holm's correction, the bound for few rows, the share of false verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from compare_lab import predictions
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.evaluation import intervals
from clew.history.compare import paired
from clew.history.compare.model import BETTER, Number, Paired

P = st.floats(0, 1, allow_nan=False)


@given(st.lists(P, max_size=30))
def test_holm_is_never_milder_than_the_test_nor_harsher_than_bonferroni(values: list[float]) -> None:
    corrected = paired.holm(values)
    for p, found in zip(values, corrected, strict=True):
        assert p <= found <= min(1.0, len(values) * p) + 1e-12
    order = sorted(range(len(values)), key=values.__getitem__)
    assert [corrected[i] for i in order] == sorted(corrected)


def test_holm_as_in_a_worked_example() -> None:
    assert paired.holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert paired.holm([]) == []


def pair_test(before: list, after: list, metric: str, draws: int = 400, coarse: bool = False) -> Paired:
    number = Number("quality", "sft", f"stress.{metric}", {}, {})
    plan = paired.Plan()
    assert paired.plan(plan, (0, 0), number, (before, after), ("a", "b")) == ""
    return paired.run(plan, draws, 0.95, 3, coarse=coarse)[0, 0]


def test_few_rows_answered_otherwise_bound_the_p_value() -> None:
    """Four rows of 40, all to the better: the bootstrap alone would say 0.03, swapping the sides says 1/8."""
    found = pair_test(predictions(range(4), range(40)), predictions([], range(40)), "accuracy")
    assert found.p == pytest.approx(2.0**-3)


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12))
def test_accuracy_is_never_surer_than_the_exact_sign_test(lost: int, won: int) -> None:
    """Its p is at least that of McNemar's exact test, so that the level holds for few rows, too."""
    from scipy.stats import binomtest

    before, after = predictions(range(lost, lost + won), range(30)), predictions(range(lost), range(30))
    exact = binomtest(won, lost + won).pvalue if lost + won else 1.0
    assert paired.sign((before, after)) == pytest.approx(exact)
    if lost + won:
        assert pair_test(before, after, "accuracy", draws=100, coarse=True).p >= exact - 1e-12


def test_too_few_draws_for_the_tests_do_not_hide_a_plain_difference() -> None:
    rows = predictions(range(0, 80, 2)), predictions([])
    fine, coarse = (pair_test(*rows, "accuracy", coarse=coarse).p for coarse in (False, True))
    assert fine == pytest.approx(2 / 401)
    assert coarse < 1e-9


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_two_models_of_equal_worth_are_rarely_called_different(metric: str) -> None:
    """At level 0.05, of 150 pairs that err in 30 % of 60 rows each, at random."""
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(150):
        sides = [predictions(set(np.flatnonzero(rng.random(60) < 0.3)), range(60)) for _ in range(2)]
        false += pair_test(sides[0], sides[1], metric, draws=400).p <= 0.05
    assert false <= 0.08 * 150


def test_the_number_is_judged_by_the_corrected_p_value() -> None:
    number = Number("quality", "sft", "stress.f1", {}, {})
    result = Paired(0.1, 0.05, 0.15, 0.01, 100, holm=0.06)
    assert paired.judged(number, result, 0.05).verdict == "no difference shown"
    assert paired.judged(number, result._replace(holm=0.05), 0.05).verdict == BETTER


def test_text_is_tested_as_it_is_measured() -> None:
    def rows(said: str) -> list:
        texts = [f"the patient has pain in leg number {i} since monday" for i in range(20)]
        return [
            row | {"label": None, "choices": None, "scores": None, "reference": text, "prediction": said or text}
            for row, text in zip(predictions([], range(20)), texts, strict=True)
        ]

    found = pair_test(rows("nothing of that kind was said at all today"), rows(""), "chrf")
    assert found.difference > 50
    assert found.p < 0.01


def test_a_metric_without_a_test_says_so() -> None:
    number = Number("quality", "sft", "stress.rouge", {}, {})
    rows = predictions([], range(8))
    assert paired.plan(paired.Plan(), (0, 0), number, (rows, rows), ("a", "b")) == "no test is known for it"


def test_draws_that_do_not_vary_have_no_tail() -> None:
    constant: intervals.Array = np.full(50, 0.5)
    assert paired.tail(0.0, constant, constant, 10) == 1.0
