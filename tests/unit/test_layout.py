"""Tables in the columns of a terminal."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import layout
from clew.layout import Column

TEXTS = st.text("aé→猫\u0301 ", max_size=12)


def test_examples() -> None:
    result = doctest.testmod(layout)
    assert result.attempted
    assert not result.failed


@given(st.lists(st.builds(Column, st.lists(TEXTS, max_size=4), st.integers(1, 9), st.booleans()), min_size=1))
def test_a_table_is_as_long_as_its_longest_column_and_no_wider_than_its_room(columns: list[Column]) -> None:
    lines = layout.rows(columns, 2, 30)
    assert len(lines) == max(len(column.cells) for column in columns)
    assert all(layout.width(line) <= 30 for line in lines)


@given(TEXTS, st.integers(1, 12))
def test_what_is_cut_fits_and_begins_alike(text: str, room: int) -> None:
    found = layout.cut(text, room)
    assert layout.width(found) <= room
    assert found == text or text.startswith(found.removesuffix("…"))


@given(TEXTS, st.integers(2, 12))
def test_a_wrapped_text_fits_and_loses_nothing_but_spaces(text: str, room: int) -> None:
    lines = layout.wrapped(text, room)
    assert all(layout.width(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_only_a_terminal_that_can_is_sent_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert layout.styled("a", "bold blue") == "\x1b[1;34ma\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert [layout.styled("a", style) for style in ("bold blue", "yellow", "")] == ["\x1b[1ma\x1b[0m", "a", "a"]
    monkeypatch.setenv("TERM", "dumb")
    assert layout.styled("a", "bold") == "a"
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert layout.styled("a", "bold") == "a"


def test_the_width_is_what_columns_says_else_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "71")
    assert layout.terminal_width(120) == 71
    for nonsense in ("", "0", "wide"):
        monkeypatch.setenv("COLUMNS", nonsense)
        assert layout.terminal_width(120) == 120, "no terminal"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert layout.terminal_width(120) == layout.USUAL, "a captured stdout has no size"
