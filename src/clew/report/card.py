"""The model card: what travels with the weights, with the figures in the form that model hubs read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clew.report import page, verdicts, words
from clew.report.experiment import Experiment
from clew.report.sections import data, fairness, limits, pipeline

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

KINDS = {
    "label": "text-classification",
    "labels": "text-classification",
    "options": "question-answering",
    "text": "text-generation",
    "tags": "token-classification",
}
"""The kind of a task's mapping, as model hubs call it."""


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def render(experiment: Experiment) -> str:
    """The card as Markdown with a YAML head: a function of the experiment alone."""
    import jinja2
    from huggingface_hub import ModelCard

    environment = page.environment().overlay(
        autoescape=jinja2.select_autoescape(disabled_extensions=("md",), default=True), finalize=escape
    )
    environment.filters |= {"code": code, "points": words.points}
    body = page.write(environment, "model_card.md", values(experiment))
    card = ModelCard(f"---\n{head(experiment)}\n---\n\n{body}")
    return f"{card}".rstrip("\n") + "\n"


def head(experiment: Experiment) -> str:
    """The card's YAML head, by huggingface_hub: licence, base model, and the scores of the final variant."""
    from huggingface_hub import ModelCardData

    p = experiment.params
    license_id = p["fetch_model"]["license"].strip().lower()
    is_spdx = re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license_id) is not None
    scheme, _, address = p["fetch_model"]["uri"].partition("://")
    card = ModelCardData(
        model_name=p["report"]["title"],
        license=license_id if is_spdx else "other",
        license_name=None if is_spdx else p["fetch_model"]["license"],
        base_model=address.partition("@")[0] if scheme == "hf" else None,
        library_name="transformers",
        pipeline_tag=_pipeline(experiment),
        tags=["clew"],
        eval_results=results(experiment),
        ignore_metadata_errors=False,
    )
    return card.to_yaml().strip()


def _pipeline(experiment: Experiment) -> str:
    """What the model is for, as hubs call it: a decoder writes; an encoder's tasks are all of one kind."""
    if experiment.params["model"]["kind"] == "decoder":
        return "text-generation"
    kinds = {experiment.params["prepare"]["tasks"].get(task, {}).get("kind", "") for task in experiment.tasks}
    return KINDS.get(min(kinds, default=""), "other")


def results(experiment: Experiment) -> list[EvalResult]:
    """The final variant's scores on every task, rounded as in metrics/quality.json."""
    from huggingface_hub import EvalResult

    tasks = experiment.params["prepare"]["tasks"]
    found = []
    for task in experiment.tasks:
        declared = tasks.get(task, {})
        for name, entry in sorted(experiment.quality.get(experiment.final, {}).get(task, {}).items()):
            if entry.get("value") is not None:
                found.append(
                    EvalResult(
                        task_type=KINDS.get(declared.get("kind", ""), "other"),
                        dataset_type=declared.get("source", task),
                        dataset_name=task,
                        dataset_split="test",
                        metric_type=name,
                        metric_value=entry["value"],
                    )
                )
    return found


def values(experiment: Experiment) -> Mapping[str, Any]:
    """What the card's template shows."""
    p = experiment.params
    return {
        "title": p["report"]["title"],
        "use": p["report"]["intended_use"],
        "final": experiment.final,
        "model": pipeline.build(experiment)["model"],
        "sources": pipeline.build(experiment)["sources"],
        "total": data.build(experiment)["total"],
        "trained": pipeline.model_lane(p),
        "variants": experiment.variants,
        "scores": [_line(experiment, task) for task in experiment.tasks],
        "audits": [fairness.summary(experiment, audit) for audit in fairness.audits(experiment)],
        "limits": limits.build(experiment),
        "weights": [d for d in experiment.digests if d.path.startswith("models/")],
    }


def _line(experiment: Experiment, task: str) -> dict[str, Any]:
    """One task's primary metric for every variant."""
    name = verdicts.primary(experiment, task)
    metric = words.metric(name) if name else words.Metric("no metric", "plain", "")
    cells = []
    for variant in experiment.variants:
        _, entry, verdict = verdicts.of_task(experiment, variant, task)
        interval = words.interval(entry, metric.kind)
        shown = words.number(entry.get("value"), metric.kind) + (f" ({interval})" if interval else "")
        cells.append(shown + (f", {verdict.words}" if verdict.parent else ""))
    return {"task": words.plain_name(task), "metric": metric.label, "cells": cells}


def escape(value: Any) -> Any:
    """Text as Markdown that shows it: nothing in it makes a heading, a table cell, a link or a tag.

    >>> str(escape("a|b <i>"))
    'a\\\\|b \\\\<i\\\\>'
    """
    if isinstance(value, Markdown) or not isinstance(value, str):
        return value
    return Markdown(re.sub(r"([\\`*_{}\[\]<>#|~!&])", r"\\\1", " ".join(value.split())))


def code(value: str) -> Markdown:
    """Text in a code span; a backtick would end it, so it becomes an apostrophe, and a bar would end a table's cell."""
    return Markdown(f"`{' '.join(value.split()).replace('`', chr(39)).replace('|', chr(0xA6))}`")
