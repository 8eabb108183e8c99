"""Written answers that break off are told from short, listed and coded ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.cleaning import truncated
from clew.params_clean import TruncatedRule
from examples.clean_rows import CONTEXT, row, stored

RULE = TruncatedRule(action="review")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("The patient denies chest pain and", "ends in a function word"),
        ("The patient denies chest pain,", "ends in a comma, colon or dash"),
        ("Take the following:", "ends in a comma, colon or dash"),
        ("She takes a non-", "ends in a comma, colon or dash"),
        ("Use this:\n```python\nprint(1)", "an open code block"),
        ("He takes aspirin (81 mg", "an open ("),
        ("She said “I have been", "an open “"),
        ("Take it twice a day. If the rash gets", "ends without a full stop"),
        ("Rest.\nThen come back to the clinic on the third day", "ends without a full stop"),
    ],
)
def test_answers_that_break_off(answer: str, said: str) -> None:
    assert truncated.how_it_breaks_off(answer, others_close=None) == said


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Penicillin",
        "No known drug allergies",
        "Seen by Dr. Smith",
        "Hepatitis A",
        "Blood group O-",
        "Yes, he was",
        "Take it twice a day.",
        "He said “no.”",
        "Do:\n- rest\n- drink water",
        "Rest. Then:\n1. Drink\n2. Sleep well every night for eight hours or more",
        "x = 5 + y",
        "Run it.\n```\nprint(1)\n```",
        "It is done. See https://example.org/a",
        "All is well. Thank you 🙂",
        "すべて順調です。",
        "I am glad that you came. Come again soon.\n\nBest regards,\nAda Lovelace",
    ],
)
def test_answers_that_are_whole(answer: str) -> None:
    assert truncated.how_it_breaks_off(answer, others_close=None) is None


def test_a_missing_full_stop_says_nothing_where_the_task_has_none() -> None:
    assert truncated.how_it_breaks_off("It is not so. It is another way", others_close=False) is None


def _rows(closed: int, open_: int) -> list[str]:
    return ["He feels much better today."] * closed + ["He feels much better today"] * open_


@pytest.mark.parametrize(("closed", "open_", "found"), [(16, 4, 4), (15, 5, 0), (15, 4, 0)])
def test_a_missing_full_stop_counts_where_the_task_has_them(closed: int, open_: int, found: int) -> None:
    made = [row("q", label=None, choices=None, completion=answer) for answer in _rows(closed, open_)]
    findings = truncated.find(stored(made), RULE, CONTEXT)
    assert len(findings.by_position) == found
    assert findings.figures == {"t": {"closed": closed / (closed + open_), "n": closed + open_}}


def test_only_written_answers_are_judged() -> None:
    made = [row("q", completion="yes and"), row("q", label=None, choices=None, completion=None)]
    assert not truncated.find(stored(made), RULE, CONTEXT).by_position


@given(st.lists(st.none() | st.text(), max_size=4), st.none() | st.booleans())
def test_any_text_at_all(answers: list[str | None], others_close: bool | None) -> None:
    truncated.find(stored([row("q", choices=None, completion=answer) for answer in answers]), RULE, CONTEXT)
    for answer in answers:
        truncated.how_it_breaks_off(answer or "", others_close)
