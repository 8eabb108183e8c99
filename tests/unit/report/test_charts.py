"""Places on an axis: on it, in order, and round where they are labelled."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from clew.report import charts

FINITE = st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-6)


@st.composite
def scales(draw):
    low, length = draw(FINITE), draw(st.floats(1e-3, 1e9))
    return charts.Scale(low, low + max(length, abs(low) * 1e-6))


@given(scales(), FINITE, FINITE)
def test_places_lie_on_the_axis_and_keep_their_order(scale, a, b):
    """A larger value never lies before a smaller one, and none lies off the axis."""
    low, high = sorted((a, b))
    assert 0 <= scale.place(low) <= scale.place(high) <= 100


@given(scales(), st.integers(1, 10))
def test_ticks_are_few_even_and_on_the_axis(scale, most):
    """No more ticks than asked for, one step apart."""
    ticks = scale.ticks(most)
    slack = 1e-6 * max(abs(scale.low), abs(scale.high))
    assert len(ticks) <= most
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6, abs_tol=slack) for step in steps)


@given(st.lists(FINITE), st.lists(FINITE, max_size=2))
def test_an_axis_holds_all_its_values(values, include):
    """A dot is never drawn at the edge because its axis is too short."""
    scale = charts.around(values, include=include)
    assert scale.low < scale.high
    assert all(scale.low <= value <= scale.high for value in values + include)


def test_values_that_are_not_numbers_do_not_stretch_an_axis():
    assert charts.around([math.inf, math.nan]) == charts.Scale(0.0, 1.0)


@given(st.lists(FINITE))
def test_an_axis_for_differences_has_zero_in_its_middle(values):
    scale = charts.balanced(values)
    assert scale.place(0) == 50
    assert all(scale.low <= value <= scale.high for value in values)


@given(st.lists(st.integers(0, 10_000), max_size=8))
def test_a_stacked_bar_is_full_and_in_proportion(counts):
    """The parts fill the bar; a part of nothing is not drawn."""
    pieces = charts.stack([(str(number), n) for number, n in enumerate(counts)])
    assert [piece.n for piece in pieces] == [n for n in counts if n]
    widths = [float(piece.width.removesuffix("%")) for piece in pieces]
    assert not pieces or math.isclose(sum(widths), 100, abs_tol=0.01)
    ends = [float(p.x.removesuffix("%")) + width for p, width in zip(pieces, widths, strict=True)]
    assert all(
        math.isclose(end, float(after.x.removesuffix("%")), abs_tol=0.01)
        for end, after in zip(ends, pieces[1:], strict=False)
    )


def test_a_line_rises_on_the_screen_when_the_value_rises():
    """SVG counts down from the top."""
    assert charts.line([(0, 0), (10, 1)], charts.Scale(0, 10), charts.Scale(0, 1)) == "0,100 100,0"
