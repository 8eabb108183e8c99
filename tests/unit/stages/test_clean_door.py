"""clean at the door: whatever a record holds, the stage comes through in time, and tells of it only what it may."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clew import io, ledger, params, paths, rows
from clew.cleaning import names
from clew.identifiers import Span
from clew.stages import clean, prepare

ROOT = Path(__file__).parents[3]
TASK: dict[str, Any] = {"source": "s", "files": "*.jsonl", "format": "jsonl", "missing": {}, "system": None} | {
    "groups": {}
}
WRITTEN = TASK | {
    "kind": "text",
    "prompt": "{{ question }}",
    "text": "{{ question }}",
    "completion": "{{ answer }}",
    "rejected": None,
    "wanted": None,
}
LABELLED = TASK | {
    "kind": "label",
    "prompt": "{{ text }}\nyes or no?",
    "text": "{{ text }}",
    "label": "{{ label }}",
    "annotations": None,
    "values": {"1": "yes", "0": "no"},
    "rejected": True,
}
DEFAULT = params.load(ROOT / "params.yaml").clean.model_dump(mode="json") | {"label_noise": None}
NO_RULE = dict.fromkeys(params.Clean.model_fields) | {"features": DEFAULT["features"], "downweight": 0.5}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(task: dict[str, Any], records: list[dict[str, Any]], rules: dict[str, Any]) -> None:
    """prepare and clean, of one task `t` over records."""
    path = paths.RAW / "s" / "records.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    declared = {"row_key": "public", "max_unfit": 0.5, "tasks": {"t": task}}
    mapped = params.Prepare.model_validate_json(json.dumps(declared))
    prepare.run(mapped)
    clean.run(params.Clean.model_validate_json(json.dumps(rules)), mapped, 13)


LARGE = 5_000_000


@pytest.mark.slow
def test_texts_and_answers_of_five_megabytes_take_time_in_proportion() -> None:
    draw = random.Random(1)
    areas = [draw.choice(["212", "415", "617", "338", "999"]) for _ in range(LARGE // 28)]  # the last two: nowhere
    numbers = [f"call {area}-555-{draw.randrange(10_000):04d} or w{n}" for n, area in enumerate(areas)]
    records = [{"question": f"What is number {n} of the things we asked for", "answer": "It is."} for n in range(9)]
    records += [
        {"question": "Whom may I call about these things", "answer": " ".join(numbers)},
        {"question": "What is damaged here &nbsp; and there", "answer": "<script> " * (LARGE // 9)},
        {"question": "<script> " * (LARGE // 9), "answer": "This."},
        {"question": "<script> <!--" * 70_000, "answer": "&" + "amp;" * 200_000},
    ]
    started = time.process_time()
    _run(WRITTEN, records, DEFAULT)
    assert time.process_time() - started < 120
    found = {entry["record"]: (entry["decision"], entry["rule"]) for entry in ledger.read("clean")}
    assert [found[record] for record in range(9, 13)] == [
        ("changed", "personal_data"),
        ("dropped", "hygiene"),
        ("dropped", "length"),
        ("dropped", "length"),
    ]
    answers = [row["completion"] for row in rows.read(paths.CLEAN)]
    assert answers[9].count("<PHONE_NUMBER>") == sum(area in ("212", "415", "617") for area in areas)


PERSONAL = DEFAULT["personal_data"]
HELP = LABELLED | {"prompt": "{{ text }}\nDoes the writer need help (line: 212-555-0123)? yes or no?"}


def _posts(count: int) -> list[dict[str, Any]]:
    text = "The quick brown fox jumps over the lazy dog near river bank number"
    return [{"text": f"{text} {number}", "label": str(number % 2)} for number in range(count)]


@pytest.mark.parametrize("text", ["", "help", "Does the writer need help"])
@pytest.mark.parametrize("action", ["fix", "drop"])
def test_one_odd_text_makes_no_personal_data_of_what_the_template_says(text: str, action: str) -> None:
    records = [*_posts(20), {"text": text, "label": "1"}]
    _run(HELP, records, NO_RULE | {"missing": DEFAULT["missing"], "personal_data": PERSONAL | {"action": action}})
    found = rows.read(paths.CLEAN)
    assert len(found) == (21 if text else 20)
    assert all("212-555-0123" in row["messages"][-1]["content"] for row in found)


def test_what_a_few_prompts_hold_beside_the_template_is_masked_and_only_there() -> None:
    records = [record | {"by": "nobody"} for record in _posts(20)]
    records[3]["by"] = "ann@example.org"
    records[4]["text"] += " or mail bo@example.org"
    task = HELP | {"prompt": "{{ text }}\nBy {{ by }}. Write to help@example.org. yes or no?"}
    _run(task, records, NO_RULE | {"personal_data": PERSONAL})
    prompts = [row["messages"][-1]["content"] for row in rows.read(paths.CLEAN)]
    assert "By <EMAIL_ADDRESS>. Write to help@example.org." in prompts[3]
    assert "or mail <EMAIL_ADDRESS>\nBy nobody. Write to help@example.org." in prompts[4]
    assert sum("<EMAIL_ADDRESS>" in prompt for prompt in prompts) == 2


def _told() -> str:
    """All that the ledgers and the metrics of both stages say."""
    figures = [path.read_text() for path in (paths.PREPARE_METRICS, paths.CLEAN_METRICS)]
    return json.dumps([ledger.read("prepare"), ledger.read("clean")]) + "".join(figures)


def test_ledgers_tell_doubted_words_by_their_place() -> None:
    draw = random.Random(0)
    records: list[dict[str, Any]] = []
    for number in range(60):
        name = draw.choice(["Ada", "Bob", "Cyd"])
        words = ["mail", f"{name.lower()}@example.org", "for", name, "in", "Rome"]
        missed = ["O" if number < 3 else "B-MAIL", "O", "B-PER", "O", "B-LOC"]
        records.append({"words": words, "tags": ["O", *missed]})
    tags = {"tokens": "words", "tags": "tags", "names": None, "entity": "{{ type }}: {{ text }}", "nothing": "none"}
    task = TASK | tags | {"kind": "tags", "prompt": "{{ words }}", "text": "{{ words | join(' ') }}"}
    doubts = {"tasks": ["t"], "folds": 3, "threshold": 0.5, "min_accuracy": 1.0, "otherwise": "downweight"}
    _run(task, records, NO_RULE | {"personal_data": PERSONAL, "token_labels": doubts})
    assert "word 2: O, probably B-MAIL" in _told()
    assert "@example.org" not in _told()


def test_ledgers_tell_where_a_filled_value_is_from_and_not_what_another_record_holds() -> None:
    asked = [{"question": f"Whom do I ask about number {number}", "answer": "ann@example.org"} for number in range(5)]
    records = [{"by": "bo@example.org"} | one for one in asked]
    records += [{"question": "And whom about this", "answer": "", "by": ""}]
    task = WRITTEN | {"missing": {"by": {"type": "category", "action": "most_frequent"}}}
    fills = {"impute": "most_frequent", "value": None}, {"impute": "constant", "value": "nobody"}
    for fill, told in zip(fills, ("the most frequent of its task and source", "'nobody' (constant)"), strict=True):
        missing = {"text": "drop", "completion": fill, "label": "drop"}
        _run(task, records, NO_RULE | {"missing": missing, "personal_data": PERSONAL})
        assert ledger.read("prepare")[-1]["detail"] == "by was empty, now the most frequent of source"
        (entry,) = (entry for entry in ledger.read("clean") if entry["rule"] == "missing" or entry["also"])
        assert f"completion was empty, now {told}" in json.dumps([entry["detail"], entry["also"]])
        assert "@example.org" not in _told()


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("{{ record[by] }}", "UndefinedError"),
        ("{{ record.note }}", "UndefinedError: 'dict object' has no attribute 'note'"),
        ("{{ by.encode('x' ~ by) }}", "LookupError"),
    ],
)
def test_a_template_that_fails_names_what_it_says_and_no_value(fails: str, told: str) -> None:
    task = WRITTEN | {"completion": "{% if by %}" + fails + "{% endif %}{{ answer }}"}
    records = [{"question": "What is it that we ask", "by": by, "answer": "It is."} for by in ("", "ann@example.org")]
    _run(task, records, NO_RULE | {"personal_data": PERSONAL})
    assert [entry["detail"] for entry in ledger.read("prepare")] == [None, told]


def test_a_classifier_that_is_no_better_than_chance_is_said_to_be_so_and_nothing_more() -> None:
    draw = random.Random(0)
    records = [
        {"text": f"post {n} " + " ".join(draw.choices("abcdefgh", k=8)), "label": draw.choice("01")} for n in range(80)
    ]
    doubts = {"tasks": ["t"], "folds": 4, "threshold": 0.5, "min_accuracy": 0.9, "otherwise": "downweight"}
    _run(LABELLED, records, NO_RULE | {"label_noise": doubts})
    found = io.read_json(paths.CLEAN_METRICS)["label_noise"]["t"]
    assert (found["accuracy"], found["noise"], found["action"], found["doubted"]) == (None, None, None, 0)
    assert "no better than always the same answer" in found["why"]


MASKED = NO_RULE | {"personal_data": DEFAULT["personal_data"]}


def _asked() -> list[str]:
    return [row["messages"][-1]["content"] for row in rows.read(paths.CLEAN)]


def test_an_address_that_most_rows_of_a_task_hold_is_no_part_of_the_template() -> None:
    authors = ["ann@example.org"] * 6 + ["bob@example.org"] * 4
    records = [{"author": who, "text": f"This is post number {n}", "label": "1"} for n, who in enumerate(authors)]
    _run(LABELLED | {"prompt": "By {{ author }}\n{{ text }}\nyes or no?"}, records, MASKED)
    assert _asked() == [f"By <EMAIL_ADDRESS>\nThis is post number {n}\nyes or no?" for n in range(10)]
    assert {(entry["decision"], entry["detail"]) for entry in ledger.read("clean")} == {
        ("changed", "1 × EMAIL_ADDRESS")
    }


CHOSEN = (
    TASK
    | {"kind": "options", "text": "{{ question }}\n{{ options }}", "options": "{{ options }}"}
    | {
        "prompt": "{{ question }}\n<b>Options</b> (help@example.org, u/{{ number }}aa)\n{{ options }}\nLetter?",
        "strip": "[A-Z]\\. ",
        "answer": "{{ answer }}",
        "shuffle": True,
        "rejected": False,
    }
)
CUT = WRITTEN | {"prompt": '{{ question | truncate(20, false, "") }}\n\nMail <i>help@example.org</i>.'}


@pytest.mark.parametrize("task", [CHOSEN, CUT])
def test_what_a_template_says_is_no_personal_data_and_no_damage_of_a_row(task: dict[str, Any]) -> None:
    """What goes over from the template to the record is: `u/` and then a number."""
    records = [
        {"question": f"Which vitamin is <i>number</i> {n}?", "options": "A. K\nB. C\nC. D", "answer": "B. C"}
        | {"number": "12" if n == 3 else "!"}
        for n in range(4)
    ]
    _run(task, records, MASKED | {"hygiene": DEFAULT["hygiene"]})
    said = [entry["detail"] for entry in ledger.read("clean") if entry["rule"] == "personal_data"]
    assert said == (["1 × USER_NAME"] if task is CHOSEN else [])
    for number, content in enumerate(_asked()):
        assert content.startswith("Which vitamin is")
        assert "number</i>" not in content
        if task is CHOSEN:
            user = "<USER_NAME>" if number == 3 else "u/!aa"
            assert f"?\n<b>Options</b> (help@example.org, {user})\nA." in content
        else:
            assert content.endswith("\n\nMail <i>help@example.org</i>.")


NAMES = ("张伟", "Ann", "Anna Lee", "(Bob")


def _names(texts: Sequence[str], *_: Any) -> list[list[Span]]:
    found = [[(name, at.start()) for name in NAMES for at in re.finditer(re.escape(name), text)] for text in texts]
    return [[Span("PERSON", at, at + len(name), 0.99) for name, at in of_text] for of_text in found]


def test_names_are_masked_where_they_were_found_and_counted_as_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "spans", _names)
    texts = [
        "今天张伟说他头疼",
        "Ask Ann's doctor, or Anns sister, about Ann_2",
        "McAnn, AnnaAnn, Anna Lee-Ann (Bob)",
        "-",
    ]
    rule = {"recogniser": "ner", "entities": ["EMAIL_ADDRESS", "PERSON"]}
    records = [{"question": text, "answer": f"{text}!"} for text in texts]
    _run(
        WRITTEN | {"prompt": "Q: {{ question }}"},
        records,
        MASKED | {"personal_data": MASKED["personal_data"] | rule},
    )
    for row, entry in zip(rows.read(paths.CLEAN), ledger.read("clean"), strict=True):
        masked = row["text"]
        assert not any(name in masked for name in NAMES)
        assert (row["messages"][-1]["content"], row["completion"]) == (f"Q: {masked}", f"{masked}!")
        count = masked.count("<PERSON>")
        assert entry["detail"] == (f"{2 * count} × PERSON" if count else None)
    assert rows.read(paths.CLEAN)[0]["text"] == "今天<PERSON>说他头疼"
    assert rows.read(paths.CLEAN)[1]["text"] == "Ask <PERSON>'s doctor, or <PERSON>s sister, about <PERSON>_2"


@pytest.mark.parametrize("action", ["drop", "review"])
def test_a_row_that_a_person_keeps_is_masked(action: str) -> None:
    records = [{"question": f"I am ann{n}@example.org, who are you?", "answer": "It is so."} for n in range(3)]
    _run(WRITTEN, records, MASKED)
    lines = [{"row_id": row["row_id"], "decision": "keep"} for row in rows.read(paths.CLEAN)[:2]]
    paths.REVIEW_DECISIONS.mkdir(parents=True)
    (paths.REVIEW_DECISIONS / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    _run(WRITTEN, records, MASKED | {"personal_data": MASKED["personal_data"] | {"action": action}})
    assert [row["text"] for row in rows.read(paths.CLEAN)[:2]] == ["I am <EMAIL_ADDRESS>, who are you?"] * 2
    assert len(rows.read(paths.CLEAN)) == (2 if action == "drop" else 3)
