"""samples: a few predictions of each task, chosen by a rule that shows failures beside successes.

The rows of a task fall into classes by who was right (the first variant, the final one). One row of each class is
taken in turn, that with the lowest row_id first: a row_id is a hash, so nobody chose it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clew.report import words
from clew.report.experiment import Experiment

Row = Mapping[str, Any]

SHORT = 700
"""Characters of a prompt that are shown at once; of a longer one its beginning and its end."""
HALF = 300
LONG = 6000
"""Characters of a prompt or an answer that are shown at all."""


@dataclass(frozen=True)
class Excerpt:
    """A text that may be long: `end` and `whole` are empty where `start` is all of it; `cut` counts what is lost."""

    start: str
    end: str
    whole: str
    cut: int
    length: int


def build(experiment: Experiment) -> Mapping[str, Any]:
    """For each task its classes with their counts, and the rows chosen."""
    return {"tasks": [of_task(experiment, task) for task in experiment.tasks], "final": experiment.final}


def of_task(experiment: Experiment, task: str) -> dict[str, Any]:
    """A task's classes and samples. Free text has one class: it is not right or wrong."""
    rows = {
        variant: {row["row_id"]: row for row in found if row["task"] == task}
        for variant, found in experiment.predictions.items()
    }
    classes = classify(rows[experiment.variants[0]], rows[experiment.final], experiment)
    chosen = choose([found for _, found in classes], experiment.params["report"]["samples"])
    return {
        "task": words.plain_name(task),
        "classes": [(name, len(found)) for name, found in classes if found],
        "free_text": len(classes) == 1,
        "samples": [sample(experiment, row_id, rows) for row_id in chosen],
    }


def classify(first: Mapping[str, Row], final: Mapping[str, Row], experiment: Experiment) -> list[tuple[str, list[str]]]:
    """(class, row_ids sorted), by whether the first and the final variant were right."""
    ids = sorted(first)
    if all(right(row) is None for row in first.values()):
        return [("free text", ids)]
    names = experiment.variants[0], experiment.final
    found: dict[tuple[bool, bool], list[str]] = {
        (False, True): [],
        (True, False): [],
        (False, False): [],
        (True, True): [],
    }
    for row_id in ids:
        found[right(first[row_id]) is True, right(final[row_id]) is True].append(row_id)
    if names[0] == names[1]:
        return [("wrong", found[False, False]), ("right", found[True, True])]
    return [
        (f"only {names[1]} right", found[False, True]),
        (f"only {names[0]} right", found[True, False]),
        ("both wrong", found[False, False]),
        ("both right", found[True, True]),
    ]


def choose(classes: Sequence[Sequence[str]], n: int) -> list[str]:
    """At most n row_ids: the first of each class in turn, then the second of each, and so on."""
    longest = max(map(len, classes), default=0)
    return [of_class[turn] for turn in range(longest) for of_class in classes if turn < len(of_class)][:n]


def right(row: Row) -> bool | None:
    """Whether the prediction is the label, or every tag is; None for free text."""
    if row["tags"] is not None:
        return bool(row["predicted"] == row["tags"])
    return None if row["label"] is None else row["prediction"] == row["label"]


def sample(experiment: Experiment, row_id: str, rows: Mapping[str, Mapping[str, Row]]) -> dict[str, Any]:
    """One row: what was asked, what was wanted, what each variant said."""
    said = []
    for variant in experiment.variants:
        row = rows[variant][row_id]
        said.append({"variant": variant, "text": excerpt(row["prediction"] or "", LONG), "right": right(row)})
    one = rows[experiment.variants[0]][row_id]
    return {
        "row_id": row_id,
        "groups": sorted((row_group, value) for row_group, value in dict(one["groups"] or {}).items() if value),
        "prompt": excerpt(experiment.prompts.get(row_id, ""), SHORT),
        "wanted": excerpt(one["reference"] or one["label"] or "", LONG),
        "said": said,
        "brief": all(one["right"] is not None for one in said),
    }


def excerpt(text: str, short: int) -> Excerpt:
    """The text, or its beginning and end and the whole of it up to LONG characters."""
    text = text.strip()
    cut = max(0, len(text) - LONG)
    if len(text) <= short:
        return Excerpt(text, "", "", 0, len(text))
    start, end = text[:HALF], text[-HALF:]
    start = start.rsplit(None, 1)[0] if " " in start[HALF // 2 :] else start  # between words, where there are any
    end = end.split(None, 1)[1] if " " in end[: HALF // 2] else end
    return Excerpt(start.rstrip(), end.lstrip(), text[:LONG], cut, len(text))
