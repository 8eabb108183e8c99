import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.evaluation import intervals
from clew.fairness import measures, toolkit
from examples import help_desk

BITS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: {privileged for _, _, privileged in rows} == {True, False}
)
NAMES = ("he", "she")


def columns(rows: list[tuple[bool, bool, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    actual, predicted, privileged = np.array(rows, dtype=bool).T
    return actual, predicted, privileged


def measure(actual: np.ndarray, predicted: np.ndarray, privileged: np.ndarray, **changes: float) -> dict:
    settings = {"resamples": 200, "confidence": 0.95} | changes
    return measures.measure(actual, predicted, privileged, NAMES, rng=intervals.generator(1, "t"), **settings)


def tables(actual: np.ndarray, predicted: np.ndarray, privileged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sides = (~privileged, privileged)
    unprivileged, own = (measures.counts(actual[side], predicted[side]) for side in sides)
    return unprivileged, own


@given(BITS)
@settings(deadline=None, max_examples=150)
def test_the_formulas_of_the_intervals_are_those_of_aif360(rows: list[tuple[bool, bool, bool]]) -> None:
    actual, predicted, privileged = columns(rows)
    metric = toolkit.classification_metric(actual, predicted, privileged)
    unprivileged, own = tables(actual, predicted, privileged)
    with np.errstate(all="ignore"):
        ours = measures.differences(unprivileged, own)
        by_group = {True: measures.rates(own), False: measures.rates(unprivileged)}
    assert set(ours) == set(measures.DIFFERENCES)
    for name, value in ours.items():
        expected = toolkit.number(getattr(metric, name))
        assert float(value) == pytest.approx(expected, nan_ok=True), name
    for name in (*measures.BY_GROUP, "true_positive_rate", "false_positive_rate"):
        for side in (True, False):
            expected = toolkit.number(getattr(metric, name), side)
            assert float(by_group[side][name]) == pytest.approx(expected, nan_ok=True), name


@given(BITS)
@settings(deadline=None, max_examples=50)
def test_every_number_has_an_interval_that_holds_it_or_a_reason(rows: list[tuple[bool, bool, bool]]) -> None:
    found = measure(*columns(rows))
    json.dumps(found, allow_nan=False)
    entries = [found[name] for name in measures.DIFFERENCES]
    entries += [found[name][group] for name in measures.BY_GROUP for group in NAMES]
    for entry in entries:
        if entry["value"] is None or entry["low"] is None:
            assert entry["reason"]
        else:
            assert entry["low"] <= entry["value"] <= entry["high"]


@given(BITS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_the_order_of_rows_changes_nothing_at_all(rows: list[tuple[bool, bool, bool]], shuffler) -> None:
    turned = list(rows)
    shuffler.shuffle(turned)
    assert measure(*columns(rows)) == measure(*columns(turned))


def test_perfect_predictions_are_fair_in_their_errors_whatever_the_labels() -> None:
    rng = np.random.default_rng(1)
    privileged = rng.random(300) < 0.5
    actual = rng.random(300) < np.where(privileged, 0.7, 0.3)
    found = measure(actual, actual, privileged)
    assert found["accuracy"]["he"]["value"] == found["accuracy"]["she"]["value"] == 1
    for name in ("equal_opportunity_difference", "average_odds_difference", "average_abs_odds_difference"):
        assert found[name] == {"value": 0, "low": 0, "high": 0}
    assert found["statistical_parity_difference"]["high"] < 0, "labels differ, so parity does"


def test_average_odds_hide_what_absolute_odds_show() -> None:
    """Four rows of AIF360's issue 528: the groups' errors are opposite, and their mean is 0."""
    privileged = np.array([True, True, False, False])
    actual = np.array([True, False, True, False])
    predicted = np.array([True, False, False, True])
    found = measure(actual, predicted, privileged)
    assert found["average_odds_difference"]["value"] == 0
    assert found["average_abs_odds_difference"]["value"] == 1


def test_a_known_bias_is_found_and_beyond_noise() -> None:
    privileged = np.repeat([True, False], 500)
    actual = np.tile([True, False], 500)
    predicted = actual.copy()
    predicted[500:750] = False  # half of what is favourable for the unprivileged is missed
    found = measure(actual, predicted, privileged)
    assert found["equal_opportunity_difference"]["value"] == -0.5
    assert found["statistical_parity_difference"]["value"] == -0.25
    assert found["disparate_impact"]["value"] == 0.5
    assert found["average_odds_difference"]["value"] == -0.25
    assert found["selection_rate"]["she"]["value"] == 0.25
    assert found["statistical_parity_difference"]["high"] < -0.15
    assert found["disparate_impact"]["high"] < 0.65


def test_resampling_tables_is_resampling_rows() -> None:
    """Mean and spread of the resampled rates are those that binomial theory gives."""
    table = np.array([30.0, 10.0, 5.0, 55.0])
    drawn = measures.resample(table, 20_000, np.random.default_rng(1))
    assert (drawn.sum(axis=1) == 100).all()
    rate = measures.rates(drawn)["selection_rate"]
    assert rate.mean() == pytest.approx(0.4, abs=0.002)
    assert rate.std() == pytest.approx(np.sqrt(0.4 * 0.6 / 100), rel=0.03)


def test_multiple_choice_has_no_false_positives() -> None:
    """Favourable is being answered rightly: every true label is favourable."""
    rows = [row for row in help_desk.predictions("sft", {"vignettes": 200}) if row["groups"]]
    actual = np.ones(len(rows), dtype=bool)
    predicted = np.array([row["prediction"] == row["label"] for row in rows])
    privileged = np.array([row["groups"]["patient"] == "male" for row in rows])
    found = measure(actual, predicted, privileged)
    for name in ("average_odds_difference", "average_abs_odds_difference"):
        reason = "every true label of `he` is favourable, so it has no false-positive rate"
        assert found[name] == {"value": None, "reason": reason}
    gap = predicted[~privileged].mean() - predicted[privileged].mean()
    for name in ("statistical_parity_difference", "equal_opportunity_difference"):
        assert found[name]["value"] == pytest.approx(gap)
    assert found["accuracy"]["she"] == found["selection_rate"]["she"]


@pytest.mark.parametrize(
    ("actual", "predicted", "name", "reason"),
    [
        ([1, 0, 1, 0], [0, 0, 1, 1], "disparate_impact", "nothing favourable was predicted for `he`"),
        ([0, 0, 1, 0], [0, 1, 1, 1], "equal_opportunity_difference", "no true label of `he` is favourable"),
        ([1, 0, 0, 0], [0, 1, 1, 1], "average_odds_difference", "no true label of `she` is favourable"),
        ([1, 0, 1, 1], [0, 1, 1, 1], "average_abs_odds_difference", "every true label of `she` is favourable"),
    ],
)
def test_what_is_not_defined_says_why(actual: list[int], predicted: list[int], name: str, reason: str) -> None:
    found = measure(np.array(actual) == 1, np.array(predicted) == 1, np.array([True, True, False, False]))
    assert found[name]["value"] is None
    assert reason in found[name]["reason"]


def test_a_rate_that_few_resamples_define_has_no_interval() -> None:
    """One favourable label in a group: about a third of the resamples have none."""
    privileged = np.repeat([True, False], 20)
    actual = np.zeros(40, dtype=bool)
    actual[[0, 20, 21, 22, 23]] = True
    found = measure(actual, actual, privileged)["equal_opportunity_difference"]
    assert found["value"] == 0
    assert found["low"] is None
    assert "resamples define it" in found["reason"]
