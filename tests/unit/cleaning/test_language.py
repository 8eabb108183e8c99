"""Texts in other languages are found, and English ones are not, however clinical."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.cleaning import language
from clew.params_clean import LanguageRule
from examples.clean_rows import CONTEXT, row, table

GERMAN = "Der Patient klagt seit drei Tagen über starke Schmerzen im rechten Bein und kann nicht schlafen."
ENGLISH = "The patient has had severe pain in the right leg for three days and cannot sleep."
CHINESE = "患者三天来右腿疼痛剧烈，无法入睡，已经服用了止痛药，但是没有效果。"


def _rule(*expected: str) -> LanguageRule:
    return LanguageRule(action="review", expected=expected, threshold=0.2, min_words=8)


def test_another_language_is_found_with_its_probability() -> None:
    findings = language.find(table([row(ENGLISH), row(GERMAN), row(CHINESE)]), _rule("en"), CONTEXT)
    assert {position: f.detail for position, f in findings.by_position.items()} == {1: "likely de", 2: "likely zh"}
    assert findings.scores is not None
    assert findings.scores[0] > 0.9
    for position, finding in findings.by_position.items():
        assert (finding.action, finding.threshold) == ("review", 0.2)
        assert finding.score == pytest.approx(findings.scores[position])
        assert findings.scores[position] < 0.2


def test_the_probabilities_of_all_expected_languages_count_together() -> None:
    assert not language.find(table([row(ENGLISH), row(GERMAN)]), _rule("en", "de"), CONTEXT).by_position


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH.upper(),
        "What causes malignant hyperpyrexia? A. Thiopentone B. Vecuronium C. Propofol D. Suxamethonium",
        "see https://www.beispiel.de/eine/sehr/lange/adresse/ueber/schmerzen and tell me what you think of it",
    ],
)
def test_english_that_looks_foreign(text: str) -> None:
    assert not language.find(table([row(text)]), _rule("en"), CONTEXT).by_position


def test_numbers_do_not_hide_another_language() -> None:
    text = "V roce 2020 stála kniha 350 korun a 20 haléřů."
    assert language.find(table([row(text)]), _rule("en"), CONTEXT).by_position[0].detail == "likely cs"


@pytest.mark.parametrize("text", [None, "", "Der Patient", "1 2 3 4 5 6 7 8 9", "疼痛", "https://a.de/b " * 9])
def test_what_has_few_words_is_not_judged(text: str | None) -> None:
    findings = language.find(table([row(text)]), _rule("en"), CONTEXT)
    assert not findings.by_position
    assert findings.scores is not None
    assert np.isnan(findings.scores).all()


@settings(max_examples=50)
@given(st.lists(st.none() | st.text(min_size=10), max_size=4))
def test_any_text_at_all(texts: list[str | None]) -> None:
    rows = table([row(text) for text in texts])
    one, other = (language.find(rows, _rule("en"), CONTEXT) for _ in range(2))
    assert one.by_position == other.by_position
    assert one.scores is not None
    assert np.array_equal(one.scores, other.scores, equal_nan=True)  # type: ignore[arg-type]
    assert set(np.flatnonzero(one.scores < 0.2)) == set(one.by_position)
