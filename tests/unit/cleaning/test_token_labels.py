"""Words with a wrong tag are found, and named."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from cleanlab.token_classification.filter import find_label_issues
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.cleaning import crossval, terms, token_labels
from clew.errors import DataError
from clew.params_clean import TokenLabelsRule
from examples.clean_rows import CONTEXT, row, stored

RULE = TokenLabelsRule(tasks=("t",), folds=3, threshold=0.5, min_accuracy=0.9, otherwise="review")
PLACES, PEOPLE = ["Paris", "Rome", "Oslo", "Lima"], ["Ada", "Bo", "Cy", "Di"]


def _sentences(count: int = 120) -> list[tuple[list[str], list[str]]]:
    draw = random.Random(0)
    return [
        (["Then", draw.choice(PEOPLE), "went", "to", draw.choice(PLACES), "."], ["O", "B-PER", "O", "O", "B-LOC", "O"])
        for _ in range(count)
    ]


def _row(tokens: list[str] | None, tags: list[str] | None) -> dict[str, Any]:
    return row(" ".join(tokens or ["x"]), None, completion="x", choices=None, tokens=tokens, tags=tags)


def test_a_missed_entity_is_named_with_what_it_probably_is() -> None:
    made = _sentences()
    missed = set(range(5, 120, 10))
    for at in missed:
        made[at][1][4] = "O"
    findings = token_labels.find(stored([_row(*one) for one in made]), RULE, CONTEXT)
    assert set(findings.by_position) <= missed
    assert len(findings.by_position) >= 3
    for finding in findings.by_position.values():
        assert finding.detail == "word 5: O, probably B-LOC"
        assert finding.action == "drop"
    assert findings.scores is not None
    assert set(np.flatnonzero(findings.scores < 0.5)) == set(findings.by_position)
    figures = findings.figures["t"]
    assert (figures["n"], figures["tokens"], figures["doubted"]) == (120, 720, len(findings.by_position))


def test_they_go_to_review_where_tags_cannot_be_told_although_nearly_all_words_are_outside() -> None:
    made, draw = _sentences(), random.Random(1)
    for _, tags in made:
        tags[4] = draw.choice(["B-LOC", "B-PER", "O"])
    findings = token_labels.find(stored([_row(*one) for one in made]), RULE, CONTEXT)
    assert findings.by_position
    assert {finding.action for finding in findings.by_position.values()} == {"review"}
    assert findings.figures["t"]["accuracy"] < 0.9


def test_the_doubted_tokens_are_those_of_cleanlab_token_classification() -> None:
    made = _sentences(60)
    draw = random.Random(2)
    for _, tags in made[::3]:
        tags[draw.choice([1, 4])] = "O"
    tokens, tags = [one[0] for one in made], [one[1] for one in made]
    doubts = token_labels.doubted(tokens, tags, [None] * 60, 3, 0, "here")
    classes = ["B-LOC", "B-PER", "O"]
    codes = [[classes.index(tag) for tag in some] for some in tags]
    features = terms.hashed([some for one in tokens for some in token_labels.described(one)], 10**5)
    rarest = np.array([min(some) for some in codes])
    fold = np.repeat(crossval.folds(rarest, [None] * 60, 3, 0), 6)
    flat = crossval.probabilities(features, np.concatenate([np.array(some) for some in codes]), fold, 0)
    issues = find_label_issues(codes, list(flat.reshape(60, 6, 3)))
    assert {6 * sentence + token for sentence, token in issues} == set(np.flatnonzero(doubts.doubted).tolist())


def test_rows_of_other_tasks_and_without_tags_are_left_alone_and_too_few_are_told() -> None:
    made = [
        _row(None, None),
        _row([], []),
        *(_row(*one) for one in _sentences()),
        _row(["Rome"], ["O"]) | {"task": "u"},
    ]
    findings = token_labels.find(stored(made), RULE, CONTEXT)
    assert findings.figures["t"]["n"] == 120
    for few in ([_row(None, None)], [_row(["a"], ["O"])] * 9):
        with pytest.raises(DataError, match=r"clean.token_labels.tasks: t: . tagged rows with . tags are too few"):
            token_labels.find(stored(few), RULE, CONTEXT)


def test_a_tag_that_cannot_be_learnt_is_not_doubted() -> None:
    made = _sentences()
    made[7][1][4] = "B-RARE"
    findings = token_labels.find(stored([_row(*one) for one in made]), RULE, CONTEXT)
    assert not findings.by_position


@settings(deadline=None)  # the first example imports
@given(st.lists(st.lists(st.tuples(st.text(max_size=5), st.sampled_from(["O", "B-X", "I-X"])), max_size=6), max_size=9))
def test_any_words_are_judged_or_told_to_be_too_few(made: list[list[tuple[str, str]]]) -> None:
    rows = [_row([word for word, _ in one], [tag for _, tag in one]) for one in made]
    with suppress(DataError):
        token_labels.find(stored(rows), RULE.model_copy(update={"folds": 2}), CONTEXT)
