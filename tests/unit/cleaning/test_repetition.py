"""What repeats itself is measured as Gopher measures it, and marked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.cleaning import repetition
from clew.params_clean import RepetitionRule
from examples.clean_rows import CONTEXT, row, table

RULE = RepetitionRule(action="drop", threshold=0.4)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0),
        ("a b c d e f g h", 0),
        ("a b c d a b c d", 4 / 8),
        ("A b c d x a B c D", 4 / 9),
        ("a b c d e a b c d e a b c d e", 10 / 15),  # overlapping 4-grams count once
        ("a a a a a a a a a a", 9 / 10),
        ("no no no", 0),  # shorter than a 4-gram
        ("哈" * 40, 39 / 40),  # no spaces: characters
        ("患者三天来右腿疼痛剧烈无法入睡已经服用了止痛药但是没有效果", 0),
    ],
)
def test_the_share_of_words_that_came_before(text: str, share: float) -> None:
    assert repetition.repeats(text).share == pytest.approx(share)


def test_text_and_written_answer_are_looked_at_and_the_first_repeat_is_marked() -> None:
    loop = "I cannot sleep at night. " * 4
    made = [
        row(f"Well, {loop}"),
        row("Sound.", choices=None, completion=loop),
        row("Sound.", completion=loop),
        row(None),
    ]
    findings = repetition.find(table(made), RULE, CONTEXT)
    assert {position: f.detail for position, f in findings.by_position.items()} == {
        0: "71% of the text came before",
        1: "75% of the answer came before",
    }
    first = findings.by_position[0]
    assert made[0]["text"][first.start : first.end].startswith("I cannot sleep at night. I cannot")
    assert first.start == len("Well, I cannot sleep at night. ")
    assert findings.by_position[1].start is None
    assert findings.scores is not None
    assert findings.scores == pytest.approx([15 / 21, 0.75, 0, 0])


def test_options_of_a_question_may_share_words() -> None:
    options = "\n".join(f"{letter}. Decreased bleeding time and increased clotting time" for letter in "ABCD")
    shown = [line[3:] for line in options.split("\n")]
    assert not repetition.find(table([row(f"Hemophilics show:\n{options}", options=shown)]), RULE, CONTEXT).by_position
    assert repetition.find(table([row(f"Show:\n{options}")]), RULE, CONTEXT).by_position


@given(st.lists(st.none() | st.text(st.sampled_from("aAİ 哈\n\x1c\u2003")), max_size=4))
def test_any_text_at_all(texts: list[str | None]) -> None:
    rows = table([row(text, choices=None, completion=text) for text in texts])
    findings = repetition.find(rows, RULE, CONTEXT)
    assert findings.scores is not None
    assert np.all((findings.scores >= 0) & (findings.scores <= 1))
    for position, finding in findings.by_position.items():
        assert finding.start is not None
        assert finding.end is not None
        assert 0 < finding.start < finding.end <= len(texts[position] or "")
