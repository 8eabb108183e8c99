"""prepare at the door: whatever the files hold, every record is a row or a dropped one with its reason, or the stage
says what is wrong; and the same bytes come out however many processes make them.
"""

from __future__ import annotations

import csv
import io as text_io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clew import io, ledger, params, paths, records, rows
from clew.errors import DataError
from clew.stages import clean, prepare

LABELS = {"1": "yes", "0": "no"}
STRESS: dict[str, Any] = {
    "kind": "label",
    "source": "posts",
    "files": "**/*",
    "format": "jsonl",
    "missing": {},
    "system": "Read: {{ label }}",
    "prompt": "Post: {{ text | upper }}",
    "text": "{{ text }}",
    "label": "{{ label }}",
    "annotations": None,
    "values": LABELS,
    "rejected": True,
    "groups": {"who": {"he": r"\bhe\b", "she": r"\bshe\b"}},
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _declared(max_unfit: float = 1.0, **changes: Any) -> params.Prepare:
    value = {"row_key": "public", "max_unfit": max_unfit, "tasks": {"stress": STRESS | changes}}
    return params.Prepare.model_validate_json(json.dumps(value))


def _put(content: bytes, name: str = "posts") -> None:
    path = paths.RAW / "posts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _lines(found: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in found).encode()


def _figures() -> dict[str, Any]:
    return io.read_json(paths.PREPARE_METRICS)["stress"]


def _check_that_nothing_is_lost(count: int) -> None:
    """Each of the file's records stands in the ledger once, and those that were kept are the rows."""
    entries = ledger.read("prepare")
    assert [entry["record"] for entry in entries] == list(range(count))
    kept = [entry["row_id"] for entry in entries if entry["decision"] != "dropped"]
    assert kept == [row["row_id"] for row in rows.read(paths.ROWS)]
    assert all(entry["detail"] for entry in entries if entry["rule"] == "malformed")
    figures = _figures()
    assert (figures["records"], figures["rows"]) == (count, len(kept))
    assert sum(figures["unfit"].values()) == count - len(kept)
    assert sum(figures["labels"].values()) + figures["unlabelled"] == len(kept)


FINE = st.fixed_dictionaries({"text": st.text(max_size=20), "label": st.sampled_from(["1", "0", "2", None, 1, [1]])})
ANY_LINE = st.one_of(
    FINE.map(lambda record: json.dumps(record).encode()),
    st.binary(max_size=25),
    st.text(max_size=20).map(lambda text: json.dumps({"text": text}).encode("utf-16")),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANY_LINE, min_size=1, max_size=10))
def test_any_lines_become_rows_or_entries(lines: list[bytes]) -> None:
    content = b"\n".join([b'{"text": "he", "label": "1"}', *lines])
    _put(content)
    prepare.run(_declared())
    _check_that_nothing_is_lost(sum(bool(line.strip()) for line in content.splitlines()))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=25) | st.sampled_from([b'"', b"a,1", b'"a",0', b"a,1,b"]), max_size=10))
def test_any_bytes_of_csv_become_rows_and_entries_or_one_plain_error(lines: list[bytes]) -> None:
    _put(b"text,label\na he,1\n" + b"\n".join(lines))
    try:
        prepare.run(_declared(format="csv"))
    except DataError as error:
        assert re.fullmatch(".*a quote that opens in line .*", str(error))  # noqa: PT017 - either outcome is right
    else:
        _check_that_nothing_is_lost(_figures()["records"])


def test_an_empty_file_among_others_is_counted() -> None:
    _put(b"", "a.jsonl")
    _put(b"\n \n", "b.jsonl")
    _put(_lines([{"text": "hi", "label": "1"}]), "c.jsonl")
    prepare.run(_declared())
    assert (_figures()["files"], _figures()["empty_files"], _figures()["rows"]) == (3, 2, 1)


def test_a_label_that_no_record_has_is_counted_as_zero_and_one_that_is_not_declared_is_unfit() -> None:
    _put(_lines([{"text": "hi", "label": "1"}, {"text": "ho", "label": "7"}]))
    prepare.run(_declared())
    assert _figures()["labels"] == {"yes": 1, "no": 0}
    assert _figures()["unfit"] == {"unknown_label": 1}


