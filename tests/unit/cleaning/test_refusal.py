"""Written answers that refuse are told from those that quote, report or say sorry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.cleaning import refusal
from clew.params_clean import RefusalRule
from examples.clean_rows import CONTEXT, row, table


def _detail(answer: str | None, *phrases: str, choices: list[str] | None = None) -> str | None:
    made = row("Summarise.", label=None, choices=choices, completion=answer)
    found = refusal.find(table([made]), RefusalRule(action="drop", phrases=phrases), CONTEXT).by_position
    return found[0].detail if found else None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("As an AI language model, I do not have opinions.", "as an ai"),
        ("I'm sorry, but I can't assist with that request.", "i'm sorry, but i can't assist"),
        ("I’m sorry, but I can’t provide that.", "i’m sorry, but i can’t provide"),
        ("I cannot fulfill your request.", "i cannot fulfil"),
        ("I am unable to provide medical advice.", "i am unable to provide medical advice"),
        ("Unfortunately, I am not able to help with this.", "unfortunately, i am not able to help"),
        ("This goes against my programming.", "against my programming"),
        ("As of my last knowledge update in April 2023, the dose was 5 mg.", "as of my last knowledge update"),
        ("I don't have access to real-time data.", "i don't have access to real-time"),
        ("<nooutput>", "<nooutput>"),
        ("N/A", "n/a"),
        ('"I must decline to answer."', "i must decline"),
    ],
)
def test_refusals_and_boiler_plate(answer: str, said: str) -> None:
    assert _detail(answer) == f"says `{said}`"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        "I'm sorry to hear that. Take it twice a day.",
        "The patient was unable to provide information about her medication.",
        "She cannot help with the children since the stroke.",
        "He asked the bot, which said “As an AI language model, I cannot help”, and then called us.",
        "The bot replied: \"I'm sorry, but I can't assist with that.\" The patient then came to the clinic.",
        "A long answer about chat models. " * 10 + "Some begin with as an AI language model, which tells nothing.",
        "No outputs were found to differ between the arms.",
        "It is important to take an airway history; this is ethical and not harmful.",
    ],
)
def test_quotations_reports_and_sympathy_are_none(answer: str | None) -> None:
    assert _detail(answer) is None


def test_only_written_answers_are_judged() -> None:
    assert _detail("As an AI language model", choices=["As an AI language model", "no"]) is None


def test_phrases_of_ones_own() -> None:
    assert _detail("TBD (see chart).", "tbd (see") == "says `tbd (see`"
    assert _detail("Take it twice a day.", "tbd (see") is None


@given(st.lists(st.none() | st.text(), max_size=4), st.lists(st.text(min_size=1), max_size=2))
def test_any_text_and_any_phrase(answers: list[str | None], phrases: list[str]) -> None:
    made = table([row("q", label=None, choices=None, completion=answer) for answer in answers])
    refusal.find(made, RefusalRule(action="drop", phrases=tuple(phrases)), CONTEXT)
