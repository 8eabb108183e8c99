"""split: clusters and questions stay whole, what train knows of test is found, and all of it is told."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from clew import io, ledger, params, paths, rows
from clew.errors import DataError
from clew.stages import split
from examples import clean_rows

WORDS = [f"w{n}" for n in range(400)]
LEAKAGE = params.Leakage(near=0.7, shingle=2, permutations=128, action="fail", max_share=0.01)
CONTAMINATION = params.Contamination(ngram=5, overlap=0.5, benchmarks=(), action="fail", max_share=0.01)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _split(**more: Any) -> params.Split:
    given = {"valid_share": 0.2, "test_share": 0.3, "limits": {}, "leakage": None, "contamination": None}
    return params.Split.model_validate(given | more)


def _texts(number: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=20)) for _ in range(number)]


def _write(texts: list[str], **columns: list[Any]) -> None:
    made = [clean_rows.row(text, "yes" if n % 3 else "no", row_id=f"row {n}") for n, text in enumerate(texts)]
    for name, values in columns.items():
        made = [row | {name: value} for row, value in zip(made, values, strict=True)]
    rows.write(paths.CLEAN, made)


def _sides() -> dict[str, str]:
    return {
        row["row_id"]: side
        for side in ("train", "valid", "test")
        for row in rows.read(paths.SPLITS / f"{side}.parquet")
    }


def test_clusters_stay_whole_and_rows_that_are_added_move_none() -> None:
    texts = _texts(300)
    clusters = [f"row {n - n % 5}" if n < 100 else None for n in range(300)]
    _write(texts, cluster=clusters)
    split.run(_split(), 3)
    before = _sides()
    for first in range(0, 100, 5):
        assert len({before[f"row {n}"] for n in range(first, first + 5)}) == 1
    assert len({before[f"row {n}"] for n in range(0, 100, 5)}) == 3
    _write([*texts, *_texts(50, seed=1)], cluster=[*clusters, *[f"row {n % 10 * 5}" for n in range(25)], *[None] * 25])
    split.run(_split(), 3)
    after = _sides()
    assert {row: after[row] for row in before} == before
    assert all(after[f"row {300 + n}"] == before[f"row {n % 10 * 5}"] for n in range(25))


def test_what_is_told_adds_up() -> None:
    _write(_texts(400))
    split.run(_split(limits={"t": {"train": 50, "valid": 10, "test": 20}}, leakage=LEAKAGE), 3)
    told = io.read_json(paths.SPLIT_METRICS)
    by_task = told["by_task"]["t"]
    labels = by_task.pop("labels")
    assert by_task == {"train": 50, "valid": 10, "test": 20, "left_out": 320}
    assert {side: labels["yes"][side] + labels["no"][side] for side in by_task} == by_task
    assert abs(labels["no"]["train"] - 50 / 3) < 2
    assert told["dropped"] == {"limit": 320, "leak": 0, "contamination": 0}
    assert told["leakage"] == {"exact": 0, "near": 0}
    assert abs(told["deviation"]["deviation"]) < 0.15
    assert told["deviation"]["rows"] in (134, 266)
    entries = ledger.read("split")
    assert [entry["rule"] for entry in entries].count("limit") == 320
    sides = _sides()
    assert {entry["row_id"]: entry["detail"] for entry in entries if entry["decision"] == "kept"} == sides


def test_the_same_bytes_each_time() -> None:
    _write(_texts(200))
    written = []
    for _ in range(2):
        split.run(_split(leakage=LEAKAGE, contamination=CONTAMINATION), 3)
        files = [*sorted(paths.SPLITS.iterdir()), paths.ledger("split"), paths.SPLIT_METRICS]
        written.append([io.sha256(file) for file in files])
    assert written[0] == written[1]


def _leaky() -> dict[str, str]:
    """300 texts and 60 that are nearly the same as earlier ones, in another task; without clusters."""
    texts = _texts(300)
    again = [text.rsplit(" ", 1)[0] + " otherwise" for text in texts[:60]]
    _write([*texts, *again], task=["t"] * 300 + ["u"] * 60)
    split.run(_split(), 3)
    return _sides()


def test_likes_on_two_sides_stop_the_stage_or_go() -> None:
    sides = _leaky()
    apart = [
        (f"row {n}", f"row {300 + n}") for n in range(60) if "train" in (sides[f"row {n}"], sides[f"row {300 + n}"])
    ]
    apart = [pair for pair in apart if sides[pair[0]] != sides[pair[1]]]
    paths.SPLIT_METRICS.unlink()
    with pytest.raises(DataError, match=rf"{len(apart)} of \d+ rows of valid and test .* like row .* \(0\.9\d\)"):
        split.run(_split(leakage=LEAKAGE), 3)
    assert not paths.SPLIT_METRICS.exists()
    split.run(_split(leakage=LEAKAGE.model_copy(update={"max_share": 0.5})), 3)
    assert io.read_json(paths.SPLIT_METRICS)["leakage"] == {"exact": 0, "near": len(apart)}
    split.run(_split(leakage=LEAKAGE.model_copy(update={"action": "drop"})), 3)
    gone = {entry["row_id"]: entry for entry in ledger.read("split") if entry["rule"] == "leak"}
    assert set(gone) == {row for pair in apart for row in pair if sides[row] == "train"}
    assert all(entry["score"] >= entry["threshold"] == 0.7 for entry in gone.values())
    assert _sides() == {row: side for row, side in sides.items() if row not in gone}


def test_contamination_stops_the_stage_or_goes() -> None:
    sides = _leaky()
    pairs = [(f"row {n}", f"row {300 + n}") for n in range(60)]
    pairs = [pair for pair in pairs if {sides[row] for row in pair} == {"train", "test"}]
    with pytest.raises(DataError, match=rf"{len(pairs)} of \d+ rows of test are contaminated: .* of its 5-grams\)"):
        split.run(_split(contamination=CONTAMINATION), 3)
    split.run(_split(contamination=CONTAMINATION.model_copy(update={"action": "drop"})), 3)
    gone = {entry["row_id"] for entry in ledger.read("split") if entry["rule"] == "contamination"}
    assert gone == {row for pair in pairs for row in pair if sides[row] == "train"}
    assert io.read_json(paths.SPLIT_METRICS)["contamination"] == {"test": 0}


def test_all_rows_of_a_benchmark_are_looked_at() -> None:
    sides = _leaky()
    limits = {"u": {"train": 0, "valid": 5, "test": 5}}
    known = sum(sides[f"row {n}"] == "train" for n in range(60))
    rule = CONTAMINATION.model_copy(update={"benchmarks": ("u",), "max_share": 1.0})
    split.run(_split(limits=limits, contamination=rule), 3)
    assert io.read_json(paths.SPLIT_METRICS)["contamination"]["u"] == known
    with pytest.raises(DataError, match=f"{known} of 60 rows of u are contaminated"):
        split.run(_split(limits=limits, contamination=rule.model_copy(update={"max_share": 0.1})), 3)


def test_a_side_without_rows_is_told() -> None:
    _write(_texts(3))
    with pytest.raises(DataError, match=r"the \w+ split is empty \(3 clean rows\)"):
        split.run(_split(valid_share=0), 3)


def test_a_leak_stops_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(_texts(20) * 3)
    monkeypatch.setattr(split.splitting, "sides", lambda draws, _: (draws * 0 + [0, 1, 2] * 20).astype("i1"))
    with pytest.raises(DataError, match="20 texts stand on two sides"):
        split.run(_split(), 13)
    assert not paths.SPLITS.exists()


def test_a_form_letter_on_all_sides_stops_the_stage() -> None:
    """One of 60 letters in five is held back: each of them has its like in train, and each is counted."""
    words = " ".join(WORDS[:40])
    _write([*_texts(300), *(f"Dear number {n}, {words}" for n in range(60))])
    split.run(_split(leakage=LEAKAGE.model_copy(update={"max_share": 1.0})), 3)
    held = sum(side != "train" for row, side in _sides().items() if int(row.split()[1]) >= 300)
    assert held > 20
    assert io.read_json(paths.SPLIT_METRICS)["leakage"]["near"] == held
    with pytest.raises(DataError, match=f"{held} of .* stand nearly the same in train"):
        split.run(_split(leakage=LEAKAGE.model_copy(update={"max_share": 0.1})), 3)


def test_of_letters_that_differ_more_and_less_none_is_left_after_a_drop() -> None:
    draw = random.Random(0)
    letters = [
        [WORDS[n] if draw.random() > 0.03 else f"x{draw.randrange(10**9)}" for n in range(100)] for _ in range(200)
    ]
    _write([*_texts(300), *map(" ".join, letters)])
    split.run(_split(leakage=LEAKAGE.model_copy(update={"action": "drop", "near": 0.8})), 3)
    left = {side: [set(itertools.pairwise(text)) for text in _letters(side)] for side in ("train", "test")}
    assert len(left["test"]) > 20
    assert not [1 for a in left["train"] for b in left["test"] if len(a & b) >= 0.8 * len(a | b)]
    assert io.read_json(paths.SPLIT_METRICS)["leakage"]["near"] == 0


def _letters(side: str) -> list[list[str]]:
    texts = [row["text"] for row in rows.read(paths.SPLITS / f"{side}.parquet")]
    return [text.split() for text in texts if len(text.split()) == 100]
