"""Damage is found, named, marked and mended; what is sound stays to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.cleaning import hygiene
from clew.cleaning.finding import Finding
from clew.params_clean import HygieneRule
from examples.clean_rows import CONTEXT, row, table

FIX = HygieneRule(action="fix", markup=True)


def _found(text: str | None, rule: HygieneRule = FIX, **more: object) -> Finding | None:
    return hygiene.find(table([row(text, **more)]), rule, CONTEXT).by_position.get(0)


@pytest.mark.parametrize(
    ("text", "mended", "said"),
    [
        ("The patientâ€™s mother", "The patient’s mother", "mojibake"),
        ("CafÃ© crÃ¨me", "Café crème", "mojibake"),
        ("Gerd\x92s dose", "Gerd’s dose", "mojibake"),
        ("a\x00b \x1b[31mred\x1b[0m", "ab red", "control characters"),
        ("zero\u200bwidth \ufeffand soft\u00adhyphen", "zerowidth and softhyphen", "invisible characters"),
        ("<p>5 &lt; 6 &amp; <b class='x'>so</b></p>", "5 < 6 & so", "markup"),
        ("a &#x200B; b", "a  b", "markup, invisible characters"),
        ("it&amp;#39;s", "it's", "markup"),
        ("x<script>if (a<b) alert(1)</script><!-- no -->y", "xy", "markup"),
    ],
)
def test_damage_is_named_and_mended(text: str, mended: str, said: str) -> None:
    found = _found(text)
    assert found is not None
    assert found.mend is not None
    assert (found.action, found.detail, found.mend(text)) == ("fix", said, mended)


@pytest.mark.parametrize(
    "text",
    [
        "“Curly” quotes, ﬁ ligatures, full-width ＡＢＣ, 5 µg, ½, naïve café, Straße, 10 °C…",
        "Lines\r\nof\tWindows",
        "می‌خواهم",  # Persian needs its zero-width non-joiner
        "family 👩‍👩‍👧 flag 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "AT&T; p <0.05 and n> 3, <EMAIL_ADDRESS>, a < b > c, <url>",
        "日本語の文章です。",
    ],
)
def test_what_is_sound_stays(text: str) -> None:
    assert _found(text) is None


def test_a_text_that_is_a_whole_file_is_left_alone() -> None:
    assert _found("\x00" * (hygiene.LOOKED_AT - 1)) is not None
    assert _found("\x00" * hygiene.LOOKED_AT) is None


def test_markup_counts_only_where_it_is_asked_for() -> None:
    assert _found("<b>x</b>", HygieneRule(action="fix", markup=False)) is None


def test_the_first_damaged_word_is_marked() -> None:
    text = "A sound start, then itâ€™s bad and theyâ€™re worse"
    found = _found(text)
    assert found is not None
    assert text[found.start : found.end] == "â€™s"


def test_damage_in_the_answer_alone_is_found_and_marks_nothing() -> None:
    found = _found("Sound.", label=None, choices=None, completion="Itâ€™s.")
    assert found is not None
    assert (found.detail, found.start, found.end) == ("mojibake", None, None)


def test_choices_are_left_as_they_are() -> None:
    """Else the answer would be none of the row's choices any more."""
    assert _found("Sound.", label="cafÃ©", choices=["cafÃ©", "no"], completion="cafÃ©") is None
    found = _found("Itâ€™s", label="cafÃ©", choices=["cafÃ©", "no"], completion="cafÃ©")
    assert found is not None
    assert found.mend is not None
    assert found.mend("cafÃ©") == "cafÃ©"


def test_other_actions_mend_nothing_and_figures_count_by_kind() -> None:
    rule = HygieneRule(action="review", markup=False)
    findings = hygiene.find(table([row("a\x00"), row("b\x00 cafÃ©"), row("c"), row(None)]), rule, CONTEXT)
    assert {position: (f.action, f.mend) for position, f in findings.by_position.items()} == {
        0: ("review", None),
        1: ("review", None),
    }
    assert findings.figures == {"control characters": 2, "mojibake": 1}


@given(st.lists(st.none() | st.text(), max_size=4), st.booleans())
def test_any_text_at_all(texts: list[str | None], markup: bool) -> None:
    rows = [row(text, label=None, choices=None, completion=text) for text in texts]
    found = hygiene.find(table(rows), HygieneRule(action="fix", markup=markup), CONTEXT).by_position
    for position, text in enumerate(texts):
        if position in found:
            mend, start, end = found[position].mend, found[position].start, found[position].end
            assert text is not None
            if mend is None:  # nothing would be left
                assert found[position].action == "drop"
                assert not hygiene._mend(text, hygiene._repairs(markup), ()).strip()
            else:
                assert mend(text) != text
                assert mend(text).strip()
            assert start is not None
            assert end is not None
            assert 0 <= start < end <= len(text)


ORDINARY = st.sampled_from("aZ5 .,$\n\t‘’“”–—…•") | st.characters(codec="ascii", exclude_categories=["Cc"])


@given(st.text(ORDINARY))
def test_ordinary_signs_are_no_damage(text: str) -> None:
    """Texts of these are not even looked at, so no repair may change them."""
    assert hygiene.damage(text, hygiene._repairs(markup=False)) == []
