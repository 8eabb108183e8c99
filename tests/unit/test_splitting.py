"""A row's side is fixed by its text; no text stands on two sides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import params, splitting

TEXTS = st.lists(st.text(max_size=6), max_size=30)


def _split(valid: float = 0.2, test: float = 0.3, limits: params.Sides | None = None) -> params.Split:
    return params.Split(valid_share=valid, test_share=test, limits={"t": limits} if limits else {})


def _rows(texts: list[str]) -> list[dict[str, Any]]:
    user = [{"role": "user", "content": "What?"}]
    more = {"task": "t", "choices": None, "messages": user}
    return [{"row_id": str(number), "text": text} | more for number, text in enumerate(texts)]


def _question(text: str, shown: str, choices: list[str]) -> dict[str, Any]:
    return {"text": text, "messages": [{"role": "user", "content": f"Choose.\n{shown}\nWhich?"}], "choices": choices}


@given(TEXTS, st.integers(0, 2**32 - 1))
def test_nothing_leaks_whatever_the_texts(texts: list[str], seed: int) -> None:
    sides = [splitting.side(text, _split(), seed) for text in texts]
    assert not splitting.leaks(_rows(texts), sides)


def test_a_leak_is_found() -> None:
    assert splitting.leaks(_rows(["A b!", "a  B"]), ["train", "test"]) == {"a b"}


def test_a_question_is_one_group_whatever_its_options_are() -> None:
    first = _question("Alloys are\n\ncleaned by\nA. Acid\nB.  Heat ", "A. Heat\nB. Acid", ["A", "B"])
    again = _question(
        "alloys are cleaned by:\nA. acid \nB. Heat\nC. sand", "A. acid\nB. Heat\nC. sand", ["A", "B", "C"]
    )
    assert splitting.group(first) == "Alloys are\ncleaned by"
    assert splitting.leaks([first, again], ["train", "test"]) == {"alloys are cleaned by"}
    assert not splitting.leaks([first, again], ["test", "test"])


@pytest.mark.parametrize(
    "row",
    [
        _question("A. Acid\nB. Heat", "A. Heat\nB. Acid", ["A", "B"]),  # nothing but options
        _question("How\nare\nyou", "A. well\nB. ill", ["A", "B"]),  # the options are no part of the text
        _question("It is\nyes\nno", "yes or no", ["yes", "no"]),  # fixed words
    ],
)
def test_other_texts_are_their_own_group(row: dict[str, Any]) -> None:
    assert splitting.group(row) == row["text"]


def test_shares_are_kept_about() -> None:
    sides = [splitting.side(str(number), _split(0.1, 0.2), 1) for number in range(5000)]
    assert abs(sides.count("test") / 5000 - 0.2) < 0.02
    assert abs(sides.count("valid") / 5000 - 0.1) < 0.02


@given(TEXTS, TEXTS)
def test_limits_hold_and_a_row_that_comes_later_can_only_displace(texts: list[str], more: list[str]) -> None:
    split = _split(limits=params.Sides(train=3, valid=1, test=2))

    def kept(of: list[str]) -> list[str]:
        rows = _rows(of)
        sides = [splitting.side(text, split, 7) for text in of]
        stays = splitting.within_limits(rows, sides, split, 7)
        for name, limit in (("train", 3), ("valid", 1), ("test", 2)):
            there = sides.count(name)
            assert sum(stay for stay, side in zip(stays, sides, strict=True) if side == name) == min(there, limit)
        return [text for text, stay in zip(of, stays, strict=True) if stay]

    before, after = kept(texts), kept(texts + more)
    assert set(after) - set(more) <= set(before)
