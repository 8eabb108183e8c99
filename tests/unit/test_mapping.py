"""Records become rows as declared; what does not fit says why; templates stay in their sandbox."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from clew import answers, mapping, params
from clew.errors import DataError

COMMON = {"source": "s", "files": "*", "system": None, "prompt": "{{ text }}?", "text": "{{ text }}", "groups": {}}
COMMON |= {"missing": {}}
LABEL = COMMON | {
    "kind": "label",
    "label": "{{ label }}",
    "annotations": None,
    "values": {"1": "yes", "0": "no"},
    "rejected": True,
}
OPTIONS = COMMON | {
    "kind": "options",
    "prompt": "{{ text }}\n{{ options }}",
    "options": "{{ options }}",
    "strip": "[A-E]\\. ",
    "answer": "{{ answer }}",
    "shuffle": True,
    "rejected": True,
}
LABELS = COMMON | {"kind": "labels", "labels": "feelings", "values": {"0": "anger", "1": "fear", "2": "joy"}}
TAGS = COMMON | {
    "kind": "tags",
    "text": "{{ words | join(' ') }}",
    "prompt": "Entities?",
    "tokens": "words",
    "tags": "marks",
    "names": None,
    "entity": "{{ type }}: {{ text }}",
    "nothing": "none",
}
RENDER = mapping.renderer()


def _mapping(**changes: Any) -> Any:
    value = {"format": "csv"} | changes
    kinds = params.LabelMapping | params.LabelsMapping | params.OptionsMapping | params.TextMapping | params.TagsMapping
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
        (LABELS, {"text": "Hi", "feelings": ["0", "3"]}, "unknown_label"),
        (LABELS, {"text": "Hi", "feelings": 0}, "no_list"),
        (LABEL | {"text": "{{ text.nothing }}"}, {"text": "Hi", "label": "1"}, "template"),
        (LABEL | {"text": "{{ 1 / 0 }}"}, {"text": "Hi", "label": "1"}, "template"),
        (LABEL | {"text": "{{ text | dictsort }}"}, {"text": "Hi", "label": "1"}, "template"),
        (LABEL | {"text": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"}, {"text": "", "label": "1"}, "template"),
        (LABEL | {"text": "{{ '\\ud800' }}"}, {"text": "Hi", "label": "1"}, "template"),
        (LABEL | {"text": "{{ lipsum() }}"}, {"text": "Hi", "label": "1"}, "template"),
        (LABEL, {None: "{broken"}, "malformed"),
        (LABEL | {"annotations": "{{ who }}"}, {"text": "Hi", "label": "1", "who": '["2"]'}, "unknown_label"),
        (LABEL | {"annotations": "{{ who }}"}, {"text": "Hi", "label": "1", "who": "[1"}, "annotations"),
        (LABEL | {"annotations": "{{ who }}", "label": None}, {"text": "Hi", "who": "[null]"}, "no_annotations"),
        (TAGS, {"words": ["a", "b"], "marks": ["O"]}, "tags_do_not_match_tokens"),
        (TAGS | {"text": "x"}, {"words": {"a": 1}, "marks": ["O"]}, "no_list"),
        (TAGS | {"names": ["O"]}, {"words": ["a"], "marks": [1]}, "unknown_tag"),
        (TAGS | {"names": ["O"]}, {"words": ["a"], "marks": ["O"]}, "unknown_tag"),
    ],
)
def test_a_record_that_does_not_fit_says_why(declared: dict[str, Any], record: dict[str, Any], reason: str) -> None:
    with pytest.raises(mapping.Unfit) as error:
        _content(_mapping(**declared), record)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("written", "annotators"),
    [
        ("[1, 0, null, 0]", {"1": "yes", "2": "no", "4": "no"}),
        ('{"ada": "0", "bo": 1, "cy": null}', {"ada": "no", "bo": "yes"}),
        ("[]", {}),
    ],
)
def test_annotations_are_read_by_place_or_by_name(written: str, annotators: dict[str, str]) -> None:
    row = _content(_mapping(**LABEL | {"annotations": "{{ who }}"}), {"text": "Hi", "label": "1", "who": written})
    assert {one["annotator"]: one["label"] for one in row["annotations"]} == annotators
    assert row["label"] == "yes"


@pytest.mark.parametrize(("who", "label"), [("[0, 0, 1]", "no"), ("[0, 1]", "yes"), ("[0]", "no")])
def test_without_a_label_most_annotators_say_it_and_of_a_tie_the_first_value(who: str, label: str) -> None:
    declared = _mapping(**LABEL | {"annotations": "{{ who }}", "label": None})
    row = _content(declared, {"text": "Hi", "who": who})
    assert (row["label"], row["completion"], row["rejected"]) == (label, label, "no" if label == "yes" else "yes")


@pytest.mark.parametrize(
    ("given", "labels", "answer"),
    [
        (["2", "0", "2"], ["anger", "joy"], "anger, joy"),
        ([1], ["fear"], "fear"),
        ("[2, 1]", ["fear", "joy"], "fear, joy"),
        ("0 2", ["anger", "joy"], "anger, joy"),
        ([], [], "none"),
    ],
)
def test_several_labels_are_answered_in_declared_order(given: Any, labels: list[str], answer: str) -> None:
    row = _content(_mapping(**LABELS), {"text": "Hi", "feelings": given})
    assert (row["labels"], row["label"], row["completion"]) == (labels, answer, answer)
    assert row["choices"] == ["anger", "fear", "joy"]
    assert answers.parted(answer, row["choices"]) == labels
    assert mapping.columns(_mapping(**LABELS), "t") == {"text", "feelings"}


@pytest.mark.parametrize("word", ["a, b", "none", " joy"])
def test_a_label_that_could_not_be_told_from_several_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="joined by commas, and `none` means none"):
        _mapping(**LABELS | {"values": {"0": word}})


def test_labels_must_stand_somewhere() -> None:
    with pytest.raises(ValueError, match="label and annotations are both null"):
        _mapping(**LABEL | {"label": None})


@pytest.mark.parametrize(
    ("names", "words", "marks"),
    [
        (None, ["Ada", "Byron", "in", "Rome"], ["B-PER", "I-PER", "O", "B-LOC"]),
        (["O", "PER", "LOC"], ["Ada", "Byron", "in", "Rome"], [1, 1, 0, 2]),
        (["O", "PER", "LOC"], '["Ada", "Byron", "in", "Rome"]', "1 1 0 2"),
        (None, "Ada Byron in Rome", "B-PER E-PER O S-LOC"),
    ],
)
def test_tagged_words_are_answered_one_entity_a_line(names: list[str] | None, words: Any, marks: Any) -> None:
    row = _content(_mapping(**TAGS | {"names": names, "text": "x"}), {"words": words, "marks": marks})
    assert row["completion"] == "PER: Ada Byron\nLOC: Rome"
    assert row["tokens"] == ["Ada", "Byron", "in", "Rome"]
    assert len(row["tags"]) == 4
    assert row["label"] is None


PREFERRED = {"kind": "text", "completion": "{{ better }}", "rejected": "{{ worse }}", "wanted": None}


@pytest.mark.parametrize(("worse", "rejected"), [("no idea", "no idea"), ("", None)])
def test_a_written_answer_may_have_one_that_was_not_preferred(worse: str, rejected: str | None) -> None:
    declared = _mapping(**COMMON | PREFERRED)
    row = _content(declared, {"text": "q", "better": "K", "worse": worse})
    assert (row["completion"], row["rejected"], row["label"]) == ("K", rejected, None)
    assert mapping.columns(declared, "t") == {"text", "better", "worse"}


def test_nothing_tagged_is_said_so_and_columns_of_words_and_tags_are_asked_for() -> None:
    assert _content(_mapping(**TAGS), {"words": ["a"], "marks": ["O"]})["completion"] == "none"
    assert mapping.columns(_mapping(**TAGS), "t") == {"words", "marks"}


THUMBS = COMMON | {"kind": "text", "completion": "{{ answer }}", "rejected": None}
THUMB = {"thumb": "{{ thumb }}", "values": {"up": True, "True": True, "down": False}}


@given(st.text(), st.one_of(st.sampled_from(["up", "down", " up ", True, False, None]), st.text()))
def test_a_thumb_is_known_or_no_row_and_puts_the_answer_on_one_side(answer: str, thumb: Any) -> None:
    record = {"text": "q", "answer": answer, "thumb": thumb}
    plain = _content(_mapping(**THUMBS | {"wanted": None}), record)
    assert (plain["completion"], plain["rejected"]) == (answer.strip(), None)
    declared = _mapping(**THUMBS | {"wanted": THUMB})
    said = "" if thumb is None else str(thumb).strip()
    if said not in THUMB["values"]:
        with pytest.raises(answers.Unfit) as unfit:
            _content(declared, record)
        assert (unfit.value.reason, unfit.value.detail) == ("unknown_thumb", said[: answers.LONGEST])
        return
    row = _content(declared, record)
    if said == "down":
        assert row == plain | {"completion": None, "rejected": answer.strip()}
    else:
        assert row == plain
    assert mapping.columns(declared, "t") == {"text", "answer", "thumb"}


def test_a_thumbs_template_is_one_of_the_mapping() -> None:
    declared = _mapping(**THUMBS | {"wanted": THUMB | {"thumb": "{{ thumb"}})
    with pytest.raises(DataError, match="not a template") as raised:
        mapping.columns(declared, "t")
    assert raised.value.where == "prepare.tasks.t.wanted.thumb, line 1 of the template"
    with pytest.raises(ValueError, match="set rejected: null"):
        _mapping(**THUMBS | {"wanted": THUMB, "rejected": "{{ worse }}"})
    with pytest.raises(ValueError, match="at least 1 item"):
        _mapping(**THUMBS | {"wanted": THUMB | {"values": {}}})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["O", "", "B-X", "I-X", "E-Y", "S-X", "Y"]))))
def test_every_tagged_word_is_in_one_entity_in_its_order(pairs: list[tuple[str, str]]) -> None:
    found = answers.entities([word for word, _ in pairs], [tag for _, tag in pairs])
    assert "".join(text.replace(" ", "") for _, text in found) == "".join(w for w, tag in pairs if tag not in ("O", ""))


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


def test_strip_may_set_flags_and_hold_alternatives_and_cuts_only_the_front() -> None:
    record = {"text": "q", "options": "a. x b. y\n2) z", "answer": "B. z"}
    row = _content(_mapping(**OPTIONS | {"strip": r"(?i)[a-z]\. |\d\) ", "shuffle": False}), record)
    assert row["messages"][0]["content"] == "q\nA. x b. y\nB. z"
    assert row["label"] == "B"


def test_a_group_needs_exactly_one_pattern_that_is_found() -> None:
    declared = _mapping(**LABEL | {"groups": {"pronoun": {"he": r"\bhe\b", "she": r"\bshe\b"}}})
    for text, groups in {"he": {"pronoun": "he"}, "she": {"pronoun": "she"}, "he, she": None, "they": None}.items():
        assert _content(declared, {"text": text, "label": "1"})["groups"] == groups


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ text.__init__.__globals__ }}",
        "{{ 9**(9**9) }}",
        "{{ 'a' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ 9999999999 * 9999999999 }}",
    ],
)
def test_templates_cannot_leave_their_sandbox_or_build_something_huge(template: str) -> None:
    declared = _mapping(**LABEL | {"prompt": template})
    mapping.columns(declared, "t")
    with pytest.raises(DataError, match="outside its sandbox"):
        _content(declared, {"text": "Hi", "label": "1"})


def test_small_numbers_multiply() -> None:
    declared = _mapping(**LABEL | {"prompt": "{{ 2 * n * 1.5 }}"})
    assert _content(declared, {"text": "", "label": "1", "n": 3})["messages"][0]["content"] == "9.0"


PIECES = st.lists(
    st.sampled_from(["{{ a }}", "{{b}}", "{{- c -}}", "{{ record }}", "{{ d }}", " x ", "\n", "%", "é"]), max_size=6
)


@given(
    PIECES,
    st.dictionaries(st.sampled_from("abc"), st.text(max_size=4) | st.integers() | st.lists(st.none()), min_size=2),
)
def test_a_template_of_columns_and_text_says_what_jinja_says(pieces: list[str], record: dict[str, Any]) -> None:
    template = "".join(pieces)
    try:
        wanted = mapping._sandbox().from_string(template).render({**record, "record": record}).strip()
    except jinja2.UndefinedError as error:
        with pytest.raises(mapping.Unfit, match=str(error)):
            RENDER(template, record)
    else:
        assert RENDER(template, record) == wanted


DEEP = "{{ " + "[" * 2000 + "]" * 2000 + " }}"
BLOCKS = "{% for a in [1] %}" * 25 + "{% endfor %}" * 25


@pytest.mark.parametrize("template", [DEEP, BLOCKS, "{{ " + "9" * 5000 + " }}", "{{ text | random }}"])
def test_what_does_not_compile_is_no_template(template: str) -> None:
    with pytest.raises(jinja2.TemplateSyntaxError):
        RENDER(template, {"text": ""})
    if template != BLOCKS:  # which parses
        with pytest.raises(DataError, match=r"not a template: (nested too deeply|Exceeds|No filter named)"):
            mapping.columns(_mapping(**LABEL | {"prompt": template}), "t")


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


def test_of_many_columns_the_first_and_the_nearest_are_told_on_one_line() -> None:
    record = {f"column\n{number}": "" for number in range(3000)} | {"label": "", "te\nxt": ""}
    with pytest.raises(DataError, match=r"did you mean `te xt`\?.* column 0, .*, column 11 and 2,990 more") as error:
        mapping.check_columns(_mapping(**LABEL), "t", record, "f.csv")
    assert "\n" not in str(error.value)
