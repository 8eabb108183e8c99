"""select on files: the best rows of each task and label stay, and every one that goes is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clew import io, ledger, params, paths, rows
from clew.errors import DataError
from clew.stages import select
from examples.clean_rows import row

TOPICS = ("river boat", "snow mountain", "piano concert", "garden roses")
TRAIN = paths.SPLITS / "train.parquet"
FACILITY = {
    "method": "facility_location",
    "pool": 2.0,
    "features": {"kind": "tfidf", "dimensions": 16},
}


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def section(**changes: Any) -> params.Select:
    tree = {"enabled": True, "keep": {"t": 0.5}, "score": None, "diversity": None} | changes
    return params.Select.model_validate_json(json.dumps(tree))


def posts(n: int, label: str | None = "yes", task: str = "t") -> list[dict[str, Any]]:
    return [
        row(
            f"post {number} of {label}",
            label,
            task,
            row_id=f"{len(task):x}{ord((label or '-')[0]):02x}{number:061x}",
            origin={"file": "f", "record": number},
        )
        for number in range(n)
    ]


def written(train: Sequence[dict[str, Any]], scores: Sequence[float | None] | None = None) -> None:
    """Train rows, behind two others in data/rows.parquet, and what a rule measured of all of them."""
    others = [row("gone", row_id="f" * 64), row("of test", row_id="e" * 64)]
    rows.write(paths.ROWS, others + list(train))
    rows.write(TRAIN, list(train))
    if scores is not None:
        pq.write_table(pa.table({"noise": pa.array([0.0, 0.0, *scores], pa.float32())}), paths.SCORES)


def kept() -> list[str]:
    return [one["text"] for one in rows.read(paths.SELECTED)]


def test_switched_off_the_rows_pass_as_they_are() -> None:
    written(posts(5))
    assert select.run(section(enabled=False), 0) == {}
    assert paths.SELECTED.read_bytes() == TRAIN.read_bytes()
    assert ledger.read("select") == []
    assert io.read_json(paths.SELECT_METRICS) == {"enabled": False}


def test_the_best_by_score_stay_in_their_order_and_the_others_are_told() -> None:
    train = posts(6)
    written(train, [0.1, 0.9, 0.3, 0.8, 0.7, 0.2])
    assert select.run(section(score={"rule": "noise", "best": "high"}), 0) == {"rows": 3}
    assert kept() == [train[position]["text"] for position in (1, 3, 4)]
    entries = ledger.read("select")
    assert [one["row_id"] for one in entries] == [one["row_id"] for one in train]
    told = [(one["decision"], one["rule"], one["score"], one["threshold"], one["detail"]) for one in entries]
    assert told[0] == ("dropped", "score", 0.1, 0.7, "noise")
    assert told[1] == ("kept", None, 0.9, None, None)
    assert [one["origin"]["record"] for one in rows.read(paths.SELECTED)] == [1, 3, 4]
    select.run(section(score={"rule": "noise", "best": "low"}), 0)
    assert kept() == [train[position]["text"] for position in (0, 2, 5)]
    figures = io.read_json(paths.SELECT_METRICS)["tasks"]["t"]
    assert figures == {
        "in": 6,
        "out": 3,
        "labels": {"yes": {"in": 6, "out": 3}},
        "score": {"in": 0.5, "out": 0.2},
    }


def test_rows_of_which_nothing_was_measured_come_first() -> None:
    train = posts(4)
    written(train, [0.9, None, 0.8, None])
    select.run(section(score={"rule": "noise", "best": "high"}), 0)
    assert kept() == [train[1]["text"], train[3]["text"]]
    assert [one["threshold"] for one in ledger.read("select")] == [None] * 4


def test_the_same_row_twice_has_each_its_own_score() -> None:
    twice = posts(2)
    twice[1] = twice[0] | {"origin": {"file": "f", "record": 1}}
    written(twice, [0.1, 0.9])
    select.run(section(score={"rule": "noise", "best": "high"}), 0)
    assert [one["origin"]["record"] for one in rows.read(paths.SELECTED)] == [1]


@pytest.mark.parametrize("diversity", [None, FACILITY, FACILITY | {"method": "farthest_point"}])
def test_labels_keep_their_shares_and_other_tasks_stay_whole(diversity: dict[str, Any] | None) -> None:
    train = posts(60, "yes") + posts(20, "no") + posts(7, "yes", "other") + posts(9, None, "free")
    written(train, np.linspace(0, 1, len(train)).tolist())
    chosen = section(keep={"t": 20, "free": 1.0}, score={"rule": "noise", "best": "high"}, diversity=diversity)
    select.run(chosen, 0)
    after = rows.read(paths.SELECTED)
    counts = Counter((one["task"], one["label"]) for one in after)
    assert counts == {("t", "yes"): 15, ("t", "no"): 5, ("other", "yes"): 7, ("free", None): 9}
    places = {one["row_id"]: place for place, one in enumerate(train)}
    assert [places[one["row_id"]] for one in after] == sorted(places[one["row_id"]] for one in after)


@pytest.mark.parametrize(("keep", "left"), [(0.5, 5), (1.0, 10), (1, 1), (300, 10), (0.001, 1)])
def test_a_share_or_a_number_of_rows(keep: float, left: int) -> None:
    written(posts(10))
    select.run(section(keep={"t": keep}), 0)
    assert len(kept()) == left
    assert {one["rule"] for one in ledger.read("select")} <= {None, "sample"}


def test_a_sample_follows_the_seed_and_not_the_rows_that_are_added() -> None:
    written(posts(40))
    select.run(section(), 0)
    first = kept()
    select.run(section(), 1)
    assert kept() != first
    written(posts(80))
    select.run(section(), 0)
    assert len(set(first) & set(kept())) > 15, "a draw of each row's own: of 20 kept ones most stay"


def test_diverse_rows_are_of_all_topics_where_the_best_are_of_one() -> None:
    """Forty good posts about one thing, and ten a little less good about three others."""
    topics = [0] * 40 + [1] * 4 + [2] * 3 + [3] * 3
    train = posts(len(topics))
    for number, (one, topic) in enumerate(zip(train, topics, strict=True)):
        one["text"] = f"{TOPICS[topic]} {TOPICS[topic].upper()} number{number}"
    written(train, [1 - number / 100 for number in range(len(topics))])
    score = {"rule": "noise", "best": "high"}

    def topics_kept(**changes: Any) -> set[str]:
        select.run(section(keep={"t": 10}, score=score, **changes), 0)
        return {" ".join(text.split()[:2]) for text in kept()}

    assert topics_kept() == {TOPICS[0]}
    assert topics_kept(diversity=FACILITY | {"pool": 5.0}) == set(TOPICS)
    figures = io.read_json(paths.SELECT_METRICS)["tasks"]["t"]["coverage"]
    assert figures["kept"] > figures["best_by_score"] + 0.1
    assert {one["rule"] for one in ledger.read("select")} == {None, "diversity"}
    assert topics_kept(diversity=FACILITY | {"pool": 1.5}) == {TOPICS[0]}, "the others are no candidates"
    assert Counter(one["rule"] for one in ledger.read("select")) == {None: 10, "diversity": 5, "score": 35}


def test_the_same_rows_give_the_same_bytes() -> None:
    written(posts(60) + posts(30, "no"), np.linspace(0, 1, 90).tolist())
    outs = (paths.SELECTED, paths.ledger("select"), paths.SELECT_METRICS)
    chosen = section(score={"rule": "noise", "best": "low"}, diversity=FACILITY)
    select.run(chosen, 3)
    first = [out.read_bytes() for out in outs]
    select.run(chosen, 3)
    assert [out.read_bytes() for out in outs] == first


def test_a_task_without_rows_and_texts_that_are_missing_are_no_trouble() -> None:
    written([one | {"text": None} for one in posts(4)])
    select.run(section(keep={"t": 2, "gone": 0.5}, diversity=FACILITY), 0)
    assert len(kept()) == 2
    assert io.read_json(paths.SELECT_METRICS)["tasks"]["gone"] == {"in": 0, "out": 0}


def test_a_rule_that_measured_nothing_and_files_of_two_runs_are_told() -> None:
    train = posts(3)
    written(train)
    with pytest.raises(DataError, match=r"the rule `noise` of clean measured nothing.*: there is none"):
        select.run(section(score={"rule": "noise", "best": "high"}), 0)
    written(train, [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="or name one that measures: noise"):
        select.run(section(score={"rule": "length", "best": "high"}), 0)
    rows.write(TRAIN, [*train, row("new", row_id="d" * 64)])
    with pytest.raises(DataError, match="these are not of one run"):
        select.run(section(score={"rule": "noise", "best": "high"}), 0)
    assert not paths.SELECTED.exists()


@pytest.mark.parametrize("keep", [0, 0.0, -1, 1.5, True, "0.5"])
def test_no_share_and_no_number_of_rows(keep: Any) -> None:
    with pytest.raises(ValueError, match="keep"):
        section(keep={"t": keep})
