"""Diverse rows: greedy as its authors prove it, whatever the rows are."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clew import selection
from clew.params_clean import TfidfFeatures
from clew.params_select import Diversity
from clew.selection import ONE, covered, facility_location, farthest_point

TFIDF = TfidfFeatures(kind="tfidf", dimensions=16)
FACILITY = Diversity(method="facility_location", pool=1.0, features=TFIDF)
FARTHEST = Diversity(method="farthest_point", pool=1.0, features=TFIDF)


def unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths, lengths, 1)).astype(np.float32)


def clusters(sizes: list[int], spread: float = 0.1, d: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around so many axes, a cluster after the other, and the cluster of each."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    return unit(np.eye(d)[of] + spread * np.random.default_rng(1).normal(size=(len(of), d))), of


points = arrays(np.float32, st.tuples(st.integers(1, 9), st.just(3)), elements=st.integers(-3, 3).map(np.float32))


@settings(deadline=None)
@given(points, st.data())
def test_lazy_greedy_is_plain_greedy(vectors: np.ndarray, data: st.DataObject) -> None:
    similar = selection.similarities(unit(vectors))
    k = data.draw(st.integers(0, len(similar)))
    plain: list[int] = []
    while len(plain) < k:
        left = [row for row in range(len(similar)) if row not in plain]
        plain.append(max(left, key=lambda row: (covered(similar, np.array([*plain, row])), -row)))
    assert facility_location(similar, k).tolist() == plain


@settings(deadline=None)
@given(points, st.data())
def test_greedy_is_within_its_bound_of_the_best(vectors: np.ndarray, data: st.DataObject) -> None:
    """Nemhauser, Wolsey and Fisher (1978): at least 1 - 1/e of the best set's value."""
    similar = selection.similarities(unit(vectors))
    k = data.draw(st.integers(1, len(similar)))
    best = max(covered(similar, np.array(some)) for some in combinations(range(len(similar)), k))
    assert covered(similar, facility_location(similar, k)) >= (1 - 1 / math.e) * best


@settings(deadline=None)
@given(points, st.data())
def test_farthest_points_are_within_twice_the_least_radius(vectors: np.ndarray, data: st.DataObject) -> None:
    """Gonzalez (1985), for the angle, which is a metric."""
    similar = selection.similarities(unit(vectors))
    k = data.draw(st.integers(1, len(similar)))

    def radius(some: np.ndarray) -> float:
        return float(np.arccos(np.clip(similar[some].max(axis=0) / ONE, -1, 1)).max())

    chosen = farthest_point(similar, k)
    best = min(radius(np.array(some)) for some in combinations(range(len(similar)), k))
    assert len(set(chosen.tolist())) == k
    assert radius(chosen) <= 2 * best + 0.2  # a cosine just below 1 is an angle of 0.05 when it is rounded


@pytest.mark.parametrize("method", [FACILITY, FARTHEST])
def test_every_cluster_is_covered_where_the_first_rows_are_of_one(method: Diversity) -> None:
    vectors, of = clusters([90, 5, 3, 2])
    chosen = selection.diverse(vectors, 8, method)
    assert set(of[:8]) == {0}
    assert set(of[chosen.positions]) == {0, 1, 2, 3}
    assert chosen.like > chosen.like_first + 5
    assert 0 < chosen.like <= chosen.n == 100


@pytest.mark.parametrize("method", [FACILITY, FARTHEST])
def test_many_rows_are_chosen_part_by_part(method: Diversity, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than PART at a time, all in all as many as asked for, each once, all clusters among them."""
    vectors, of = clusters([40, 30, 21, 10])
    asked: list[int] = []
    whole = selection.similarities
    monkeypatch.setattr(selection, "PART", 30)
    monkeypatch.setattr(selection, "similarities", lambda some: asked.append(len(some)) or whole(some))
    chosen = selection.diverse(vectors, 22, method)
    assert max(asked) <= 30
    assert sum(asked) == 101
    assert len(set(chosen.positions.tolist())) == 22
    assert chosen.positions.tolist() == sorted(chosen.positions.tolist())
    assert set(of[chosen.positions]) == {0, 1, 2, 3}


@pytest.mark.parametrize("method", [FACILITY, FARTHEST])
def test_rows_that_are_all_the_same_or_empty_are_taken_in_their_order(method: Diversity) -> None:
    assert selection.diverse(np.ones((5, 1), np.float32), 3, method).positions.tolist() == [0, 1, 2]
    assert selection.diverse(np.zeros((5, 4), np.float32), 3, method).positions.tolist() == [0, 1, 2]
    assert selection.diverse(np.zeros((0, 4), np.float32), 0, method).positions.tolist() == []
    assert selection.diverse(np.zeros((3, 4), np.float32), 0, method).positions.tolist() == []
    assert selection.diverse(np.zeros((3, 4), np.float32), 3, method).positions.tolist() == [0, 1, 2]
