import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.evaluation import intervals


def mean_of(values: np.ndarray) -> intervals.Metric:
    return lambda counts: counts @ values / counts.sum(axis=1)


def run(values: np.ndarray, *, resamples: int = 400, confidence: float = 0.95, seed: int = 1) -> dict:
    metric = mean_of(values)
    rng = intervals.generator(seed, "task")
    samples = intervals.bootstrap({"mean": metric}, len(values), resamples, rng)["mean"]
    return intervals.entry(intervals.point(metric, len(values)), samples, confidence)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_an_interval_holds_its_value_and_stays_within_the_data(values: list[float], seed: int) -> None:
    found = run(np.array(values), seed=seed, resamples=100)
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert min(values) - slack <= found["low"] <= found["value"] <= found["high"] <= max(values) + slack


def test_an_interval_of_a_share_is_as_wide_as_the_normal_approximation_says() -> None:
    found = run(np.repeat([0.0, 1.0], 200), resamples=2000)
    half_width = 1.96 * np.sqrt(0.25 / 400)
    assert found["low"] == pytest.approx(0.5 - half_width, abs=0.008)
    assert found["high"] == pytest.approx(0.5 + half_width, abs=0.008)


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    values = np.arange(50.0)
    narrow, wide = run(values, confidence=0.8), run(values, confidence=0.99)
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        found = run((rng.random(120) < 0.7).astype(float), resamples=300, seed=seed)
        held += found["low"] <= 0.7 <= found["high"]
    assert 0.89 <= held / 200 <= 0.99


def test_every_draw_has_as_many_rows_as_there_are_and_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(intervals.draws(7, 30, intervals.generator(3, "a"))))
    monkeypatch.setattr(intervals, "CHUNK", 21)
    parts = list(intervals.draws(7, 30, intervals.generator(3, "a")))
    assert len(parts) == 10
    assert np.array_equal(whole, np.concatenate(parts))
    assert (whole.sum(axis=1) == 7).all()


def test_each_name_and_each_seed_has_draws_of_its_own() -> None:
    first = [intervals.generator(seed, name).random() for seed, name in ((1, "a"), (1, "b"), (2, "a"))]
    assert len(set(first)) == 3
    assert intervals.generator(1, "a").random() == first[0]


def test_no_interval_where_most_resamples_do_not_define_the_metric() -> None:
    samples = np.array([np.nan] * 30 + [1.0] * 70)
    found = intervals.entry(1.0, samples, 0.95)
    assert found["low"] is None
    assert found["reason"] == "no interval: only 70 of 100 resamples define it"


def test_an_infinite_bound_is_no_bound() -> None:
    samples = np.array([np.inf] * 10 + [1.0] * 90)
    assert intervals.entry(1.0, samples, 0.95)["reason"] == "no interval: it has no finite bound"
    assert intervals.entry(1.0, samples, 0.7)["high"] == 1.0, "10 % of infinite resamples do not reach the 85 % bound"


def test_a_difference_of_equals_is_nothing() -> None:
    same = np.random.default_rng(1).random(500)
    found = intervals.difference(0.5, 0.5, same, same, 0.95)
    assert found == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_pairing_finds_a_small_steady_difference_that_unpaired_intervals_hide() -> None:
    rng = np.random.default_rng(2)
    worse = rng.normal(0, 1, 100)
    better = worse + rng.normal(0.1, 0.02, 100)
    metrics = {"worse": mean_of(worse), "better": mean_of(better)}
    samples = intervals.bootstrap(metrics, 100, 1000, intervals.generator(1, "t"))
    low = intervals.entry(better.mean(), samples["better"], 0.95)["low"]
    assert low < worse.mean(), "the two intervals overlap"
    found = intervals.difference(better.mean(), worse.mean(), samples["better"], samples["worse"], 0.95)
    assert found["low"] > 0.09
    assert found["p"] == pytest.approx(2 / 1001)


def test_p_values_of_no_difference_are_small_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    small = 0
    for seed in range(200):
        pair = {"a": mean_of(rng.random(80)), "b": mean_of(rng.random(80))}
        values = {key: intervals.point(metric, 80) for key, metric in pair.items()}
        samples = intervals.bootstrap(pair, 80, 300, intervals.generator(seed, "t"))
        found = intervals.difference(values["a"], values["b"], samples["a"], samples["b"], 0.95)
        small += found["p"] < 0.05
        assert (found["p"] < 0.05) <= (not found["low"] <= 0 <= found["high"]), "p and interval agree"
    assert small / 200 <= 0.1


def test_resamples_that_are_infinite_for_both_are_left_out_quietly(recwarn: pytest.WarningsRecorder) -> None:
    samples, parent = np.array([np.inf] * 5 + [2.0] * 95), np.array([np.inf] * 5 + [1.0] * 95)
    found = intervals.difference(2.0, 1.0, samples, parent, 0.95)
    assert (found["low"], found["high"]) == (1.0, 1.0)
    assert not recwarn.list
