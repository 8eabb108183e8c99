"""clean at the door: whatever a record holds, the stage comes through in time, and tells of it only what it may."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from clew import ledger, params, paths, rows
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
    prepare.run(params.Prepare.model_validate_json(json.dumps(declared)))
    clean.run(params.Clean.model_validate_json(json.dumps(rules)), 13)


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
        ("changed", "hygiene"),
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
    assert "By <EMAIL_ADDRESS>. Write to <EMAIL_ADDRESS>." in prompts[3]
    assert "or mail <EMAIL_ADDRESS>\nBy nobody. Write to help@example.org." in prompts[4]
    assert sum("<EMAIL_ADDRESS>" in prompt for prompt in prompts) == 2
