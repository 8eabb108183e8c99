"""cleaning: a funnel for each source, rows that each rule found, annotators, and the labels before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from clew.report import charts, words
from clew.report.cleaned import Example
from clew.report.experiment import Experiment
from clew.report.sections import data

AROUND = 160
"""Characters of a text that are shown on each side of the offending part; twice as many where there is none."""
LABELS = 12
"""Labels of a task that are shown."""
DONE = {"dropped": "dropped", "changed": "changed", "kept": "kept"}


def build(experiment: Experiment) -> Mapping[str, Any]:
    """What the template shows; every list may be empty."""
    return {
        "funnels": [funnel(experiment, source) for source in experiment.params["fetch_data"]["sources"]],
        "rules": list(_rules(experiment)),
        "annotators": list(_annotators(experiment)),
        "balance": list(_balance(experiment)),
    }


def funnel(experiment: Experiment, source: str) -> dict[str, Any]:
    """The rows of a source that were left after each step that took some, from its records to the split.

    A record is asked for a row by each task that reads it.
    """
    ours = [d for d in experiment.decisions if d.source == source]
    records = sum(d.n for d in ours if d.stage == "prepare")
    distinct = experiment.records.get(source, records)
    first = "records" if distinct == records else f"rows asked of {words.number(distinct, 'count')} records"
    left, steps = records, [(first, records, 0)]
    for name, taken in _taken(experiment, ours):
        left -= taken
        steps.append((name, left, taken))
    scale = charts.Scale(0, max(records, 1))
    return {
        "source": source,
        "steps": [{"name": name, "left": n, "taken": taken, "width": scale.at(n)} for name, n, taken in steps],
    }


def _taken(experiment: Experiment, ours: list[Any]) -> Iterator[tuple[str, int]]:
    """(step, rows that it dropped) in the order of the pipeline, of steps that dropped some."""
    dropped: Counter[tuple[str, str]] = Counter()
    for d in ours:
        if d.decision == "dropped":
            dropped[d.stage, d.rule or ""] += d.n
    unfit = sum(n for (stage, _), n in dropped.items() if stage == "prepare")
    order = ["review", *experiment.params["clean"]]
    by_rule = sorted(
        (order.index(rule) if rule in order else len(order), rule) for stage, rule in dropped if stage == "clean"
    )
    steps = [("fit the mapping", unfit)]
    steps += [(f"after {words.plain_name(rule)}", dropped["clean", rule]) for _, rule in by_rule]
    later = [pair for pair in dropped if pair[0] not in ("prepare", "clean", "align")]
    steps += [(f"after {stage}: {words.plain_name(rule)}", dropped[stage, rule]) for stage, rule in later]
    yield from (step for step in steps if step[1])


def _rules(experiment: Experiment) -> Iterator[dict[str, Any]]:
    for rule, examples in experiment.cleaned.examples.items():
        yield {
            "name": words.plain_name(rule),
            "means": data.RULES.get(rule, ""),
            "sources": [
                {"source": source, "examples": [_example(one) for one in examples if one.source == source]}
                for source in dict.fromkeys(one.source for one in examples)
            ],
        }


def _example(one: Example) -> dict[str, Any]:
    before, part, after = _parts(one.text or "", one.start, one.end)
    facts = [one.detail] if one.detail else []
    if one.score is not None and one.threshold is not None:
        facts.append(f"score {one.score:.4g}, threshold {one.threshold:.4g}")
    return {
        "row_id": one.row_id,
        "source": one.source,
        "hidden": one.text is None,
        "before": before,
        "part": part,
        "after": after,
        "facts": facts,
        "decision": DONE[one.decision],
    }


def _parts(text: str, start: int | None, end: int | None) -> tuple[str, str, str]:
    """A text before, in and after its offending part, cut to what fits a card."""
    if start is None or end is None:
        return (text if len(text) <= 2 * AROUND else text[: 2 * AROUND] + " …"), "", ""
    before, part, after = text[:start], text[start:end], text[end:]
    if len(before) > AROUND:
        before = "… " + before[-AROUND:]
    if len(after) > AROUND:
        after = after[:AROUND] + " …"
    return before, (part if len(part) <= AROUND else part[:AROUND] + " …"), after


def _annotators(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """The annotators of each task, the best first."""
    for task, found in sorted(experiment.clean.get("annotators", {}).items()):
        people = sorted(found["annotators"].items(), key=lambda pair: (-(pair[1]["quality"] or 0), pair[0]))
        scale = charts.Scale(0, 1)
        yield {
            "task": words.plain_name(task),
            "source": experiment.prepare[task]["source"],
            "alpha": found.get("alpha"),
            "people": [
                {
                    "name": name,
                    "n": person["n"],
                    "quality": person["quality"],
                    "width": scale.at(person["quality"] or 0),
                }
                for name, person in people
            ],
        }


def _balance(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """By source, each label's share of its task's rows as they came, after cleaning, and in training."""
    scale = charts.Scale(0, 1)
    found = experiment.cleaned.balance.items()
    for source, task, labels in [(source, task, labels) for source, some in found for task, labels in some.items()]:
        totals = [sum(counts[place] for counts in labels.values()) for place in range(3)]
        if len(labels) > LABELS or not totals[0]:
            continue
        lines = []
        for label, counts in labels.items():
            shares = [n / total if total else 0.0 for n, total in zip(counts, totals, strict=True)]
            cells = [
                {"n": n, "share": words.number(share, "share"), "width": scale.at(share)}
                for n, share in zip(counts, shares, strict=True)
            ]
            lines.append({"label": label, "cells": cells})
        yield {"source": source, "task": words.plain_name(task), "lines": lines}
