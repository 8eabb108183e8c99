"""Which predictions are shown: some of each kind, failures among them, chosen by nobody."""

from hypothesis import given
from hypothesis import strategies as st

from clew.report.sections import samples

CLASSES = st.lists(st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), unique=True).map(sorted), max_size=4)


@given(CLASSES, st.integers(1, 10))
def test_each_class_has_its_turn(classes, n):
    """Every class that has a row is shown before any class is shown twice."""
    chosen = samples.choose(classes, n)
    assert len(chosen) == min(n, sum(map(len, classes)))
    firsts = [of_class[0] for of_class in classes if of_class]
    assert chosen[: len(firsts)] == firsts[:n]


def test_failures_are_shown_where_there_are_any(run):
    """With as many samples as classes, a wrong answer of the final model is among them."""
    shown = samples.of_task(run, "stress")
    verdicts = {(s["said"][0]["right"], s["said"][-2]["right"]) for s in shown["samples"]}
    assert any(not final for _, final in verdicts)
    assert sum(n for _, n in shown["classes"]) == sum(row["task"] == "stress" for row in run.predictions["base"])


def test_free_text_is_not_called_right_or_wrong(run):
    shown = samples.of_task(run, "notes")
    assert shown["free_text"]
    assert all(one["right"] is None for sample in shown["samples"] for one in sample["said"])


@given(st.text(max_size=2000), st.integers(1, 1000))
def test_an_excerpt_is_the_text_or_its_ends(text, short):
    """Nothing is made up, and what is short is whole."""
    found = samples.excerpt(text, short)
    stripped = text.strip()
    assert stripped.startswith(found.start)
    assert stripped.endswith(found.end)
    if len(stripped) <= short:
        assert (found.start, found.end, found.whole, found.cut) == (stripped, "", "", 0)
    else:
        assert found.whole + stripped[len(found.whole) :] == stripped
        assert len(found.whole) + found.cut == len(stripped)


def test_an_excerpt_ends_between_words():
    found = samples.excerpt("word " * 300, 700)
    assert found.start.endswith("word")
    assert found.end.startswith("word")
