"""Mends reach what came from the record, wherever it stands, and leave what the template says."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clew.cleaning import messages
from clew.mapping import renderer


def _without_a(text: str) -> str:
    return text.replace("A", "")


def _mended(template: str, record: dict[str, object]) -> str:
    known = {"t": [messages.parsed(template)]}
    content = renderer()(template, record)
    mends = [partial(messages.piecewise, _without_a)]
    return str(messages.mended("t", [{"role": "user", "content": content}], mends, known)[0]["content"])


@pytest.mark.parametrize(
    ("template", "record", "mended"),
    [
        ("A post: {{ text }}. A?", {"text": "A cat"}, "A post:  cat. A?"),
        ("{{ text }} A", {"text": ""}, "A"),
        ("Rules: A", {}, "Rules: A"),
        ("{{ text }}\nA", {"text": "A\nA\nAb"}, "\n\nb\nA"),
        ("By {{ author }}: {{ text | upper }}, A", {"author": "A b", "text": "a dog"}, "By  b:  DOG, A"),
        ('{{ text | truncate(5, false, "") }}\n\nA?', {"text": "A cat A"}, " cat \n\nA?"),
        ("{% if text %}A: {{ text }}{% endif %} A", {"text": "AB"}, "A: B A"),
        ('{{ "A?" if text else "" }} {{ text }}', {"text": "AB"}, "A? B"),
        ("{% for one in some %}<A> {{ one }}\n{% endfor %}", {"some": ["AB", "C"]}, "<A> B\n<A> C"),
    ],
)
def test_what_the_template_says_stays_and_the_record_is_mended(
    template: str, record: dict[str, object], mended: str
) -> None:
    assert _mended(template, record) == mended


def test_messages_beside_the_text_are_told_by_what_the_template_does_not_say() -> None:
    known = {"t": [messages.parsed("Rules: A"), messages.parsed("Post: {{ text }} {{ more }} End")]}

    def row(content: str) -> messages.Row:
        return "t", "a cat", [{"content": "Rules: A"}, {"content": content}]

    assert messages.beside(row("Post: a cat  End"), known) is None
    assert messages.beside(row("Post: a cat by ann End"), known) == "Rules: A\nPost: a cat by ann End"
    assert messages.beside(("u", *row("Post: a cat  End")[1:]), known) == "Rules: A\nPost: a cat  End"


@given(st.text("A b:"), st.text("A b:"))
@example("", ":")
def test_whatever_values_hold_no_more_stays_of_them_than_the_template_says(first: str, second: str) -> None:
    template = "b: {{ first }} b {{ second }}:b"
    content = renderer()(template, {"first": first, "second": second})
    own = messages.own(messages.parsed(template), content)
    assert [content[one.start : one.end].strip() for one in own] == ["b:", "b", ":b"]
    assert "A" not in _mended(template, {"first": first, "second": second})
