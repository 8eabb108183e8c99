"""Each cleaning rule finds what it should, and only that."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import params
from clew.cleaning import RULES, duplicates, label_noise, length, missing
from clew.errors import DataError


def _row(text: str | None, label: str | None = "yes", task: str = "t", **more: Any) -> dict[str, Any]:
    row = {"row_id": f"id of {text}", "task": task, "text": text, "label": label, "completion": label}
    return row | {"choices": ["yes", "no"]} | more


def test_every_rule_has_its_section_and_the_other_way_round() -> None:
    assert list(RULES) == list(params.Clean.model_fields)
    assert len(RULES) >= 4


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (_row("x"), None),
        (_row(None), "text"),
        (_row("  "), "text"),
        (_row("x", None), "completion, label"),
        (_row("x", None, completion="a", choices=None), None),
    ],
)
def test_missing_fields_are_named(row: dict[str, Any], said: str | None) -> None:
    rule = params.MissingRule(fields=("text", "completion", "label"))
    found = missing.find([row], rule, 0).by_position
    assert (found[0].detail if found else None) == said


def test_length_says_how_many_words_against_which_threshold() -> None:
    rule = params.LengthRule(min_words=2, max_words=3)
    found = length.find([_row("a"), _row("a b"), _row("a b c"), _row("a b c d"), _row(None)], rule, 0).by_position
    assert {position: (f.score, f.threshold) for position, f in found.items()} == {0: (1, 2), 3: (4, 3), 4: (0, 2)}


def test_of_duplicates_the_first_stays_and_of_contradictions_none() -> None:
    rows = [_row("Same"), _row("same!"), _row("Two", "yes"), _row("two", "no"), _row("same", task="u"), _row("else")]
    found = duplicates.find(rows, params.DuplicatesRule(enabled=True), 0).by_position
    assert {position: f.rule for position, f in found.items()} == {
        1: "duplicate",
        2: "contradiction",
        3: "contradiction",
    }
    assert found[1].detail == "of row id of Same"
    assert not duplicates.find(rows, params.DuplicatesRule(enabled=False), 0).by_position


@given(st.lists(st.tuples(st.sampled_from("abA "), st.sampled_from(["yes", "no"])), max_size=12))
def test_what_duplicates_leave_has_no_duplicates(pairs: list[tuple[str, str]]) -> None:
    rows = [_row(text, label) for text, label in pairs]
    rule = params.DuplicatesRule(enabled=True)
    found = duplicates.find(rows, rule, 0).by_position
    left = [row for position, row in enumerate(rows) if position not in found]
    assert not duplicates.find(left, rule, 0).by_position


def _topics(flips: int) -> tuple[list[dict[str, Any]], set[int]]:
    """200 texts of two easily told topics, the labels of `flips` of them turned round."""
    draw = random.Random(0)
    words = {"yes": ["fear", "worry", "panic", "tired"], "no": ["sunny", "picnic", "holiday", "cake"]}
    rows = []
    for number in range(200):
        label = "yes" if number % 2 else "no"
        rows.append(_row(f"{number} " + " ".join(draw.choices(words[label], k=6)), label))
    flipped = set(draw.sample(range(200), flips))
    for position in flipped:
        rows[position]["label"] = "no" if rows[position]["label"] == "yes" else "yes"
    return rows, flipped


def _rule(min_accuracy: float, *tasks: str) -> params.LabelNoiseRule:
    return params.LabelNoiseRule(tasks=tasks, folds=5, min_accuracy=min_accuracy, weight=0.5)


def test_flipped_labels_are_found_and_dropped_where_the_classifier_is_accurate() -> None:
    rows, flipped = _topics(10)
    findings = label_noise.find(rows, _rule(0.9, "t"), 0)
    assert set(findings.by_position) == flipped
    assert {finding.decision for finding in findings.by_position.values()} == {"dropped"}
    accuracy = findings.figures["t"].pop("accuracy")
    assert 0.9 <= accuracy <= 0.95  # of 200 labels 10 are wrong
    assert findings.figures["t"] == {"n": 200, "doubted": 10, "action": "drop"}


def test_they_weigh_less_where_it_is_not() -> None:
    rows, flipped = _topics(10)
    findings = label_noise.find(rows, _rule(0.96, "t"), 0)
    assert set(findings.by_position) == flipped
    assert {(f.decision, f.weight) for f in findings.by_position.values()} == {("changed", 0.5)}


def test_clean_labels_are_left_alone() -> None:
    assert not label_noise.find(_topics(0)[0], _rule(0.9, "t"), 0).by_position


def test_other_seeds_make_other_folds() -> None:
    rows, _ = _topics(10)
    scores = [
        [f.score for f in label_noise.find(rows, _rule(0.9, "t"), seed).by_position.values()] for seed in (0, 0, 1)
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
        rows = [_row(text, label) for label, text in texts]
        assert label_noise.find(rows, _rule(0.9, "t"), 0).figures["t"]["accuracy"] > 0.9
    with pytest.raises(DataError, match="the texts hold no characters to learn from"):
        label_noise.find([_row("", label) for label in ["yes", "no"] * 10], _rule(0.9, "t"), 0)


def test_no_rows_left_for_a_task_is_told_as_such() -> None:
    with pytest.raises(DataError, match="the rules before label noise left no row of the task"):
        label_noise.find([_row("a", task="other")], _rule(0.9, "t"), 0)


def test_one_class_only_and_too_few_rows_are_told() -> None:
    with pytest.raises(DataError, match=r"clean.label_noise.tasks: t: label noise needs two classes.*\(yes\)"):
        label_noise.find([_row("a"), _row("b")], _rule(0.9, "t"), 0)
    rows, _ = _topics(0)
    with pytest.raises(DataError, match="label `maybe` has 1 rows, fewer than"):
        label_noise.find([*rows, _row("x", "maybe")], _rule(0.9, "t"), 0)
