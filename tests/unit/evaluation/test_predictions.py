from pathlib import Path

import pytest

from clew.errors import DataError
from clew.evaluation import predictions
from examples import help_desk

SMALL = {"stress": 6, "exam": 4}


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_row_i_is_the_same_row_in_every_variant() -> None:
    rows = help_desk.predictions("base", SMALL)
    help_desk.write_predictions("base", rows)
    help_desk.write_predictions("sft", rows[::-1])
    found = predictions.read(["base", "sft"])
    ids = [[row["row_id"] for row in found[variant]] for variant in ("base", "sft")]
    assert ids[0] == ids[1]
    assert sorted(ids[0]) == sorted(row["row_id"] for row in rows)
    tasks = predictions.by_task(found["base"])
    assert {task: len(own) for task, own in tasks.items()} == {"exam": 4, "stress": 6}


def test_a_variant_that_covers_other_rows_is_refused() -> None:
    rows = help_desk.predictions("base", SMALL)
    help_desk.write_predictions("base", rows)
    help_desk.write_predictions("sft", rows[1:])
    with pytest.raises(DataError, match=r"sft.parquet: it does not cover the same rows as base.parquet: 1 missing, 0"):
        predictions.read(["base", "sft"])
    help_desk.write_predictions("sft", [*rows, rows[0]])
    with pytest.raises(DataError, match=f"0 missing, 1 too many, such as {rows[0]['row_id']} of task stress"):
        predictions.read(["base", "sft"])


def test_a_variant_without_predictions_is_refused() -> None:
    with pytest.raises(DataError, match=r"data/predictions/base.parquet: the file does not exist"):
        predictions.read(["base"])
    help_desk.write_predictions("base", [])
    with pytest.raises(DataError, match=r"data/predictions/base.parquet: there are no predictions in it. Raise `test`"):
        predictions.read(["base"])


def test_a_task_is_choice_or_text_and_not_both() -> None:
    rows = help_desk.predictions("base", SMALL)[:6]
    assert predictions.is_choice("stress", rows)
    assert not predictions.is_choice("text", [row | {"label": None} for row in rows])
    with pytest.raises(DataError, match="task stress: 1 of 6 rows have no label"):
        predictions.is_choice("stress", [rows[0] | {"label": None}, *rows[1:]])


@pytest.mark.parametrize("change", [{"label": "maybe"}, {"choices": None}, {"scores": [-1.0]}, {"scores": None}])
def test_a_label_that_was_not_scored_is_refused(change: dict[str, object]) -> None:
    rows = help_desk.predictions("base", {"stress": 3})
    with pytest.raises(DataError, match=f"of row {rows[1]['row_id']} is not one of its scored choices"):
        predictions.is_choice("stress", [rows[0], rows[1] | change, rows[2]])
