"""A row's schema and identity."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import rows
from clew.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
CONTENT = st.fixed_dictionaries({"task": TEXTS, "text": TEXTS, "choices": st.none() | st.lists(TEXTS, max_size=3)})


@given(CONTENT)
def test_the_same_content_has_the_same_id_in_any_order_and_unicode_form(content: dict[str, object]) -> None:
    again = {name: content[name] for name in reversed(content)}
    again["text"] = unicodedata.normalize("NFD", str(content["text"]))
    assert rows.row_id(content, b"k") == rows.row_id(again, b"k")


@given(CONTENT, CONTENT)
def test_other_content_or_another_key_has_another_id(a: dict[str, object], b: dict[str, object]) -> None:
    form = [unicodedata.normalize("NFC", str(sorted(content.items()))) for content in (a, b)]
    same = form[0] == form[1]
    assert (rows.row_id(a, b"k") == rows.row_id(b, b"k")) == same
    assert rows.row_id(a, b"k") != rows.row_id(a, b"other")


def test_an_id_stays_what_it_was() -> None:
    """Ids stand in committed ledgers: a change of the formula would orphan them."""
    assert rows.row_id({"text": "é", "n": None}, b"k") == (
        "afc0e85dadb03d1fcc441f0fb5ee62f2085c9b3d5f4261d23ef80be063604d91"
    )


ODD = st.text(st.sampled_from('e=n"\\/\n\r\t\b\f\0\x1f\x7f\u0301\u0338\u0303\u2028é가ᄀ\u1161😀'), max_size=6) | TEXTS
WHOLE = st.fixed_dictionaries(
    {
        **dict.fromkeys(rows.CONTENT, ODD | st.none() | st.lists(ODD, max_size=3)),
        "messages": st.lists(st.fixed_dictionaries({"role": TEXTS, "content": ODD}), max_size=2),
    }
)


@given(WHOLE)
def test_a_row_is_named_by_the_canonical_json_of_its_content(content: dict[str, object]) -> None:
    row = {"source": "s", **content, "weight": 1.0}
    assert rows.content_id(row, b"k") == rows.row_id(content, b"k")


MESSY = st.text(st.sampled_from("-–.,:/*5٣a_%#$€+( \u0301\u0327\u200dİΣσ¨´कि😀"), max_size=12) | TEXTS


@given(MESSY)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert rows.normalise(rows.normalise(text)) == rows.normalise(text)


def _what_counts(text: str) -> str:
    """The letters, digits, marks and symbols of a text, folded."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return "".join(character for character in folded if unicodedata.category(character)[0] in "LNMS")


@given(MESSY, MESSY)
def test_texts_of_other_letters_digits_marks_or_symbols_differ(one: str, other: str) -> None:
    if _what_counts(one) != _what_counts(other):
        assert rows.normalise(one) != rows.normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I love C++", "I love C"),
        ("I love C#", "I love C"),
        ("कि", "का"),
        ("-5 euro", "5 euro"),
        ("(-$.5)", "($.5)"),
        ("5 %", "5"),
        ("1.5 mg", "1 5 mg"),
        (".5 mg", "5 mg"),
        ("😀", "😢"),
        ("!!!", "?"),
    ],
)
def test_what_means_something_else_is_another_text(one: str, other: str) -> None:
    assert rows.normalise(one) != rows.normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("COVID-19, he said.", "covid 19 he said"), ("- 5 items", "5 items"), ("so ...5", "So 5"), ("“a_b”", "A b!")],
)
def test_punctuation_case_and_white_space_do_not_count(one: str, other: str) -> None:
    assert rows.normalise(one) == rows.normalise(other)


def test_rows_of_another_schema_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"row_id": ["x"], "colour": ["red"]}), "r.parquet")
    with pytest.raises(DataError, match="colour"):
        rows.read(Path("r.parquet"))
    with pytest.raises(DataError, match="does not exist"):
        rows.read(Path("none.parquet"))
