"""augment on files: every row stays, every new one has its parent, source and entry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clew import io, keys, ledger, params, paths, rows
from clew.errors import DataError, SetupError
from clew.stages import augment
from examples.clean_rows import row

SYNONYMS = {"source": "words", "file": "table.tsv", "rate": 1.0, "copies": 1}
TASK = {
    "synonyms": SYNONYMS,
    "typos": {"rate": 0.1, "copies": 2},
    "prompts": {"templates": ["{{ text }}\nStressed?"], "copies": 1},
    "upsample": {"by": "label", "to": 1.0, "most": 5},
}
PREPARE = params.Prepare(row_key="public", max_unfit=0.0, tasks={})


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEW_KEYS", str(tmp_path / "keys"))
    (paths.RAW / "words").mkdir(parents=True)
    (paths.RAW / "words/table.tsv").write_text("happy\tglad\n")


def section(enabled: bool = True, **tasks: Any) -> params.Augment:
    return params.Augment.model_validate_json(json.dumps({"enabled": enabled, "tasks": tasks}))


def posts(n: int, label: str, task: str = "t", words: str = "was happy about everything") -> list[dict[str, Any]]:
    found = []
    for number in range(n):
        text = f"Post {number} of {label}: {words}"
        one = row(
            text, label, task, rejected=None, source="web", origin={"file": "f", "record": number}, groups={"a": "b"}
        )
        found.append(one | {"row_id": rows.content_id(one, keys.PUBLIC), "weight": 0.5})
    return found


def written(selected: Sequence[dict[str, Any]], held_back: Sequence[str] = ()) -> None:
    rows.write(paths.SELECTED, list(selected))
    for side in ("valid", "test"):
        rows.write(paths.SPLITS / f"{side}.parquet", [row(text, row_id="0" * 64) for text in held_back])


def run(**tasks: Any) -> list[dict[str, Any]]:
    augment.run(section(**tasks), PREPARE, 7)
    return rows.read(paths.AUGMENTED)


def test_switched_off_the_rows_pass_as_they_are_and_no_key_is_wanted() -> None:
    written(posts(3, "yes"))
    secret = PREPARE.model_copy(update={"row_key": "0123456789abcdef"})
    assert augment.run(section(enabled=False, t=TASK), secret, 0) == {}
    assert paths.AUGMENTED.read_bytes() == paths.SELECTED.read_bytes()
    assert ledger.read("augment") == []
    assert io.read_json(paths.AUGMENT_METRICS) == {"enabled": False}
    with pytest.raises(SetupError, match="the row key is not on this machine"):
        augment.run(section(t=TASK), secret, 0)


def test_every_new_row_is_told_with_its_parent_and_all_rows_stay() -> None:
    selected = posts(4, "yes") + posts(2, "no") + posts(3, "yes", "other")
    written(selected)
    after = run(t=TASK)
    old, new = after[: len(selected)], after[len(selected) :]
    assert old == rows.read(paths.SELECTED)
    parents = {one["row_id"]: one for one in old}
    assert len({one["row_id"] for one in after}) == len(after)
    for one in new:
        parent = parents[one["parent_ids"][0]]
        assert one["task"] == "t"
        same = ("source", "origin", "label", "completion", "weight", "groups")
        assert [one[name] for name in same] == [parent[name] for name in same]
    entries = ledger.read("augment")
    assert [one["row_id"] for one in entries] == [one["row_id"] for one in after]
    assert Counter((one["decision"], one["rule"]) for one in entries) == {
        ("kept", None): 9,
        ("added", "synonyms"): 6,
        ("added", "typos"): 12,
        ("added", "prompts"): 6,
        ("added", "upsample"): 10,  # 20 rows of yes; of no 10, and two of them came in: five copies each
    }
    assert [one["parent_ids"] for one in entries] == [one["parent_ids"] for one in after]
    assert io.read_json(paths.AUGMENT_METRICS) == {
        "enabled": True,
        "rows_in": 9,
        "rows_out": 43,
        "tasks": {
            "t": {"in": 6, "added": {"synonyms": 6, "typos": 12, "prompts": 6, "upsample": 10}, "not_made": {}},
        },
    }


def test_rows_that_are_added_change_no_other_rows_children() -> None:
    some = {name: TASK[name] for name in ("synonyms", "typos", "prompts")} | {"upsample": None}
    written(posts(5, "yes"))
    before = {one["row_id"] for one in run(t=some)}
    written(posts(3, "no") + posts(9, "yes"))
    assert before < {one["row_id"] for one in run(t=some)}


def test_no_text_of_valid_or_test_comes_into_train() -> None:
    written(posts(1, "yes", words="was happy"), ["POST 0 of yes, was GLAD!"])
    after = run(t=TASK | {"typos": None, "prompts": None})
    assert [one["text"] for one in after] == ["Post 0 of yes: was happy"]
    assert io.read_json(paths.AUGMENT_METRICS)["tasks"]["t"]["not_made"] == {"a_text_of_valid_or_test": 1}


def test_many_rows_go_through_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    written(posts(7, "yes") + posts(2, "no"))
    whole = {one["row_id"]: one for one in run(t=TASK)}
    monkeypatch.setattr(io, "ROW_GROUP", 4)
    assert {one["row_id"]: one for one in run(t=TASK)} == whole


def test_the_same_rows_give_the_same_bytes_and_a_secret_key_other_ids() -> None:
    written(posts(6, "yes") + posts(2, "no"))
    outs = (paths.AUGMENTED, paths.ledger("augment"), paths.AUGMENT_METRICS)
    first = run(t=TASK)
    bytes_of = [out.read_bytes() for out in outs]
    run(t=TASK)
    assert [out.read_bytes() for out in outs] == bytes_of
    augment.run(section(t=TASK), PREPARE.model_copy(update={"row_key": keys.make().name}), 7)
    other = rows.read(paths.AUGMENTED)
    assert [one["text"] for one in other] == [one["text"] for one in first]
    assert not {one["row_id"] for one in other[8:]} & {one["row_id"] for one in first[8:]}


def test_a_table_that_is_missing_stops_before_anything_is_written() -> None:
    written(posts(1, "yes"))
    with pytest.raises(DataError, match="no table of synonyms"):
        run(t=TASK | {"synonyms": SYNONYMS | {"file": "none.tsv"}})
    assert not paths.AUGMENTED.exists()


def test_no_task_and_no_rows_are_no_trouble() -> None:
    written([])
    assert run(t=TASK) == []
    written(posts(2, "yes"))
    assert len(run()) == 2
    assert len(run(gone=TASK)) == 2