def test_when_no_record_becomes_a_row_the_stage_says_so_and_leaves_nothing() -> None:
    _put(_lines([{"text": "hi", "label": "7"}] * 2))
    with pytest.raises(DataError, match=r"none of the 2 records became a row \(unknown_label 2\)"):
        prepare.run(_declared())
    assert not paths.ROWS.exists()
    assert not paths.ledger("prepare").exists()
    assert not list(Path("data").rglob("*.part"))


def test_one_row_of_fifty_megabytes_comes_through_both_stages() -> None:
    text = "word, " * (50 << 20 >> 3) + "x" * (12 << 20)
    _put(_lines([{"text": "he is here and this is fine", "label": "0"}, {"text": text, "label": "1"}]))
    prepare.run(_declared())
    assert rows.read(paths.ROWS)[1]["text"] == text
    every_rule = dict.fromkeys(params.Clean.model_fields)
    length = {"action": "drop", "min_words": 2, "max_words": 600}
    changes = {"features": {"kind": "tfidf", "dimensions": 8}, "downweight": 0.5, "length": length}
    clean.run(params.Clean.model_validate_json(json.dumps(every_rule | changes)), _declared(), 13)
    assert [entry["rule"] for entry in ledger.read("clean")] == [None, "length"]


def test_every_core_together_makes_the_same_bytes_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(3)
    made = [{"text": "she " * draw.randrange(9) + str(n), "label": draw.choice("0112")} for n in range(3000)]
    _put(_lines(made))
    monkeypatch.setattr(records, "CHUNK", 20_000)
    digests = []
    for large, cores in ((1 << 40, 1), (0, 2), (0, 3)):
        monkeypatch.setattr(prepare, "LARGE", large)
        monkeypatch.setattr(prepare.process, "cores", lambda cores=cores: cores)
        prepare.run(_declared())
        digests.append([io.sha256(path) for path in (paths.ROWS, paths.ledger("prepare"), paths.PREPARE_METRICS)])
    assert digests[0] == digests[1] == digests[2]
    _check_that_nothing_is_lost(3000)


def test_an_error_in_another_process_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _put(_lines([{"text": "hi", "label": "1"}]))
    monkeypatch.setattr(prepare, "LARGE", 0)
    monkeypatch.setattr(prepare.process, "cores", lambda: 2)
    with pytest.raises(DataError, match="a template reaches outside its sandbox"):
        prepare.run(_declared(prompt="{{ text.__class__.__mro__ }}"))


def _tabular(**missing: Any) -> params.Prepare:
    prompt = "Age {{ age }}, seen {{ visit }} in {{ ward }}"
    return _declared(0.0, format="csv", prompt=prompt, text=prompt, system=None, missing=missing)


def _visits(*lines: str) -> None:
    _put("\n".join(["age,visit,ward,label", *lines]).encode())


NUMBER, DATE, CATEGORY = ({"type": kind} for kind in ("number", "date", "category"))


def test_missing_values_are_filled_from_the_source_and_told() -> None:
    _visits("30,2024-03-01,A,1", ",2024-03-01,B,0", "n/a,2024-02-30,,1", "35,2024-04-02T10:00,B,0", "41,,B,1")
    prepare.run(
        _tabular(
            age=NUMBER | {"action": "median"},
            visit=DATE | {"action": "most_frequent"},
            ward=CATEGORY | {"action": {"constant": "none"}},
        )
    )
    texts = [row["text"] for row in rows.read(paths.ROWS)]
    assert texts[1:3] == ["Age 35, seen 2024-03-01 in B", "Age 35, seen 2024-03-01 in none"]
    assert texts[4] == "Age 41, seen 2024-03-01 in B"
    entries = ledger.read("prepare")
    assert [(entry["decision"], entry["rule"]) for entry in entries[:2]] == [("kept", "mapping"), ("changed", "impute")]
    assert entries[2]["detail"] == (
        "age was not a number, now 35 (median of source);"
        " visit was not a date, now the most frequent of source; ward was empty, now none (constant)"
    )
    assert _figures()["missing"] == {"dropped": 0, "imputed": 3}


