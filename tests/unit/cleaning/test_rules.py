"""Each cleaning rule finds what it should, and only that."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import params, rows
from clew.cleaning import RULES, contradictions, duplicates, label_noise, length, missing
from clew.errors import DataError
from clew.params_clean import ContradictionsRule, DuplicatesRule, LabelNoiseRule, LengthRule, MissingRule
from examples.clean_rows import CONTEXT, row, table


def test_every_rule_has_its_section_and_the_other_way_round() -> None:
    about_all = {"objective", "features", "downweight"}
    assert list(RULES) == [name for name in params.Clean.model_fields if name not in about_all]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (row("x"), None),
        (row(None), "text"),
        (row("  "), "text"),
        (row("x", None), "completion, label"),
        (row("x", None, completion="a", choices=None), None),
    ],
)
def test_missing_fields_are_named(made: dict[str, Any], said: str | None) -> None:
    rule = MissingRule(text="drop", completion="drop", label="drop")
    found = missing.find(table([made]), rule, CONTEXT).by_position
    assert (found[0].detail if found else None) == said


def test_length_says_how_many_words_against_which_threshold() -> None:
    rule = LengthRule(action="drop", min_words=2, max_words=3)
    made = [row("a"), row("a b"), row("a b c"), row("a b c d"), row(None)]
    found = length.find(table(made), rule, CONTEXT).by_position
    assert {position: (f.score, f.threshold) for position, f in found.items()} == {0: (1, 2), 3: (4, 3), 4: (0, 2)}


def test_of_duplicates_the_first_stays_and_of_contradictions_none() -> None:
    made = [row("Same"), row("same!"), row("Two", "yes"), row("two", "no"), row("same", task="u"), row("else")]
    found = duplicates.find(table(made), DuplicatesRule(action="drop"), CONTEXT).by_position
    assert {position: f.detail for position, f in found.items()} == {1: "of row id of Same"}
    found = contradictions.find(table(made), ContradictionsRule(action="review"), CONTEXT).by_position
    assert {position: (f.action, f.detail) for position, f in found.items()} == {
        2: ("review", "no / yes"),
        3: ("review", "no / yes"),
    }


@given(st.lists(st.tuples(st.sampled_from("abA "), st.sampled_from(["yes", "no"])), max_size=12))
def test_what_the_two_leave_has_neither(pairs: list[tuple[str, str]]) -> None:
    left = [row(text, label) for text, label in pairs]
    for find, rule in (
        (contradictions.find, ContradictionsRule(action="drop")),
        (duplicates.find, DuplicatesRule(action="drop")),
    ):
        found = find(table(left), rule, CONTEXT).by_position  # type: ignore[operator]
        left = [one for position, one in enumerate(left) if position not in found]
    assert len({rows.normalise(one["text"]) for one in left}) == len(left)


def _topics(flips: int) -> tuple[list[dict[str, Any]], set[int]]:
    """200 texts of two easily told topics, the labels of `flips` of them turned round."""
    draw = random.Random(0)
    words = {"yes": ["fear", "worry", "panic", "tired"], "no": ["sunny", "picnic", "holiday", "cake"]}
    rows = []
    for number in range(200):
        label = "yes" if number % 2 else "no"
        rows.append(row(f"{number} " + " ".join(draw.choices(words[label], k=6)), label))
    flipped = set(draw.sample(range(200), flips))
    for position in flipped:
        rows[position]["label"] = "no" if rows[position]["label"] == "yes" else "yes"
    return rows, flipped


def _rule(min_accuracy: float, *tasks: str, threshold: float = 0.5) -> LabelNoiseRule:
    return LabelNoiseRule(tasks=tasks, folds=5, threshold=threshold, min_accuracy=min_accuracy, otherwise="downweight")


def test_flipped_labels_are_found_and_dropped_where_the_classifier_is_accurate() -> None:
    made, flipped = _topics(10)
    findings = label_noise.find(table(made), _rule(0.9, "t"), CONTEXT)
    assert set(findings.by_position) == flipped
    assert {finding.action for finding in findings.by_position.values()} == {"drop"}
    accuracy = findings.figures["t"].pop("accuracy")
    assert 0.9 <= accuracy <= 0.95  # of 200 labels 10 are wrong
    why = f"accuracy {accuracy:.3f} is at least 0.9"
    assert findings.figures["t"] == {"n": 200, "doubted": 10, "action": "drop", "why": why}


def test_a_lower_threshold_doubts_fewer_and_the_scores_tell_which() -> None:
    made, _ = _topics(10)
    wide, narrow = (label_noise.find(table(made), _rule(0.9, "t", threshold=t), CONTEXT) for t in (0.5, 0.02))
    assert 0 < len(narrow.by_position) < len(wide.by_position)
    assert wide.scores is not None
    assert set(np.flatnonzero(wide.scores < 0.02)) == set(narrow.by_position)


def test_they_weigh_less_where_it_is_not() -> None:
    made, flipped = _topics(10)
    findings = label_noise.find(table(made), _rule(0.96, "t"), CONTEXT)
    assert set(findings.by_position) == flipped
    assert {f.action for f in findings.by_position.values()} == {"downweight"}


def test_clean_labels_are_left_alone() -> None:
    assert not label_noise.find(table(_topics(0)[0]), _rule(0.9, "t"), CONTEXT).by_position


def test_other_seeds_make_other_folds() -> None:
    made, _ = _topics(10)
    scores = [
        [
            f.score
            for f in label_noise.find(table(made), _rule(0.9, "t"), CONTEXT._replace(seed=seed)).by_position.values()
        ]
        for seed in (0, 0, 1)
    ]
    assert scores[0] == scores[1] != scores[2]


def test_texts_without_spaces_and_of_unique_words_are_told_apart_by_their_characters() -> None:
    draw = random.Random(0)
    chinese = {"yes": "害怕担心恐慌疲倦", "no": "晴天野餐假日蛋糕"}
    made = [(label, "我觉得，" + "".join(draw.choices(chinese[label], k=9))) for label in ["yes", "no"] * 30]
    unique = [
        (label, letter * 3 + str(number)) for number in range(10) for label, letter in (("yes", "a"), ("no", "b"))
    ]
    for texts in (made, unique):
        made = [row(text, label) for label, text in texts]
        assert label_noise.find(table(made), _rule(0.9, "t"), CONTEXT).figures["t"]["accuracy"] > 0.9
    with pytest.raises(DataError, match="the texts hold no characters to learn from"):
        label_noise.find(table([row("", label) for label in ["yes", "no"] * 10]), _rule(0.9, "t"), CONTEXT)


def test_no_rows_left_for_a_task_is_told_as_such() -> None:
    with pytest.raises(DataError, match="the rules before label noise left no row of the task"):
        label_noise.find(table([row("a", task="other")]), _rule(0.9, "t"), CONTEXT)


def test_one_class_only_and_too_few_rows_are_told() -> None:
    with pytest.raises(DataError, match=r"clean.label_noise.tasks: t: label noise needs two classes.*\(yes\)"):
        label_noise.find(table([row("a"), row("b")]), _rule(0.9, "t"), CONTEXT)
    made, _ = _topics(0)
    with pytest.raises(DataError, match="label `maybe` has 1 rows, fewer than"):
        label_noise.find(table([*made, row("x", "maybe")]), _rule(0.9, "t"), CONTEXT)
