"""Ratings become preference pairs: by the mean of raters, with a gap, every record accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clew import io, keys, ledger, params, paths, ratings, rows
from clew.errors import DataError
from clew.stages import prepare

MAPPING: dict[str, Any] = {
    "kind": "ratings",
    "source": "answers",
    "files": "*.jsonl",
    "format": "jsonl",
    "missing": {},
    "system": None,
    "prompt": "{{ prompt }}",
    "text": "{{ prompt }}",
    "groups": {},
    "response": "{{ answer }}",
    "rater": "{{ rater }}",
    "rating": "{{ rating }}",
    "min_gap": 1.0,
    "min_raters": 1,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _prepare(found: list[tuple[str, str, str, Any]], **changes: Any) -> tuple[list[dict[str, Any]], list[str], Any]:
    """Run the stage on (prompt, answer, rater, rating); its rows, `decision rule` of each record, and the metrics."""
    folder = paths.RAW / "answers"
    folder.mkdir(parents=True, exist_ok=True)
    names = ("prompt", "answer", "rater", "rating")
    lines = [json.dumps(dict(zip(names, one, strict=True))) for one in found]
    (folder / "a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    mapping = params.RatingsMapping(**{**MAPPING, **changes})
    prepare.run(params.Prepare(row_key="public", max_unfit=0.5, tasks={"help": mapping}))
    entries = sorted(ledger.read("prepare"), key=lambda entry: entry["record"])
    told = [f"{entry['decision']} {entry['rule']}" for entry in entries]
    assert [entry["record"] for entry in entries] == list(range(len(found)))
    return rows.read(paths.ROWS), told, io.read_json(paths.PREPARE_METRICS)["help"]


def test_the_best_answer_by_the_mean_of_raters_stands_against_the_worst(here: Path) -> None:
    found = [
        ("sleep?", "pray", "ada", 1),
        ("sleep?", "rest", "ada", 4),
        ("sleep?", "tea", "ada", 3),
        ("sleep?", "rest", "bo", 5),
        ("sleep?", "pray", "bo", 2),
        ("eat?", "soup", "ada", 4),
        ("eat?", "bread", "ada", 3.5),
        ("walk?", "yes", "ada", 5),
    ]
    (row,), told, metrics = _prepare(found)
    assert (row["completion"], row["rejected"], row["label"], row["choices"]) == ("rest", "pray", None, None)
    assert row["origin"] == {"file": "a.jsonl", "record": 1}
    assert [tuple(one.values()) for one in row["annotations"]] == [
        ("ada", "completion 4"),
        ("bo", "completion 5"),
        ("ada", "rejected 1"),
        ("bo", "rejected 2"),
    ]
    assert told == [
        "dropped rated",
        "kept mapping",
        *["dropped rated"] * 3,
        *["dropped below_min_gap"] * 2,
        "dropped single_answer",
    ]
    assert metrics["ratings"]["prompts"] == 3
    assert metrics["ratings"]["pairs"] == metrics["rows"] == 1
    assert metrics["ratings"]["alpha"] == pytest.approx(0.85)  # 1 - 3 * 4 / 80
    assert row["row_id"] == rows.content_id(row, keys.load("public"))


def test_ties_answers_of_few_raters_and_second_ratings_are_left_out(here: Path) -> None:
    found = [
        ("tie?", "a", "ada", 3),
        ("tie?", "b", "ada", 3),
        ("few?", "a", "ada", 5),
        ("few?", "a", "bo", 5),
        ("few?", "b", "ada", 1),
        ("twice?", "a", "ada", 5),
        ("twice?", "a", "ada", 1),
        ("twice?", "b", "ada", 2),
    ]
    made, told, _ = _prepare(found)
    assert [(row["text"], row["completion"]) for row in made] == [("few?", "a"), ("twice?", "a")]
    assert told[:2] == ["dropped below_min_gap"] * 2
    assert told[5:] == ["kept mapping", "dropped rated_twice", "dropped rated"]
    with pytest.raises(DataError, match="none of the 8 records became a row"):
        _prepare(found, min_raters=2)


def test_without_names_each_rating_is_another_raters(here: Path) -> None:
    found = [("q", "a", "", 5), ("q", "a", "", 4), ("q", "b", "", 1)]
    (row,), _, _ = _prepare(found, rater=None)
    assert [one["annotator"] for one in row["annotations"]] == ["1", "2", "1"]


def test_ratings_that_are_none_do_not_fit_and_tear_no_prompt_apart(here: Path) -> None:
    found = [("q", "a", "ada", 5), ("q", "b", "ada", "good"), ("q", "b", "bo", 1), ("q", "", "bo", 2)]
    made, told, metrics = _prepare(found)
    assert len(made) == 1
    assert told == ["kept mapping", "dropped rating", "dropped rated", "dropped empty_answer"]
    assert metrics["unfit"] == {"rating": 1, "empty_answer": 1}


def test_a_prompt_in_two_places_is_told_with_its_record(here: Path) -> None:
    found = [("q", "a", "ada", 5), ("r", "a", "ada", 5), ("q", "b", "ada", 1)]
    with pytest.raises(
        DataError, match=r"a.jsonl, record 2: the records of a prompt do not stand one after another. Sort"
    ):
        _prepare(found)


@pytest.mark.parametrize(
    ("units", "alpha"),
    [
        # Krippendorff (2011), the reliability data of section C with the interval metric: .849
        (
            [[1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4],
             [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3]],
            0.849,
        ),
        ([[1, 1], [5, 5]], 1.0),
        ([[2, 2], [2, 2]], None),
        ([[1], [5]], None),
    ],
)  # fmt: skip
def test_alpha_is_krippendorffs(units: list[list[float]], alpha: float | None) -> None:
    agreement = ratings.Agreement()
    for unit in units:
        agreement.add(unit)
    assert agreement.alpha == (None if alpha is None else pytest.approx(alpha, abs=5e-4))
