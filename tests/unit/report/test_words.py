"""Numbers as people read them, and verdicts that say no more than the interval does."""

import doctest
import importlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.report import verdicts, words

DOCTESTED = ("words", "charts", "card", "sections.parameters", "sections.pipeline")


@pytest.mark.parametrize("name", DOCTESTED)
def test_the_examples_in_the_docstrings_hold(name):
    result = doctest.testmod(importlib.import_module(f"clew.report.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


@given(
    st.one_of(st.sampled_from([None, math.nan, math.inf, -math.inf]), st.floats(-1e100, 1e100)),
    st.sampled_from(["share", "score", "plain", "bytes", "count"]),
)
def test_any_number_can_be_written(value, kind):
    """No NaN, infinity, exponent or ASCII minus reaches the reader."""
    for text in (words.number(value, kind), words.difference(value, kind)):
        assert text
        assert not any(bad in text.lower() for bad in ("nan", "inf", "e+", "-", "none"))


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (0.5, "share", "50.0 %"),
        (1, "share", "100.0 %"),
        (-0.0004, "plain", "0"),
        (3.353248, "plain", "3.35"),
        (1234.5, "plain", "1 234"),
        (43.565, "score", "43.6"),
        (None, "share", "–"),
        (math.nan, "plain", "–"),
        (164_000_000, "bytes", "164 MB"),
        (12, "bytes", "12 B"),
    ],
)
def test_numbers_have_the_digits_that_count(value, kind, shown):
    assert words.number(value, kind).replace(words.NARROW, " ") == shown


def test_a_difference_without_size_has_no_sign():
    """−0.0 points would say that something fell."""
    assert words.difference(-0.00001, "share") == "0.0 points"
    assert words.difference(-0.01, "score") == "0.0"
    assert words.difference(0.0) == "0"


@given(st.floats(0, 1, exclude_min=True))
def test_a_p_value_is_never_zero(p):
    shown = words.p_value(p)
    assert "<" in shown or float(shown.partition("=")[2].strip(words.NARROW)) > 0


@pytest.mark.parametrize(
    ("low", "high", "lower_is_better", "tone"),
    [
        (0.1, 0.3, False, "better"),
        (-0.3, -0.1, False, "worse"),
        (-0.1, 0.3, False, "same"),
        (0.0, 0.3, False, "same"),
        (0.1, 0.3, True, "worse"),
        (-0.3, -0.1, True, "better"),
        (None, None, False, "unknown"),
    ],
)
def test_a_verdict_needs_an_interval_that_leaves_out_zero(low, high, lower_is_better, tone):
    entry = {"value": 1.0, "vs_parent": {"parent": "base", "difference": 0.1, "low": low, "high": high, "p": 0.5}}
    found = verdicts.verdict(entry, lower_is_better=lower_is_better)
    assert found.tone == tone
    assert found.words == verdicts.WORDS[tone]


@pytest.mark.parametrize("entry", [None, {}, {"value": None, "reason": "no test rows", "n": 0}])
def test_without_a_parent_nothing_is_compared(entry):
    """A null with a reason keeps its reason."""
    found = verdicts.verdict(entry)
    assert found.words == "not compared"
    assert found.reason == (entry or {}).get("reason", "")
