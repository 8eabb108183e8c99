"""confusion: for each task of choices, what each variant answered where each answer was right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from clew.report import words
from clew.report.experiment import Experiment

MOST = 8
"""Answers shown at most: a larger table says nothing at a glance."""


def build(experiment: Experiment) -> Mapping[str, Any]:
    """A small table for each task and variant, and the tasks that have none, with the reason."""
    tasks, without = [], []
    for task in experiment.tasks:
        rows = {name: [row for row in found if row["task"] == task] for name, found in experiment.predictions.items()}
        answers = answers_of([row for of_variant in rows.values() for row in of_variant])
        if not answers:
            tagged = any(row["tags"] is not None for row in next(iter(rows.values())))
            without.append((words.plain_name(task), f"its answers are {'tags of words' if tagged else 'free text'}"))
        elif len(answers) > MOST:
            without.append((words.plain_name(task), f"it has {len(answers)} different answers"))
        else:
            tables = [table(name, rows[name], answers) for name in experiment.variants]
            tasks.append({"task": words.plain_name(task), "answers": answers, "tables": tables})
    return {"tasks": tasks, "without": without}


def answers_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every label and prediction of the rows that have a label, sorted."""
    labelled = [row for row in rows if row["label"] is not None]
    return sorted({row["label"] for row in labelled} | {row["prediction"] or "" for row in labelled})


def table(variant: str, rows: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> dict[str, Any]:
    """Counts of predictions, a line for each right answer, each cell with its share of the line (0 to 1)."""
    count = Counter((row["label"], row["prediction"] or "") for row in rows if row["label"] is not None)
    lines = []
    for actual in answers:
        total = sum(count[actual, predicted] for predicted in answers)
        cells = [
            {"n": count[actual, answer], "share": count[actual, answer] / max(total, 1), "right": answer == actual}
            for answer in answers
        ]
        if total:
            lines.append({"actual": actual, "n": total, "cells": cells})
    return {"variant": variant, "lines": lines}
