"""Predictions as `predict` kept them: one order for all variants, by task.

{"row_id": "5f0c…", "source": "dreaddit", "task": "stress", "label": "yes", "reference": "yes",
 "choices": ["yes", "no"], "scores": [-0.4, -1.7], "prediction": "yes", "logprob": -0.6, "tokens": 2,
 "groups": {"pronoun": "she"}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from clew import io, paths, rows
from clew.errors import DataError

Row = Mapping[str, Any]


def read(variants: Sequence[str]) -> dict[str, list[Row]]:
    """Read every variant's predictions, sorted by row_id, so that row i is the same row in all of them.

    Raises DataError when a variant has no rows, or not the same rows as the first.
    """
    found = {variant: _read_one(variant) for variant in variants}
    first, *others = variants
    for variant in others:
        _same_rows(first, found[first], variant, found[variant])
    return found


def by_task(predictions: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each task, in the order that they come in; tasks sorted by name."""
    tasks: dict[str, list[Row]] = {}
    for row in predictions:
        tasks.setdefault(row["task"], []).append(row)
    return dict(sorted(tasks.items()))


def is_choice(task: str, predictions: Sequence[Row]) -> bool:
    """Whether the rows of a task choose among answers (all have a label) or write text (none has).

    Raises DataError when some do and some do not, or a label is not one of the scored choices.
    """
    labelled = [row for row in predictions if row["label"] is not None]
    if 0 < len(labelled) < len(predictions):
        raise DataError(
            f"{len(predictions) - len(labelled)} of {len(predictions)} rows have no label",
            where=f"task {task}",
            fix="Map it in params.yaml: prepare.tasks either as a choice or as text.",
        )
    for row in labelled:
        choices = row["choices"] or []
        if row["label"] not in choices or len(row["scores"] or []) != len(choices):
            raise DataError(
                f"the label `{row['label']}` of row {row['row_id']} is not one of its scored choices "
                f"({', '.join(choices) or 'none'})",
                where=f"task {task}",
                fix="Run `dvc repro predict`; if it stays, correct the labels in params.yaml: prepare.tasks.",
            )
    return bool(labelled)


def _read_one(variant: str) -> list[Row]:
    path = paths.PREDICTIONS / f"{variant}.parquet"
    found = io.read_parquet(path, rows.PREDICTION_SCHEMA)
    if not found:
        raise DataError(
            "there are no predictions in it",
            where=str(path),
            fix="Raise `test` in params.yaml: split.limits, so that there are rows to predict.",
        )
    return sorted(found, key=lambda row: (row["task"], row["row_id"]))


def _same_rows(first: str, expected: Sequence[Row], variant: str, found: Sequence[Row]) -> None:
    wanted = Counter((row["task"], row["row_id"]) for row in expected)
    had = Counter((row["task"], row["row_id"]) for row in found)
    missing, extra = (wanted - had).total(), (had - wanted).total()
    if missing or extra:
        task, row_id = min((wanted - had) or (had - wanted))
        raise DataError(
            f"it does not cover the same rows as {first}.parquet: {missing} missing, {extra} too many, "
            f"such as {row_id} of task {task}",
            where=str(paths.PREDICTIONS / f"{variant}.parquet"),
            fix="Run `dvc repro predict`, which predicts the same test rows with every variant.",
        )
