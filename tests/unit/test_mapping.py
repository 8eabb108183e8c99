"""Records become rows as declared; what does not fit says why; templates stay in their sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from clew import mapping, params
from clew.errors import DataError

COMMON = {"source": "s", "files": "*", "system": None, "prompt": "{{ text }}?", "text": "{{ text }}", "groups": {}}
LABEL = COMMON | {"kind": "label", "label": "{{ label }}", "values": {"1": "yes", "0": "no"}, "rejected": True}
OPTIONS = COMMON | {
    "kind": "options",
    "prompt": "{{ text }}\n{{ options }}",
    "options": "{{ options }}",
    "strip": "[A-E]\\. ",
    "answer": "{{ answer }}",
    "shuffle": True,
    "rejected": True,
}
RENDER = mapping.renderer()


def _mapping(**changes: Any) -> Any:
    value = {"format": "csv"} | changes
    kinds = params.LabelMapping | params.OptionsMapping | params.TextMapping
    return TypeAdapter(kinds).validate_json(json.dumps(value))


def _content(declared: Any, record: dict[str, Any]) -> dict[str, Any]:
    return mapping.content("task", declared, record, RENDER)


def test_a_label_becomes_its_word_with_the_other_words_as_choices() -> None:
    row = _content(_mapping(**LABEL | {"system": "Be brief."}), {"text": "Hi", "label": "1"})
    assert row["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
    assert (row["completion"], row["label"], row["choices"], row["rejected"]) == ("yes", "yes", ["yes", "no"], "no")


@pytest.mark.parametrize(
    ("declared", "record", "reason"),
    [
        (LABEL, {"text": "Hi", "label": "2"}, "unknown_label"),
        (OPTIONS, {"text": "q", "options": "A. x\nB. y", "answer": "C. z"}, "answer_not_one_of_the_options"),
        (OPTIONS, {"text": "q", "options": "A. x\nB. x", "answer": "A. x"}, "answer_not_one_of_the_options"),
        (OPTIONS, {"text": "q", "options": "A. x", "answer": "A. x"}, "number_of_options"),
        (LABEL | {"text": "{{ text.nothing }}"}, {"text": "Hi", "label": "1"}, "template"),
        (LABEL | {"text": "{{ 1 / 0 }}"}, {"text": "Hi", "label": "1"}, "template"),
        (LABEL, {None: "{broken"}, "malformed"),
    ],
)
def test_a_record_that_does_not_fit_says_why(declared: dict[str, Any], record: dict[str, Any], reason: str) -> None:
    with pytest.raises(mapping.Unfit) as error:
        _content(_mapping(**declared), record)
    assert error.value.reason == reason


WORDS = st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=8)


@given(WORDS, st.lists(WORDS, min_size=2, max_size=5, unique=True), st.data())
def test_shuffled_options_keep_the_answer_and_their_order_is_fixed_by_the_text(
    text: str, options: list[str], data: st.DataObject
) -> None:
    answer = data.draw(st.sampled_from(options))
    lines = [f"{letter}. {option}" for letter, option in zip("ABCDE", options, strict=False)]
    record = {"text": text, "options": "\n".join(lines), "answer": answer}
    row = _content(_mapping(**OPTIONS), record)
    assert row == _content(_mapping(**OPTIONS), record)
    shown = row["messages"][0]["content"].splitlines()[-len(options) :]
    assert f"{row['label']}. {answer}" in shown
    assert sorted(line[3:] for line in shown) == sorted(options)
    assert row["rejected"] in row["choices"]
    assert row["rejected"] != row["label"]


def test_a_group_needs_exactly_one_pattern_that_is_found() -> None:
    declared = _mapping(**LABEL | {"groups": {"pronoun": {"he": r"\bhe\b", "she": r"\bshe\b"}}})
    for text, groups in {"he": {"pronoun": "he"}, "she": {"pronoun": "she"}, "he, she": None, "they": None}.items():
        assert _content(declared, {"text": text, "label": "1"})["groups"] == groups


@pytest.mark.parametrize("template", ["{{ ''.__class__.__mro__ }}", "{{ text.__init__.__globals__ }}"])
def test_templates_cannot_leave_their_sandbox(template: str) -> None:
    with pytest.raises((DataError, mapping.Unfit)):
        _content(_mapping(**LABEL | {"prompt": template}), {"text": "Hi", "label": "1"})


def test_a_template_cannot_change_the_record() -> None:
    record = {"text": "Hi", "label": "1", "items": [1]}
    with pytest.raises((DataError, mapping.Unfit)):
        _content(_mapping(**LABEL | {"prompt": "{{ items.append(2) }}"}), record)
    assert record["items"] == [1]


def test_a_missing_column_is_told_with_the_nearest_name() -> None:
    with pytest.raises(
        DataError, match=r"column `text` is missing; did you mean `texts`\?.*The columns are: texts, label"
    ):
        mapping.check_columns(_mapping(**LABEL), "t", {"texts": "", "label": ""}, "f.csv")
    with pytest.raises(DataError, match="not a template"):
        mapping.columns(_mapping(**LABEL | {"prompt": "{{ text"}), "t")


def test_records_are_read_from_csv_jsonl_and_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.csv").write_text('\ufefftext,label\n"two\nlines",1\n', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n\n[1]\n{bad\n')
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.parquet")
    assert list(mapping.records(tmp_path / "a.csv", "csv")) == [{"text": "two\nlines", "label": "1"}]
    assert [None in record for record in mapping.records(tmp_path / "a.jsonl", "jsonl")] == [False, True, True]
    assert list(mapping.records(tmp_path / "a.parquet", "parquet")) == [{"text": "x"}]
