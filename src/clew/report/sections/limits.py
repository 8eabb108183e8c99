"""limits: what a reader could take this page to say and it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clew.report import verdicts, words
from clew.report.experiment import Experiment


def build(experiment: Experiment) -> Mapping[str, Any]:
    """The sentences that hold for this run."""
    p = experiment.params
    compared = [
        verdicts.of_task(experiment, variant, task)[2] for variant in experiment.variants for task in experiment.tasks
    ]
    doubted = p["clean"]["label_noise"] or {"tasks": []}
    n = sum(1 for verdict in compared if verdict.parent)
    return {
        "seed": p["seed"],
        "random": p["fetch_model"]["random_init"] is not None,
        "aligned": p["align"]["enabled"],
        "pairs": [words.plain_name(task) for task in p["align"]["tasks"]],
        "compared": n,
        "by_chance": words.number(round(n * (1 - p["evaluate"]["confidence"]), 1)),
        "confidence": words.number(p["evaluate"]["confidence"] * 100, "count"),
        "attributes": sorted({words.plain_name(audit["attribute"]) for audit in p["fairness"]["audits"]}),
        "noise": [words.plain_name(task) for task in doubted["tasks"]],
    }
