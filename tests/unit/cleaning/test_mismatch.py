"""Answers that are about something else than their question are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.cleaning import mismatch
from clew.params_clean import MismatchRule
from examples.clean_rows import CONTEXT, row, stored

THINGS = ["knee", "heart", "liver", "skin", "tooth", "ear", "back", "eye", "foot", "hand"]


def _pair(question: str | None, answer: str | None, **more: Any) -> dict[str, Any]:
    return row(question, None, completion=answer, choices=None, **more)


def _rule(share: float, threshold: float) -> MismatchRule:
    return MismatchRule(action="review", tasks=("t",), share=share, threshold=threshold)


MADE = [_pair(f"what ails my {thing} today", f"the {thing} needs rest") for thing in THINGS]
MADE[3] = _pair("what ails my skin today", "football is on at nine")


@pytest.mark.parametrize(
    ("share", "threshold", "found"),
    [(0.1, 1.0, [3]), (0.5, 0.3, [3]), (0.1, -1.0, []), (0.04, 1.0, []), (0.0, 1.0, [])],
)
def test_the_lowest_share_is_found_where_it_is_below_the_threshold(
    share: float, threshold: float, found: list[int]
) -> None:
    findings = mismatch.find(stored(MADE), _rule(share, threshold), CONTEXT)
    assert list(findings.by_position) == found
    assert findings.figures["t"]["n"] == 10


def test_scores_are_told_of_the_lowest_share_only() -> None:
    scores = mismatch.find(stored(MADE), _rule(0.3, -1.0), CONTEXT).scores
    assert scores is not None
    assert int((~np.isnan(scores)).sum()) == 3
    assert np.nanargmin(scores) == 3


def test_only_written_answers_of_the_tasks_are_judged() -> None:
    made = [row("a question"), _pair("a question", None), _pair("a question", "x", task="u"), _pair(None, "an answer")]
    findings = mismatch.find(stored(made), _rule(1.0, 1.0), CONTEXT)
    assert list(findings.by_position) == [3]
    assert findings.by_position[3].score == 0


@given(st.lists(st.tuples(st.none() | st.text(max_size=9), st.none() | st.text(max_size=9)), max_size=8))
def test_any_texts_are_judged(pairs: list[tuple[str | None, str | None]]) -> None:
    findings = mismatch.find(stored([_pair(*pair) for pair in pairs]), _rule(1.0, 1.0), CONTEXT)
    assert findings.figures["t"]["n"] == sum(answer is not None for _, answer in pairs)
