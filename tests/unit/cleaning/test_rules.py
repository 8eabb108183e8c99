"""Each cleaning rule finds what it should, and only that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import params, rows
from clew.cleaning import RULES, contradictions, duplicates, length, missing
from clew.params_clean import ContradictionsRule, DuplicatesRule, LengthRule, MissingRule
from examples.clean_rows import CONTEXT, row, stored, table


def test_every_rule_has_its_section_and_the_other_way_round() -> None:
    about_all = {"objective", "features", "downweight"}
    assert list(RULES) == [name for name in params.Clean.model_fields if name not in about_all]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (row("x"), None),
        (row(None), "text"),
        (row("  "), "text"),
        (row("x", None), "label"),
        (row("x", None, completion="a", choices=None), None),
    ],
)
def test_missing_fields_are_named(made: dict[str, Any], said: str | None) -> None:
    rule = MissingRule(text="drop", completion="drop", label="drop")
    found = missing.find(stored([made]), rule, CONTEXT).by_position
    assert (found[0].detail if found else None) == said


def test_length_says_how_many_words_against_which_threshold() -> None:
    rule = LengthRule(action="drop", min_words=2, max_words=3)
    made = [row("a"), row("a b"), row("a b c"), row("a b c d"), row(None)]
    found = length.find(table(made), rule, CONTEXT).by_position
    assert {position: (f.score, f.threshold) for position, f in found.items()} == {0: (1, 2), 3: (4, 3), 4: (0, 2)}


def test_of_duplicates_the_first_stays_and_of_contradictions_none() -> None:
    made = [row("Same"), row("same!"), row("Two", "yes"), row("two", "no"), row("same", task="u"), row("else")]
    found = duplicates.find(stored(made), DuplicatesRule(action="drop"), CONTEXT).by_position
    assert {position: f.detail for position, f in found.items()} == {1: "of row id of Same"}
    found = contradictions.find(stored(made), ContradictionsRule(action="review"), CONTEXT).by_position
    assert {position: (f.action, f.detail) for position, f in found.items()} == {
        2: ("review", "no / yes"),
        3: ("review", "no / yes"),
    }


def test_of_multiple_choice_the_options_count_and_not_their_letters() -> None:
    def asked(label: str, *options: str) -> dict[str, Any]:
        return row("Which?", label, choices=["A", "B"], options=list(options))

    made = [asked("A", "K", "C"), asked("B", "C", "K"), asked("A", "K", "D")]
    assert not contradictions.find(stored(made), ContradictionsRule(action="drop"), CONTEXT).by_position
    assert set(duplicates.find(stored(made), DuplicatesRule(action="drop"), CONTEXT).by_position) == {1}
    made.append(asked("A", "C", "K"))
    found = contradictions.find(stored(made), ContradictionsRule(action="drop"), CONTEXT).by_position
    assert {position: one.detail for position, one in found.items()} == dict.fromkeys((0, 1, 3), "2 right answers")


@given(st.lists(st.tuples(st.sampled_from("abA "), st.sampled_from(["yes", "no"])), max_size=12))
def test_what_the_two_leave_has_neither(pairs: list[tuple[str, str]]) -> None:
    left = [row(text, label) for text, label in pairs]
    for find, rule in (
        (contradictions.find, ContradictionsRule(action="drop")),
        (duplicates.find, DuplicatesRule(action="drop")),
    ):
        found = find(stored(left), rule, CONTEXT).by_position  # type: ignore[operator]
        left = [one for position, one in enumerate(left) if position not in found]
    assert len({rows.normalise(one["text"]) for one in left}) == len(left)
