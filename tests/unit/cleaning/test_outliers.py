"""Texts unlike the others of their task are found, by Datalab's own measure."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clew.cleaning import neighbours, outliers
from clew.params_clean import OutliersRule
from examples.clean_rows import CONTEXT, row, stored


def _rule(threshold: float = 0.37, neighbours: int = 5, near_duplicates: Any = None) -> OutliersRule:
    return OutliersRule(
        action="review",
        near_duplicates=near_duplicates,
        tasks=("t", "u"),
        neighbours=neighbours,
        threshold=threshold,
    )


def _posts(n: int) -> list[str]:
    rng = random.Random(3)
    return [
        f"I {rng.choice(['sleep', 'rest', 'lie'])} badly {rng.choice(['at', 'by'])} night {i % 9}" for i in range(n)
    ]


def test_a_text_about_something_else_is_found_and_its_score_says_from_which_threshold_on() -> None:
    made = [row(text) for text in _posts(60)]
    made[7] = row("quarterly revenue statement")
    findings = outliers.find(stored(made), _rule(), CONTEXT)
    assert 7 in findings.by_position
    one = findings.by_position[7]
    assert (one.action, one.threshold) == ("review", 0.37)
    assert one.detail is not None
    assert one.detail.startswith("mean distance ")
    assert findings.scores is not None
    assert one.score == findings.scores[7] == findings.scores.min() < 0.37
    assert findings.figures["t"]["found"] == len(findings.by_position)
    assert findings.figures["u"] == {"n": 0, "found": 0, "near_duplicates": 0}
    assert 7 not in outliers.find(stored(made), _rule(threshold=float(one.score) * 0.9), CONTEXT).by_position


def test_of_near_duplicates_by_their_embeddings_the_first_stays() -> None:
    made = [row(text, row_id=f"{number:064x}") for number, text in enumerate(dict.fromkeys(_posts(60)))]
    copy = row(str(made[3]["text"]).upper(), row_id="f" * 64)  # the same to the features
    findings = outliers.find(stored([*made, copy]), _rule(near_duplicates="drop"), CONTEXT)
    dropped = {position: one for position, one in findings.by_position.items() if one.action == "drop"}
    assert len(made) in dropped
    assert 3 not in dropped
    assert dropped[len(made)].detail == f"near duplicate of row {made[3]['row_id'][:12]} by its embedding"
    assert findings.figures["t"]["near_duplicates"] >= 2
    counted = outliers.find(stored([*made, copy]), _rule(), CONTEXT)
    assert not [one for one in counted.by_position.values() if one.action == "drop"]


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_of_a_few_texts_no_more_is_said_than_can_be(count: int) -> None:
    findings = outliers.find(stored([row(text) for text in _posts(count)]), _rule(), CONTEXT)
    assert findings.scores is not None
    assert np.isnan(findings.scores).all() == (count < outliers.FEWEST)


@given(st.lists(st.none() | st.text(max_size=9), max_size=12))
def test_any_texts_are_judged(texts: list[str | None]) -> None:
    outliers.find(stored([row(text) for text in texts]), _rule(), CONTEXT)


@given(
    arrays.arrays(np.float32, (12, 3), elements=st.floats(0, 2, width=32)),
    st.floats(0.05, 1),
)
def test_scores_below_the_threshold_are_what_datalab_finds(distances: np.ndarray, threshold: float) -> None:
    scores = outliers.thresholds(distances.mean(axis=1))
    issues, _ = outliers._issues(distances, np.zeros((12, 3), dtype=np.int64), threshold)
    found = issues["is_outlier_issue"].to_numpy()
    clear = np.abs(scores - threshold) > 1e-5
    np.testing.assert_array_equal(found[clear], (scores < threshold)[clear])


def test_neighbours_are_those_of_all_pairs_and_few_are_missed_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 8))
    vectors = (centres[rng.integers(20, size=3000)] + 0.3 * rng.normal(size=(3000, 8))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    products = vectors @ vectors.T
    np.fill_diagonal(products, -2)
    right = np.argsort(-products, axis=1)[:, :5]
    distances, others = neighbours.nearest(vectors, 5, 0)
    assert np.mean(others == right) > 0.999
    np.testing.assert_allclose(distances, 1 - np.take_along_axis(products, others, axis=1), atol=1e-5)
    monkeypatch.setattr(neighbours, "EXACT", 0)
    _, among_cells = neighbours.nearest(vectors, 5, 0)
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(right, among_cells, strict=True)]) > 0.95


def test_neighbours_do_not_follow_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(9000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr("os.cpu_count", lambda threads=threads: threads)
        found.append(neighbours.nearest(vectors, 5, 0))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_copies_and_empty_texts_are_no_neighbours_of_themselves() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 0], [0, 1]], dtype=np.float32)
    distances, others = neighbours.nearest(vectors, 2, 0)
    assert not (others == np.arange(5)[:, None]).any()
    np.testing.assert_allclose(distances[:4], [[0, 0], [0, 0], [0, 0], [1, 1]])
