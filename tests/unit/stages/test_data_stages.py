"""prepare, clean and split on files: nothing is lost, nothing is silent, the same bytes each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clew import io, keys, ledger, params, paths, rows
from clew.errors import DataError
from clew.stages import clean, prepare, split

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _params(**changes: Any) -> params.Params:
    """The default experiment with `a.b=value` changes, over one CSV source of posts."""
    loaded = params.load(ROOT / "params.yaml").model_dump()
    loaded["prepare"] |= {"tasks": {"stress": loaded["prepare"]["tasks"]["stress"]}, "max_unfit": 0.2}
    loaded["clean"]["label_noise"]["tasks"] = []
    loaded["split"]["limits"] = {}
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = loaded
        for part in parents:
            node = node[part]
        node[last] = value
    return params.Params.model_validate_json(json.dumps(loaded))


def _posts(number: int, *extra: str) -> None:
    lines = [f'"post {n} about how I was and what she said to us all day",{n % 2}' for n in range(number)]
    (paths.RAW / "dreaddit").mkdir(parents=True, exist_ok=True)
    (paths.RAW / "dreaddit/posts.csv").write_text("\n".join(["text,label", *lines, *extra]) + "\n")


def _accounts(stage: str, rows_in: int, rows_out: int) -> None:
    decisions = [entry["decision"] for entry in ledger.read(stage)]
    stay = decisions.count("kept") + decisions.count("changed")
    assert (rows_in, rows_out) == (stay + decisions.count("dropped"), stay + decisions.count("added"))


def test_every_record_is_accounted_for_through_the_three_stages() -> None:
    _posts(
        60, "too short,1", '"post 3 about how I was and what she said to us all day",1', "what is this label,7", ",0"
    )
    p = _params()
    prepare.run(p.prepare)
    clean.run(p.clean, p.prepare, 13)
    split.run(p.split, 13)
    made, cleaned = rows.read(paths.ROWS), rows.read(paths.CLEAN)
    sides = {side: rows.read(paths.SPLITS / f"{side}.parquet") for side in ("train", "valid", "test")}
    _accounts("prepare", 64, len(made))
    _accounts("clean", len(made), len(cleaned))
    _accounts("split", len(cleaned), sum(map(len, sides.values())))
    reasons = {
        entry["rule"]
        for stage in ("prepare", "clean")
        for entry in ledger.read(stage)
        if entry["decision"] == "dropped"
    }
    assert reasons == {"unknown_label", "length", "missing", "duplicates"}
    assert io.read_json(paths.PREPARE_METRICS)["stress"]["unfit"] == {"unknown_label": 1}
    assert made[0]["origin"] == {"file": "posts.csv", "record": 0}
    assert made[0]["groups"] == {"pronoun": "she"}


def test_the_same_records_make_the_same_bytes_and_the_key_changes_the_ids() -> None:
    _posts(40)
    p = _params()

    def digest() -> str:
        prepare.run(p.prepare)
        clean.run(p.clean, p.prepare, 13)
        split.run(p.split, 13)
        return io.tree_sha256(Path("data")) + io.tree_sha256(Path("metrics"))

    first = digest()
    public = rows.read(paths.ROWS)[0]["row_id"]
    assert digest() == first
    prepare.run(_params(prepare__row_key=keys.make().name).prepare)
    assert rows.read(paths.ROWS)[0]["row_id"] != public


@pytest.fixture(autouse=True)
def _keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_KEYS", str(tmp_path / "keys"))


def test_a_row_keeps_its_side_when_rows_are_added() -> None:
    p = _params()
    sides: list[dict[str, str]] = []
    for number in (40, 80):
        _posts(number)
        prepare.run(p.prepare)
        clean.run(p.clean, p.prepare, 13)
        split.run(p.split, 13)
        sides.append({entry["row_id"]: entry["detail"] for entry in ledger.read("split")})
    assert all(sides[1][row] == side for row, side in sides[0].items())
    assert len(sides[0]) == 40


def test_too_many_records_that_do_not_fit_stop_the_stage_with_the_first() -> None:
    _posts(2, "what,7", "is,8")
    with pytest.raises(DataError, match=r"2 of 4 records do not fit \(unknown_label 2\).*posts.csv record 2: '7'"):
        prepare.run(_params().prepare)


def test_missing_files_columns_and_encodings_are_told() -> None:
    with pytest.raises(DataError, match="no file matches"):
        prepare.run(_params().prepare)
    _posts(1)
    with pytest.raises(DataError, match="column `post` is missing"):
        prepare.run(_params(prepare__tasks__stress__text="{{ post }}").prepare)
    (paths.RAW / "dreaddit/posts.csv").write_bytes(b"text,label\n\xe9,1\n")
    with pytest.raises(DataError, match=r"posts\.csv record 0: 'byte 0xe9 is not utf-8'"):
        prepare.run(_params().prepare)
    (paths.RAW / "dreaddit/posts.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="no records"):
        prepare.run(_params().prepare)


def test_an_empty_split_and_nothing_left_are_told() -> None:
    _posts(30)
    p = _params(split__limits={"stress": {"train": 5, "valid": 0, "test": 5}})
    prepare.run(p.prepare)
    clean.run(p.clean, p.prepare, 13)
    with pytest.raises(DataError, match="the valid split is empty"):
        split.run(p.split, 13)
    p = _params(
        clean__length={"action": "drop", "min_words": 50, "max_words": 60}, clean__label_noise__tasks=["stress"]
    )
    with pytest.raises(DataError, match="clean: no row is left of 30: length 30"):
        clean.run(p.clean, p.prepare, 13)


def test_a_share_of_unfit_records_up_to_the_limit_is_allowed() -> None:
    _posts(4, "what,7")
    prepare.run(_params(prepare__max_unfit=0.2).prepare)
    assert [row["rule"] for row in ledger.read("prepare")].count("unknown_label") == 1


def test_rows_of_csv_with_missing_or_surplus_fields_are_counted() -> None:
    _posts(8, "no label", "a,1,b")
    prepare.run(_params(prepare__max_unfit=0.2).prepare)
    assert io.read_json(paths.PREPARE_METRICS)["stress"]["unfit"] == {"malformed": 2}
    unfit = [row for row in ledger.read("prepare") if row["decision"] == "dropped"]
    assert unfit[0]["detail"] == "1 fields, not 2"


def test_columns_are_checked_on_the_first_record_that_is_one() -> None:
    _posts(0, "broken", "fine,1")
    with pytest.raises(DataError, match="column `post` is missing"):
        prepare.run(_params(prepare__tasks__stress__text="{{ post }}").prepare)


def _prepare_of(file: str) -> str:
    """The one line that prepare says about the file, which is of the format that its name ends with."""
    changes = {"prepare__tasks__stress__files": file, "prepare__tasks__stress__format": file.split(".")[-1]}
    with pytest.raises(DataError) as error:
        prepare.run(_params(**changes).prepare)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_that_cannot_be_read_are_told_on_one_line() -> None:
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    _posts(3, '"open,1', "next,0")
    folder = paths.RAW / "dreaddit"
    assert "`a**.csv`" in _prepare_of("a**.csv")
    assert "posts.csv cannot be read as csv: a quote that opens in line 5 is not closed by line 6" in _prepare_of(
        "posts.csv"
    )
    (folder / "posts.csv").write_text('text,"la\nbel","la\nbel"\na,1,1\n')
    assert "column `la bel` stands there twice" in _prepare_of("posts.csv")
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), folder / "twice.parquet")
    assert "column `text` stands there twice" in _prepare_of("twice.parquet")
    pq.write_table(
        pa.table({"text": [f"{n} text" for n in range(5000)]}), folder / "whole.parquet", use_dictionary=False
    )
    damaged = bytearray((folder / "whole.parquet").read_bytes())
    for start in (4, 300):  # the first page's header, its compressed values
        broken = damaged[:start] + b"\xff" * 200 + damaged[start + 200 :]
        (folder / "damaged.parquet").write_bytes(broken)
        assert "cannot be read as parquet" in _prepare_of("damaged.parquet")
    late = pa.array([int((datetime.datetime.max - datetime.datetime(1970, 1, 1)).total_seconds()) + 10**6])
    pq.write_table(pa.table({"text": late.cast(pa.timestamp("s"))}), folder / "late.parquet")
    assert "cannot be read as parquet" in _prepare_of("late.parquet")


def test_rows_that_label_noise_doubts_weigh_less_from_then_on() -> None:
    words = ["fear worry panic tired alone", "sunny picnic holiday cake music"]
    lines = [f"{words[n % 2]} she {n},{n % 2 if n > 5 else 1 - n % 2}" for n in range(60)]
    lines += [f"she said {n} and then something,{n % 3 // 2}" for n in range(30)]  # which the classifier cannot know
    _posts(0, *lines)
    p = _params(clean__label_noise__tasks=["stress"], clean__label_noise__min_accuracy=0.99)
    prepare.run(p.prepare)
    clean.run(p.clean, p.prepare, 13)
    changed = {row["row_id"] for row in ledger.read("clean") if row["decision"] == "changed"}
    weights = {row["row_id"]: row["weight"] for row in rows.read(paths.CLEAN)}
    assert changed
    assert weights == {row: 0.5 if row in changed else 1.0 for row in weights}


MISSING = {"text": "drop", "completion": "fail", "label": "drop"}


def test_a_record_without_its_label_meets_what_missing_says() -> None:
    _posts(39, '"a post of which nobody said what it is",')

    def constant(value: str) -> dict[str, str]:
        return {"impute": "constant", "value": value}

    frequent = {"impute": "most_frequent", "value": None}
    for label, decision in (("drop", "dropped"), (constant("no"), "changed"), (frequent, "changed")):
        p = _params(clean__missing=MISSING | {"label": label})
        prepare.run(p.prepare)
        clean.run(p.clean, p.prepare, 13)
        (entry,) = (entry for entry in ledger.read("clean") if entry["rule"] == "missing")
        assert (entry["record"], entry["decision"]) == (39, decision)
        if decision == "changed":
            assert {(row["label"], row["completion"]) for row in rows.read(paths.CLEAN)[-1:]} == {("no", "no")}
    assert io.read_json(paths.PREPARE_METRICS)["stress"]["unlabelled"] == 1
    for changes, said in (
        ({"clean__missing": MISSING | {"label": "fail"}}, "label is empty, and clean.missing says fail"),
        ({"clean__missing": MISSING | {"label": constant("maybe")}}, "`maybe` is none of the choices"),
        ({"clean__missing": None}, "1 rows have no answer; the first is posts.csv record 39"),
    ):
        with pytest.raises(DataError, match=said):
            clean.run(_params(**changes).clean, p.prepare, 13)


def test_tagged_words_are_mended_with_their_text_and_may_name_one_entity_again_and_again() -> None:
    task = {
        "kind": "tags",
        "source": "dreaddit",
        "files": "*.jsonl",
        "format": "jsonl",
        "missing": {},
        "system": None,
        "prompt": "{{ words | join(' ') }}",
        "text": "{{ words | join(' ') }}",
        "tokens": "words",
        "tags": "tags",
        "names": None,
        "entity": "{{ type }}: {{ text }}",
        "nothing": "none",
        "groups": {},
    }
    words = ["Ada", "met", "Ada", "and", "ZÃ¼rich", "saw", "Ada", "with", "Ada", "&amp;", "co"]
    record = {"words": words, "tags": ["B-PER" if word == "Ada" else "O" for word in words]}
    (paths.RAW / "dreaddit").mkdir(parents=True)
    (paths.RAW / "dreaddit/a.jsonl").write_text(json.dumps(record))
    loaded = _params().model_dump(mode="json")
    mapped = params.Prepare.model_validate_json(json.dumps(loaded["prepare"] | {"tasks": {"names": task}}))
    prepare.run(mapped)
    clean.run(_params(clean__label_noise=None).clean, mapped, 13)
    (row,) = rows.read(paths.CLEAN)
    assert row["completion"] == "\n".join(["PER: Ada"] * 4)
    assert (row["tokens"][4], row["tokens"][9]) == ("Zürich", "&")
    assert row["text"] == " ".join(row["tokens"])
