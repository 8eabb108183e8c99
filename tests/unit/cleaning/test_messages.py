"""Mends reach what came from the record, wherever it stands, and leave what the template says."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from clew.cleaning import messages


def _row(text: str, content: str, task: str = "t") -> messages.Row:
    return task, text, [{"role": "system", "content": "Rules: A"}, {"role": "user", "content": content}]


def _mend(text: str) -> str:
    return text.replace("A", "<x>")


def _mended(rows: list[messages.Row]) -> list[str]:
    known = messages.templates(lambda: rows)
    return [messages.mended(row, [_mend], known)[-1]["content"] for row in rows]


def test_the_template_stays_and_the_text_is_mended() -> None:
    rows = [_row("A cat", "Post A: A cat. A?"), _row("a dog", "Post A: a dog. A?")]
    assert _mended(rows) == ["Post A: <x> cat. A?", "Post A: a dog. A?"]
    known = messages.templates(lambda: rows)
    assert messages.mended(rows[0], [_mend], known)[0]["content"] == "Rules: A"


def test_where_other_columns_stand_in_the_prompt_all_of_it_is_mended() -> None:
    rows = [_row("A cat", "By A: A cat"), _row("a dog", "By b: a dog")]
    assert _mended(rows) == ["By <x>: <x> cat", "By b: a dog"]


def test_a_text_that_is_cut_in_the_prompt_is_mended_with_all_of_it() -> None:
    assert _mended([_row("A cat A", "Post: A cat"), _row("a dog and", "Post: a dog")]) == [
        "Post: <x> cat",
        "Post: a dog",
    ]


def test_a_task_of_one_row_is_mended_whole() -> None:
    assert _mended([_row("A cat", "Post A: A cat"), _row("A", "By A: A", task="u")]) == [
        "Post <x>: <x> cat",
        "By <x>: <x>",
    ]


@given(st.lists(st.tuples(st.text("A b", max_size=4), st.text("A b:", max_size=6)), min_size=1, max_size=5))
def test_no_sign_that_is_in_the_text_only_stays(pairs: list[tuple[str, str]]) -> None:
    rows = [_row(text, f"{front}{text}") for text, front in pairs]
    known = messages.templates(lambda: rows)["t", 1]
    parts = Counter(messages.around(text, f"{front}{text}") for text, front in pairs)
    most = [one for one, n in parts.items() if n > 1 and 2 * n > len(pairs)]
    assert most == ([] if known is None else [known])
    for (text, front), told in zip(pairs, _mended(rows), strict=True):
        if known is None or text.join(known).strip() != f"{front}{text}".strip():
            assert "A" not in told
        elif text and front.count(text) == 0 and (front + text).find(text) == len(front):
            assert told == front + _mend(text)
