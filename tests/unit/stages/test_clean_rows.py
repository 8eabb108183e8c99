"""clean, of rows that hold more than a text and a word: pairs, options, tagged words, several labels, none at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clew import io, ledger, params, paths, review, rows
from clew.errors import DataError
from clew.stages import clean, prepare

ROOT = Path(__file__).parents[3]
SOURCE: dict[str, Any] = {"source": "s", "files": "*.jsonl", "format": "jsonl", "missing": {}, "system": None}
SOURCE |= {"groups": {}, "text": "{{ text }}"}
PAIRS = SOURCE | {"kind": "text", "prompt": "Q: {{ text }}", "completion": "{{ answer }}", "rejected": "{{ bad }}"}
PAIRS |= {"wanted": None}
LABEL = SOURCE | {"kind": "label", "prompt": "{{ text }}", "label": "{{ label }}", "annotations": None}
LABEL |= {"values": {"1": "yes", "0": "no"}, "rejected": True}
LABELS = SOURCE | {"kind": "labels", "prompt": "{{ text }}", "labels": "labels"}
LABELS |= {"values": {"0": "anger", "1": "joy", "2": "fear"}}
TAGS = SOURCE | {"kind": "tags", "tokens": "words", "tags": "tags", "names": None, "entity": "{{ type }}: {{ text }}"}
TAGS |= {"nothing": "none", "prompt": "{{ words | join(' ') }}", "text": "{{ words | join(' ') }}"}
DEFAULT = params.load(ROOT / "params.yaml").clean.model_dump(mode="json")
NO_RULE = dict.fromkeys(params.Clean.model_fields) | {"features": DEFAULT["features"], "downweight": 0.5}
ASK = {"length": {"action": "review", "min_words": 50, "max_words": 60}}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(task: dict[str, Any], records: list[dict[str, Any]], **rules: Any) -> list[dict[str, Any]]:
    """prepare and clean, of one task `t` over records; the rows that are left."""
    path = paths.RAW / "s" / "records.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    declared = {"row_key": "public", "max_unfit": 0.5, "tasks": {"t": task}}
    Path("prepare.json").write_text(json.dumps(declared))
    prepare.run(_mapped())
    return _clean(**rules)


def _mapped() -> params.Prepare:
    return params.Prepare.model_validate_json(Path("prepare.json").read_text())


def _clean(**rules: Any) -> list[dict[str, Any]]:
    clean.run(params.Clean.model_validate_json(json.dumps(NO_RULE | rules)), _mapped(), 13)
    return rows.read(paths.CLEAN)


def _decided(place: int, **decision: Any) -> None:
    """A line of the export, as a person decided, comes in."""
    line = [json.loads(line) for line in review.lines(review.waiting())][place]
    name = f"{len(list(paths.REVIEW_DECISIONS.glob('*.jsonl')))}.jsonl"
    Path(name).write_text(json.dumps(line | decision) + "\n")
    review.admit(Path(name), "ada", "")


def test_markup_that_goes_leaves_no_empty_line_at_the_ends_and_no_empty_answer() -> None:
    record = {"text": "<p>What is it?</p>", "answer": "<p>It is <b>so</b>.</p>", "bad": "<br>"}
    (row,) = _run(PAIRS, [record], hygiene=DEFAULT["hygiene"])
    assert (row["text"], row["completion"], row["rejected"]) == ("What is it?", "It is so.", None)
    assert row["messages"][-1]["content"] == "Q: What is it?"
    found = _run(PAIRS, [record | {"text": f"<p>{n}</p>"} for n in range(3)], hygiene=DEFAULT["hygiene"])
    assert [row["messages"][-1]["content"] for row in found] == ["Q: 0", "Q: 1", "Q: 2"]


@pytest.mark.parametrize(
    ("words", "mended"),
    [
        (["<b>Ada</b>", "met", "AT&amp;T"], ["Ada", "met", "AT&T"]),
        (["Ada", "\u200b", "met"], None),
        (["<b", "class='x'>", "Ada"], None),
        (["a<br>b", "Ada"], None),
    ],
)
def test_tagged_words_that_a_mend_would_part_from_their_text_wait_as_they_are(
    words: list[str], mended: list[str] | None
) -> None:
    record = {"words": words, "tags": ["B-PER", *["O"] * (len(words) - 1)]}
    (row,) = _run(TAGS, [record], hygiene=DEFAULT["hygiene"])
    assert row["tokens"] == (mended or words)
    assert row["text"] == " ".join(mended or words)
    assert [one["rule"] for one in review.waiting()] == ([] if mended else ["hygiene"])


OPTIONS = SOURCE | {"kind": "options", "options": "{{ options }}", "strip": r"[A-Z]\. ", "answer": "{{ answer }}"}
OPTIONS |= {"prompt": "{{ text }}\nA. no\n{{ options | replace('. ', ') ') }}\nSay A, as in:\nA. Iron"}
OPTIONS |= {"shuffle": False, "rejected": False}
ASKED = "In the long and winding ward number one what is it that the doctor gives to the patient who sleeps so badly"
ONCE = [
    {"text": ASKED, "options": "A. K\nB. C\nC. D", "answer": "B. C"},
    {"text": ASKED, "options": "A. C&#8203;\nB. D\nC. K", "answer": "A. C&#8203;"},
    {"text": f"{ASKED} today", "options": "A. D\nB. K\nC. C", "answer": "C. C"},
]
OTHER = {"text": f"{ASKED} again", "options": "A. Zinc\nB. Lead\nC. Iron", "answer": "C. Iron"}


def test_a_question_is_the_same_where_its_options_are_however_the_prompt_shows_them() -> None:
    found = _run(OPTIONS, [*ONCE, OTHER], **{name: DEFAULT[name] for name in SAME})
    assert [row["options"] for row in found] == [["K", "C", "D"], ["Zinc", "Lead", "Iron"]]
    told = [(entry["decision"], entry["rule"]) for entry in ledger.read("clean")]
    assert told == [("kept", None), ("dropped", "duplicates"), ("dropped", "near_duplicates"), ("kept", None)]
    _run(OPTIONS, [ONCE[0], ONCE[1] | {"answer": "B. D"}], hygiene=DEFAULT["hygiene"])
    mended = rows.read(paths.CLEAN)[1]
    assert mended["options"] == ["C", "D", "K"]
    assert "A) C\n" in mended["messages"][-1]["content"]
    with pytest.raises(DataError, match="no row is left of 2: contradictions 2"):
        _clean(**{name: DEFAULT[name] for name in SAME})


SAME = ("hygiene", "contradictions", "duplicates", "near_duplicates")
NOISE = {"tasks": ["t"], "folds": 3, "threshold": 0.5, "min_accuracy": 0.9, "otherwise": "downweight"}
PEOPLE = {"tasks": ["t"], "folds": 3, "threshold": 0.4, "otherwise": "review"}


@pytest.mark.parametrize("rule", [{"label_noise": NOISE}, {"annotators": PEOPLE}])
def test_rules_about_labels_refuse_rows_without_one(rule: dict[str, Any]) -> None:
    records = [{"text": f"post {n}", "label": str(n % 2), "by": [n % 2] * 2} for n in range(12)]
    records[4]["label"] = ""
    with pytest.raises(DataError, match=r"clean\.\w+\.tasks: t: 1 rows of the task have no label.*missing\.label"):
        _run(LABEL | {"annotations": "{{ by }}"}, records, **rule)


def test_an_empty_cell_of_labels_is_no_label_and_an_empty_list_is_none() -> None:
    given = [["0", "1"], [], None, "", "  ", "2 0"]
    records = [{"text": f"post {n}", "labels": labels} for n, labels in enumerate(given)]
    found = _run(LABELS, records, missing=DEFAULT["missing"])
    assert [(row["label"], row["labels"]) for row in found] == [
        ("anger, joy", ["anger", "joy"]),
        ("none", []),
        ("anger, fear", ["anger", "fear"]),
    ]
    assert io.read_json(paths.PREPARE_METRICS)["t"]["unlabelled"] == 3
    with pytest.raises(DataError, match=r"label is empty, and clean\.missing says fail"):
        _clean(missing=DEFAULT["missing"] | {"label": "fail"})
    filled = _clean(missing=DEFAULT["missing"] | {"label": {"impute": "constant", "value": "fear, joy"}})
    assert [(row["completion"], row["labels"]) for row in filled[2:5]] == [("joy, fear", ["joy", "fear"])] * 3
    with pytest.raises(DataError, match="`hate` is none of the choices"):
        _clean(missing=DEFAULT["missing"] | {"label": {"impute": "constant", "value": "hate"}})


@pytest.mark.parametrize(
    ("written", "label"), [("joy,anger", "anger, joy"), ("none", "none"), ("joy", "joy"), ("joy, hate", None)]
)
def test_rows_of_several_labels_are_relabelled(written: str, label: str | None) -> None:
    _run(LABELS, [{"text": "post", "labels": ["2"]}], **ASK)
    if label is None:
        with pytest.raises(DataError, match=r"`joy, hate` is none of the row's choices.*parted by commas"):
            _decided(0, decision="label", label=written)
        return
    _decided(0, decision="label", label=written)
    (row,) = _clean(**ASK)
    assert (row["label"], row["completion"]) == (label, label)
    assert row["labels"] == [part for part in label.split(", ") if part != "none"]
    assert review.waiting() == []


TWICE = [{"text": f"post {n}", "label": "1"} for n in (1, 2, 1)]
COPIES = ASK | {"duplicates": {"action": "review"}}


@pytest.mark.parametrize(
    ("of_copy", "of_first", "left"), [("drop", "keep", [0, 1]), ("keep", "drop", [1, 2]), ("keep", "keep", [0, 1, 2])]
)
def test_what_is_said_of_a_copy_stands_when_the_first_is_decided(of_copy: str, of_first: str, left: list[int]) -> None:
    _run(LABEL, TWICE, **COPIES)
    assert [row["copy"] for row in review.waiting()] == [1, None, 2]
    _decided(2, decision=of_copy)
    _clean(**COPIES)
    _decided(0, decision=of_first)
    assert [row["origin"]["record"] for row in _clean(**COPIES)] == left
    assert [row["origin"]["record"] for row in review.waiting()] == [1]
    _decided(0, decision="keep")
    path = paths.REVIEW_DECISIONS / "9.jsonl"
    row_id = rows.read(paths.ROWS)[0]["row_id"]
    path.write_text(json.dumps({"row_id": row_id, "decision": "label", "label": "no"}) + "\n")
    assert [row["label"] for row in _clean(**COPIES)] == ["yes" if record == 1 else "no" for record in left]
    assert review.waiting() == []


def test_what_is_said_of_all_leaves_a_copy_that_was_decided_by_itself() -> None:
    _run(LABEL, TWICE, **COPIES)
    _decided(2, decision="keep")
    _decided(0, decision="drop", copy=None)
    assert [row["origin"]["record"] for row in _clean(**COPIES)] == [1, 2]


def test_a_decision_about_a_copy_and_another_one_about_all_are_refused() -> None:
    _run(LABEL, TWICE, **COPIES)
    line = [json.loads(line) for line in review.lines(review.waiting())][2]
    of_all = {name: value for name, value in line.items() if name != "copy"}
    of_first = line | {"copy": 1}
    for first, second in [
        (line | {"decision": "keep"}, of_all | {"decision": "drop"}),
        (line | {"decision": "label", "label": "no"}, of_first | {"decision": "keep"}),
    ]:
        Path("e.jsonl").write_text(json.dumps(first) + "\n" + json.dumps(second) + "\n")
        with pytest.raises(DataError, match=r"e\.jsonl:2: .* line 1 decides otherwise"):
            review.admit(Path("e.jsonl"), "", "")
    both = line | {"decision": "label", "label": "no"}, of_first | {"decision": "drop"}
    Path("e.jsonl").write_text("".join(json.dumps(one) + "\n" for one in both))
    review.admit(Path("e.jsonl"), "", "")
    assert [(row["origin"]["record"], row["label"]) for row in _clean(**COPIES)] == [(1, "yes"), (2, "no")]


def test_half_a_character_in_a_decision_is_told_with_its_line() -> None:
    _run(LABEL, TWICE[:1], **ASK)
    line = json.dumps({"row_id": review.waiting()[0]["row_id"], "decision": "keep", "by": "\ud800"}) + "\n"
    Path("e.jsonl").write_text(line)
    with pytest.raises(DataError, match=r"e\.jsonl:1: an escape such as .* is half a character"):
        review.admit(Path("e.jsonl"), "ada", "")
    paths.REVIEW_DECISIONS.mkdir(parents=True)
    Path("e.jsonl").rename(paths.REVIEW_DECISIONS / "e.jsonl")
    with pytest.raises(DataError, match=r"decisions/e\.jsonl:1: an escape"):
        _clean(**ASK)
