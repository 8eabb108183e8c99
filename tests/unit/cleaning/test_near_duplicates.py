"""near_duplicates: all but the first of a cluster meet the action, and the whole cluster is told to the split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.cleaning import near_duplicates
from clew.cleaning.finding import Findings
from clew.params_clean import NearDuplicatesRule
from examples.clean_rows import CONTEXT, row, stored

LONG = "I was at the office until late again and my head hurts so much that I cannot sleep or think of anything else"
NEAR = f"{LONG} today"
OTHER = "Yesterday we walked along the river with the dog and had ice cream in the sun until the evening came"


def _find(rows: list[dict[str, Any]], action: str = "drop", threshold: float = 0.8) -> Findings:
    rule = NearDuplicatesRule.model_validate(
        {"action": action, "threshold": threshold, "shingle": 3, "permutations": 128}
    )
    return near_duplicates.find(stored(rows), rule, CONTEXT)


def test_the_first_stays_and_the_others_meet_the_action() -> None:
    found = _find([row(LONG), row(OTHER), row(NEAR), row(LONG.upper(), row_id="loud")], "downweight")
    assert {position: finding.action for position, finding in found.by_position.items()} == {
        2: "downweight",
        3: "downweight",
    }
    assert found.by_position[2].detail == f"of row id of {LONG}"
    assert found.by_position[2].score == pytest.approx(21 / 22)
    assert found.by_position[3].score == 1
    assert found.columns["cluster"].to_pylist() == [f"id of {LONG}", None, f"id of {LONG}", f"id of {LONG}"]
    assert found.figures == {"clusters": 1, "rows": 3, "largest": 3, "labels_differ": 0}


@pytest.mark.parametrize("action", ["drop", "keep", "review"])
def test_the_cluster_is_told_whatever_the_action(action: str) -> None:
    found = _find([row(LONG), row(NEAR)], action)
    assert found.columns["cluster"].to_pylist() == [f"id of {LONG}"] * 2
    assert [finding.action for finding in found.by_position.values()] == [action]


def test_labels_that_differ_are_told() -> None:
    found = _find([row(LONG), row(NEAR, "no")])
    assert found.by_position[1].detail == f"of row id of {LONG}; labels of its cluster: no / yes"
    assert found.figures["labels_differ"] == 1


def test_letters_of_options_in_another_order_are_no_labels_that_differ() -> None:
    found = _find([row(LONG, "A", options=["heat", "acid"]), row(NEAR, "B", options=["Acid", "heat"])])
    assert found.by_position[1].detail == f"of row id of {LONG}"


def test_a_question_with_other_options_is_another_one_and_of_the_same_cluster() -> None:
    some = [row(LONG, "A", options=["heat", "acid"]), row(NEAR, "A", options=["heat", "sand"]), row(NEAR, "yes")]
    found = _find([*some, row(NEAR, "B", options=["sand", "heat"])])
    assert list(found.by_position) == [3]
    assert found.scores is not None
    assert found.scores.tolist() == [0, 0, 0, 1]
    assert found.columns["cluster"].to_pylist() == [f"id of {LONG}"] * 4


def test_tasks_do_not_meet() -> None:
    found = _find([row(LONG), row(NEAR, task="u")])
    assert not found.by_position
    assert found.columns["cluster"].to_pylist() == [None, None]


def test_below_the_threshold_the_score_is_told_and_nothing_is_found() -> None:
    found = _find([row(LONG), row(NEAR), row("?!"), row(OTHER)], threshold=0.96)
    assert not found.by_position
    assert found.scores is not None
    assert found.scores[:2].tolist() == [0, pytest.approx(21 / 22)]
    assert np.isnan(found.scores[2])
    assert found.scores[3] == 0


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=8) | st.sampled_from([LONG, NEAR, OTHER]), max_size=12))
def test_any_text_goes_and_scores_agree_with_what_is_found(texts: list[str | None]) -> None:
    found = _find([row(text) for text in texts])
    assert found.scores is not None
    assert set(found.by_position) == set(np.flatnonzero(found.scores >= 0.8).tolist())
    clusters = found.columns["cluster"].to_pylist()
    assert len(clusters) == len(texts)
    for position, finding in found.by_position.items():
        assert clusters[position] == str(finding.detail).removeprefix("of row ")
