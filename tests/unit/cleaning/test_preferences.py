"""Pairs whose rejected answer is the better one are found."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.cleaning import preferences
from clew.errors import DataError
from clew.params_clean import PreferencesRule
from examples.clean_rows import CONTEXT, row, stored

RULE = PreferencesRule(tasks=("t",), folds=4, threshold=0.5, min_accuracy=0.9, otherwise="downweight")
POLITE, RUDE = ["thanks", "please", "gladly", "kindly"], ["whatever", "nonsense", "shut", "idiot"]


def _pair(number: int, better: str, worse: str | None) -> dict[str, Any]:
    return row(f"question {number}", None, completion=better, rejected=worse, choices=None)


def _pairs(count: int, swapped: set[int], polite: float = 1.0) -> list[dict[str, Any]]:
    """Pairs of which the better answer has this share of polite words, and the worse one as many rude ones."""
    draw = random.Random(0)
    made = []
    for number in range(count):
        better, worse = (
            " ".join(draw.choice(POLITE if draw.random() < share else RUDE) for _ in range(5))
            for share in (polite, 1 - polite)
        )
        made.append(_pair(number, *((worse, better) if number in swapped else (better, worse))))
    return made


def test_swapped_pairs_are_found_and_dropped_where_the_better_answer_can_be_told() -> None:
    swapped = set(range(0, 200, 10))
    findings = preferences.find(stored(_pairs(200, swapped)), RULE, CONTEXT)
    assert set(findings.by_position) == swapped
    assert {finding.action for finding in findings.by_position.values()} == {"drop"}
    assert findings.scores is not None
    assert set(np.flatnonzero(findings.scores < 0.5)) == swapped
    assert findings.figures["t"]["noise"] == pytest.approx(0.1, abs=0.08)


def test_they_weigh_less_where_it_cannot() -> None:
    findings = preferences.find(stored(_pairs(300, set(), polite=0.6)), RULE, CONTEXT)
    assert findings.by_position
    assert {finding.action for finding in findings.by_position.values()} == {"downweight"}


def test_answers_that_do_not_differ_are_not_doubted() -> None:
    made = [_pair(number, "thanks please", "thanks please") for number in range(60)]
    findings = preferences.find(stored(made), RULE, CONTEXT)
    assert not findings.by_position
    assert findings.figures["t"]["why"].startswith("nothing is doubted")


def test_swapping_all_answers_swaps_the_verdict() -> None:
    made = _pairs(200, set(range(0, 200, 10)))
    other = [one | {"completion": one["rejected"], "rejected": one["completion"]} for one in made]
    some, others = (preferences.find(stored(rows), RULE, CONTEXT).by_position for rows in (made, other))
    assert set(some) == set(others)  # what most pairs say is what counts


def test_pairs_without_a_rejected_answer_are_left_alone_and_too_few_are_told() -> None:
    made = [*_pairs(100, set()), _pair(100, "thanks", None), _pair(101, "thanks", "whatever") | {"task": "u"}]
    assert preferences.find(stored(made), RULE, CONTEXT).figures["t"]["n"] == 100
    with pytest.raises(DataError, match=r"clean.preferences.tasks: t: 1 rows with a rejected answer are too few"):
        preferences.find(stored([_pair(0, "a", "b"), _pair(1, "a", None)]), RULE, CONTEXT)


@settings(deadline=None)  # the first example imports
@given(st.lists(st.tuples(st.text(max_size=9), st.none() | st.text(max_size=9)), max_size=20))
def test_any_answers_are_compared_or_told_not_to_be(some: list[tuple[str, str | None]]) -> None:
    made = [_pair(number, *one) for number, one in enumerate(some)]
    with suppress(DataError):
        preferences.find(stored(made), RULE.model_copy(update={"folds": 2}), CONTEXT)
