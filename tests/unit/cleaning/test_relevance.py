"""Texts far from the objective are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.cleaning import relevance
from clew.params_clean import RelevanceRule
from examples.clean_rows import CONTEXT, objective, row, stored

RULE = RelevanceRule(action="review", tasks=("t",), threshold=0.3)
HEALTH = CONTEXT._replace(objective=objective("Questions about sleep, pain and stress.", "My knee hurts at night."))


def test_what_is_near_the_description_or_an_example_stays() -> None:
    made = [
        row("I have pain and stress and no sleep"),
        row("the knee hurts"),
        row("quarterly revenue of the bank rose"),
        row(None),
        row("quarterly revenue of the bank fell", task="other"),
    ]
    findings = relevance.find(stored(made), RULE, HEALTH)
    assert [(at, one.action, one.threshold) for at, one in findings.by_position.items()] == [
        (2, "review", 0.3),
        (3, "review", 0.3),
    ]
    assert findings.scores is not None
    assert np.isnan(findings.scores).tolist() == [False] * 4 + [True]
    assert findings.by_position[2].score == pytest.approx(findings.scores[2], abs=1e-6)


@given(st.lists(st.none() | st.text(max_size=10), max_size=8))
def test_any_text_has_a_score(texts: list[str | None]) -> None:
    findings = relevance.find(stored([row(text) for text in texts]), RULE, HEALTH)
    assert findings.scores is not None
    assert np.all(np.abs(findings.scores) <= 1 + 1e-5)