def test_a_date_is_written_with_its_dashes_and_nothing_but_a_time_after_it() -> None:
    none = ("20240101", "2024-W05-3", "2024-01-01 nonsense", "2024-01-01Tx", "2024-1-5", "2024-02-30")
    some = ("2024-01-01", " 2024-01-01 10:00 ", "2024-01-01T10:00:00.5Z", "2024-01-01 10:00+02:00")
    _visits(*(f"30,{visit},A,1" for visit in (*none, *some)))
    prepare.run(_tabular(visit=DATE | {"action": "drop"}))
    details = [entry["detail"] for entry in ledger.read("prepare")]
    assert details == [*["visit is not a date"] * len(none), *[None] * len(some)]


def test_records_that_lack_a_value_are_dropped_as_declared_and_do_not_count_as_unfit() -> None:
    _visits("30,2024-03-01,A,1", ",2024-03-01,B,0", "-,2024-03-01,B,0")
    prepare.run(_tabular(age=NUMBER | {"action": "drop"}))
    assert [(entry["rule"], entry["detail"]) for entry in ledger.read("prepare")] == [
        ("mapping", None),
        ("missing", "age is empty"),
        ("missing", "age is not a number"),
    ]
    assert (_figures()["missing"], _figures()["unfit"]) == ({"dropped": 2, "imputed": 0}, {})


def test_a_value_that_must_not_be_missing_stops_the_stage_with_its_place() -> None:
    _visits("30,2024-03-01,A,1", "31,,B,0")
    with pytest.raises(DataError, match=r"posts/posts, record 1: `visit` is empty, and `missing` says fail"):
        prepare.run(_tabular(visit=DATE | {"action": "fail"}))
    with pytest.raises(DataError, match="column `vist` is missing; did you mean `visit`"):
        prepare.run(_tabular(vist=DATE | {"action": "drop"}))
    _visits(",2024-03-01,A,1", "x,,B,0")
    with pytest.raises(DataError, match="`age` is empty, and no record has a value to fill it with"):
        prepare.run(_tabular(age=NUMBER | {"action": "mean"}))


def test_numbers_of_json_are_filled_as_numbers() -> None:
    found = [{"age": 30, "label": "1"}, {"age": None, "label": "0"}, {"label": "1"}, {"age": 33, "label": "1"}]
    _put(_lines(found))
    mean = {"age": NUMBER | {"action": "mean"}}
    prepare.run(_declared(prompt="{{ age + 1 }}", text="{{ age }}", system=None, missing=mean))
    assert [row["text"] for row in rows.read(paths.ROWS)] == ["30", "31.5", "31.5", "33"]
    assert rows.read(paths.ROWS)[1]["messages"][0]["content"] == "32.5"


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.lists(st.integers()))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=1, max_size=8), st.sampled_from(["number", "date", "category"]))
def test_any_value_is_there_or_is_filled(values: list[Any], kind: str) -> None:
    _put(_lines([{"age": value, "label": "1", "text": str(n)} for n, value in enumerate(values)]))
    action = {"age": {"type": kind, "action": {"constant": "2024-01-01" if kind == "date" else "5"}}}
    prepare.run(_declared(missing=action, text="{{ text }} {{ age }}", system=None))
    decisions = [entry["decision"] for entry in ledger.read("prepare")]
    assert len(decisions) == len(values)
    assert "dropped" not in decisions


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ({"type": "date", "action": "median"}, "`median` is of numbers"),
        ({"type": "number", "action": {"constant": "old"}}, "the constant 'old' is not a number"),
        ({"type": "category", "action": {"constant": " "}}, "is empty"),
        ({"type": "number", "action": "zero"}, "Input should be"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_told(column: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        _tabular(age=column)


@pytest.mark.parametrize(
    ("encoding", "delimiter", "what"),
    [("klingon", ",", "no encoding of text"), ("hex", ",", "no encoding of text"), ("utf-8", ",,", "no delimiter")],
)
def test_a_format_that_does_not_exist_is_told(encoding: str, delimiter: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        _declared(format={"kind": "csv", "encoding": encoding, "delimiter": delimiter})


def test_a_declared_format_is_read() -> None:
    text = text_io.StringIO()
    csv.writer(text, delimiter=";").writerows([("text", "label"), ("“naïve”; she", "1")])
    _put(text.getvalue().encode("cp1252"))
    prepare.run(_declared(format={"kind": "csv", "encoding": "cp1252", "delimiter": ";"}))
    assert rows.read(paths.ROWS)[0]["text"] == "“naïve”; she"
