"""What is made of a row: another text or prompt, the same answer, and what the answer rests on untouched."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew import augmentation, keys, mapping, rows
from clew.augmentation import synonyms, typos, upsampling
from clew.augmentation.edits import NotMade, answer_words
from clew.errors import DataError
from clew.params_augment import TaskAugmentation
from examples.clean_rows import row

TABLE = {"happy": ["glad", "content"], "big": ["large"], "no": ["nope"], "cough": ["rash"]}
TOOLS = augmentation.Tools(keys.PUBLIC, 0, mapping.renderer(), {"t": TABLE}, set())


def declared(**methods: Any) -> TaskAugmentation:
    return TaskAugmentation.model_validate({**dict.fromkeys(TaskAugmentation.model_fields), **methods})


SYNONYMS = declared(synonyms={"source": "words", "file": "table.tsv", "rate": 1.0, "copies": 1})
TYPOS = declared(typos={"rate": 0.1, "copies": 2})
ALL = declared(
    synonyms={"source": "words", "file": "table.tsv", "rate": 0.5, "copies": 2},
    typos={"rate": 0.1, "copies": 2},
    prompts={"templates": ("{{ text }}\nStressed?", "Say yes or no.\n{{ prompt }}"), "copies": 2},
)


def post(text: str | None, **more: Any) -> dict[str, Any]:
    asked = [{"role": "system", "content": "You read."}, {"role": "user", "content": f"Post: {text}\nStressed?"}]
    return row(text, **{"messages": asked, "rejected": "no", "options": None, "groups": {"a": "b"}} | more)


def made(one: dict[str, Any], task: TaskAugmentation, tools: augmentation.Tools = TOOLS) -> list[dict[str, Any]]:
    return [child.row for child in augmentation.children(one, task, tools) if child.row]


def test_a_child_is_its_parent_with_another_text_in_text_and_prompt() -> None:
    parent = post("I am Happy, and it is BIG.")
    (child,) = made(parent, SYNONYMS)
    assert child["text"] in ("I am Glad, and it is LARGE.", "I am Content, and it is LARGE.")
    assert child["messages"] == [
        {"role": "system", "content": "You read."},
        {"role": "user", "content": f"Post: {child['text']}\nStressed?"},
    ]
    assert child["parent_ids"] == [parent["row_id"]]
    assert child["row_id"] == rows.content_id(child, keys.PUBLIC) != parent["row_id"]
    same = ("source", "origin", "task", "completion", "label", "choices", "rejected", "groups", "weight")
    assert {name: child.get(name) for name in same} == {name: parent.get(name) for name in same}


def test_words_of_the_answer_are_neither_replaced_nor_put_in() -> None:
    """`no` is a choice, and a summary says `cough`: the text must go on saying so."""
    assert made(post("There is no cure."), SYNONYMS) == []
    assert made(post("A big cough.", label=None, choices=None, completion="Cough, large."), SYNONYMS) == []


def test_options_stay_apart() -> None:
    """`glad` for `happy` would make two options one, of which a letter calls one right."""
    options = ["A. glad", "B. happy", "C. worried"]
    text = "A big word for happy, or worried?\n" + "\n".join(options)
    asked = [{"role": "user", "content": text}]
    shown = [option.removeprefix("ABC"[place] + ". ") for place, option in enumerate(options)]
    parent = post(text, messages=asked, completion="B", label="B", choices=["A", "B", "C"], options=shown, rejected="A")
    (child,) = made(parent, SYNONYMS)
    assert child["text"] == text.replace("big", "large")
    for child in made(parent, ALL):
        assert child["text"].split("\n")[1:] == options


def test_why_nothing_is_made_is_told() -> None:
    def reasons(one: dict[str, Any], task: TaskAugmentation, held: set[str] = TOOLS.held_back) -> set[str]:
        found = augmentation.children(one, task, TOOLS._replace(held_back=held))
        return {child.detail for child in found if child.row is None}

    assert reasons(post("Nothing here."), SYNONYMS) == {"no_word_to_replace"}
    assert reasons(post(None), SYNONYMS) == {"no_word_to_replace"}
    assert reasons(post("a 1 b"), TYPOS) == {"no_letter_to_hit"}
    assert reasons(post("happy", messages=[{"role": "user", "content": "cut: happ"}]), SYNONYMS) == {
        "text_not_once_in_prompt"
    }
    assert reasons(post("big", messages=[{"role": "user", "content": "bigbig"}]), SYNONYMS) == {
        "text_not_once_in_prompt"
    }
    assert reasons(post("big", messages=[{"role": "system", "content": "big"}]), SYNONYMS) == {"no_prompt"}
    assert reasons(post("So big!"), SYNONYMS, {"so large"}) == {"a_text_of_valid_or_test"}
    as_it_is = declared(prompts={"templates": ("Post: {{ text }}\nStressed?",), "copies": 1})
    twice = declared(prompts={"templates": ("{{ text }}!", "{{ text }}!"), "copies": 2})
    assert {child["messages"][1]["content"] for child in made(post("So."), twice)} == {"So.!"}
    assert reasons(post("So."), twice) == {"the_same_again"}
    parent = post("So.")
    parent["row_id"] = rows.content_id(parent, keys.PUBLIC)
    assert reasons(parent, as_it_is) == {"the_same_again"}


def test_every_template_is_asked_by_and_the_text_stays() -> None:
    children = made(post("I am."), declared(prompts=ALL.prompts))
    assert {child["messages"][1]["content"] for child in children} == {
        "I am.\nStressed?",
        "Say yes or no.\nPost: I am.\nStressed?",
    }
    assert {child["text"] for child in children} == {"I am."}


def test_a_template_that_cannot_be_written_is_told_with_its_place() -> None:
    with pytest.raises(DataError, match=r"augment.tasks.t.prompts.templates.0: .* row id of So"):
        made(post("So"), declared(prompts={"templates": ("{{ txt }}",), "copies": 1}))


@settings(deadline=None)
@given(st.text(), st.sampled_from(["yes", "no", "worried"]))
def test_children_keep_the_answer_whatever_the_text(text: str, answer: str) -> None:
    parent = post(f"{text} happy and worried big", completion=answer)
    children = made(parent, ALL)
    assert len({child["row_id"] for child in children} | {parent["row_id"]}) == len(children) + 1
    for child in children:
        assert child["completion"] == answer
        assert child["text"].strip() in child["messages"][1]["content"]
        assert "worried" in child["text"] or answer != "worried"


@settings(deadline=None)
@given(st.text(), st.floats(0.001, 1), st.integers())
def test_typos_hit_as_many_letters_as_declared_and_no_short_word(text: str, rate: float, seed: int) -> None:
    whole = f"{text} was not feeling well 2024"
    changed = typos.changed(post(whole), rate, {"well"}, random.Random(seed)).columns["text"]
    assert abs(len(changed) - len(whole)) <= max(rate * len(whole) + 1, 1)
    assert changed.endswith(" well 2024")
    words = changed.removesuffix(" well 2024").rpartition(" ")
    assert words[0].endswith(" was not")
    assert words[2].startswith("f")
    few = typos.changed(post("was not feeling"), rate, set(), random.Random(seed))
    assert few.detail == ("1 letter" if (n := max(int(rate * 5 + 0.5), 1)) == 1 else f"{n} letters")


def test_a_letter_that_is_hit_is_another() -> None:
    """Two that are the same are not put the wrong way round."""
    for seed in range(60):
        assert typos.changed(post("aggg"), 0.1, set(), random.Random(seed)).columns["text"] != "aggg"


def test_neighbours_are_those_of_the_keyboard() -> None:
    assert set(typos.NEIGHBOURS["g"]) == set("ftyhvb")
    assert set(typos.NEIGHBOURS["q"]) == set("wa")
    assert set(typos.NEIGHBOURS["m"]) == set("njk")
    assert all(one in typos.NEIGHBOURS[other] for one, near in typos.NEIGHBOURS.items() for other in near)


def test_children_follow_the_seed_and_no_other_row() -> None:
    parent = post("I was feeling so very happy about everything yesterday")
    first = made(parent, TYPOS)
    assert made(parent, TYPOS) == first
    assert len({child["text"] for child in first}) == 2
    assert made(parent, TYPOS, TOOLS._replace(seed=1)) != first
    with_more = made(parent, ALL)
    assert all(child in with_more for child in first), "another method changes nothing of this one's"


def test_a_table_of_synonyms_is_read_and_its_faults_are_told(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("Happy\tglad\t happy \n\nbig\tvery large\nhappy\tcontent\n")
    assert synonyms.read(path) == {"happy": ["glad", "content"], "big": ["very large"]}
    for line in ("happy", "happy\t", "two words\tone", "happy, glad"):
        path.write_text(f"big\tlarge\n{line}\n")
        with pytest.raises(DataError, match=r"table.tsv:2: no word with its synonyms"):
            synonyms.read(path)
    with pytest.raises(DataError, match="no table of synonyms"):
        synonyms.read(tmp_path / "none.tsv")
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match="no table of synonyms"):
        synonyms.read(path)


def test_copies_are_the_same_row_under_ids_of_their_own() -> None:
    parent = post("So.")
    one, two = (augmentation.copy(parent, number, keys.PUBLIC) for number in (1, 2))
    assert len({parent["row_id"], one["row_id"], two["row_id"]}) == 3
    assert one == parent | {"row_id": one["row_id"], "parent_ids": [parent["row_id"]]}
    assert augmentation.copy(parent, 1, b"another key")["row_id"] != one["row_id"]


def groups(*of: tuple[str, str, str | None, int]) -> pa.Table:
    """(source, task, label, rows) as the columns that up-sampling sees."""
    some = [
        {"row_id": f"{source} {task} {label} {n}", "source": source, "task": task, "label": label}
        for source, task, label, number in of
        for n in range(number)
    ]
    schema = pa.schema([(name, pa.string()) for name in ("row_id", "source", "task", "label")])
    return pa.Table.from_pylist(some, schema=schema)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.sampled_from([0.25, 0.5, 1.0]), st.integers(1, 50))
def test_thin_classes_are_brought_up_to_the_share_of_the_largest(few: int, many: int, to: float, most: int) -> None:
    some = groups(("s", "t", "no", few), ("s", "t", "yes", many), ("s", "other", "yes", 90))
    upsample = {"by": "label", "to": to, "most": most}
    times = upsampling.times(some, groups(), {"t": declared(upsample=upsample)}, 0)
    low, high = sorted([few, many])
    of_low = times[:few] if few <= many else times[few : few + many]
    assert low + of_low.sum() == min(max(int(to * high), low), low * (1 + most))
    assert of_low.max() - of_low.min() <= 1
    assert times.sum() == of_low.sum()


def test_rows_that_were_made_already_count_and_sources_are_evened_out_by_task() -> None:
    some = groups(("a", "t", "no", 4), ("a", "t", "yes", 10), ("b", "u", None, 2))
    added = groups(("a", "t", "no", 4), ("a", "t", "yes", 1))
    by_label = {"t": declared(upsample={"by": "label", "to": 1.0, "most": 9})}
    assert upsampling.times(some, added, by_label, 0)[:4].sum() == 11 - 8
    by_source = {"u": declared(upsample={"by": "source", "to": 0.5, "most": 9})}
    assert sorted(upsampling.times(some, added, by_source, 0).tolist()) == [0] * 14 + [3, 4]
    assert upsampling.times(some, added, by_source, 0)[14:].sum() == 19 // 2 - 2
    assert upsampling.times(groups(), groups(), by_label | by_source, 0).tolist() == []


@pytest.mark.parametrize("to", [0.5, 1.0])
def test_tasks_of_one_source_make_what_it_lacks_together(to: float) -> None:
    some = groups(("small", "t", None, 6), ("small", "u", None, 3), ("large", "v", None, 101))
    by_source = declared(upsample={"by": "source", "to": to, "most": 50})
    times = upsampling.times(some, groups(), {"t": by_source, "u": by_source, "v": by_source}, 0)
    assert 9 + times.sum() == int(to * 101)
    assert abs(times[:6].sum() - 2 * times[6:9].sum()) <= 2
    assert times[9:].sum() == 0


@pytest.mark.parametrize("order", ["tu", "ut"])
def test_copies_by_label_count_where_a_source_is_evened_out(order: str) -> None:
    some = groups(
        ("small", "t", None, 26), ("small", "u", "yes", 20), ("small", "u", "no", 6), ("large", "t", None, 214)
    )
    upsample = {"t": "source", "u": "label"}
    tasks = {task: declared(upsample={"by": upsample[task], "to": 1.0, "most": 50}) for task in order}
    times = upsampling.times(some, groups(), tasks, 0)
    assert times[46:52].sum() == 20 - 6
    assert 52 + times[:52].sum() == 214
    assert times[52:].sum() == 0


def test_the_words_of_an_answer() -> None:
    row = {"completion": "Don’t know", "choices": ["A"], "options": ["He does"], "rejected": None}
    assert answer_words(row) == {"don’t", "know", "a", "he", "does"}
    assert answer_words(dict.fromkeys(row)) == set()
    with pytest.raises(NotMade):
        typos.changed(post("feeling"), 1.0, {"feeling"}, random.Random(0))
