"""limits: what a reader could take this page to say and it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        "preferences": preferences(p),
        "compared": n,
        "by_chance": words.number(round(n * (1 - p["evaluate"]["confidence"]), 1)),
        "confidence": words.number(p["evaluate"]["confidence"] * 100, "count"),
        "attributes": sorted({words.plain_name(audit["attribute"]) for audit in p["fairness"]["audits"]}),
        "noise": [words.plain_name(task) for task in doubted["tasks"]],
    }


def preferences(p: Mapping[str, Any]) -> list[str]:
    """Whose preferences the aligned model learned, in sentences; none where nothing was aligned."""
    align = p["align"]
    if not align["enabled"]:
        return []
    terms = [term["kind"] for term in align[align["algorithm"]].get("rewards", ())]
    if not terms:
        return pairs(p, align["tasks"])
    said = ["The model learned from rewards for answers that it wrote itself. No person read those answers."]
    return said + (pairs(p, p["reward"]["tasks"]) if "model" in terms else [])


def pairs(p: Mapping[str, Any], tasks: Sequence[str]) -> list[str]:
    """Where the preferred and the rejected answers of tasks come from."""
    origins = {
        "ratings": "The preference pairs ({}) come from people’s ratings.",
        "text": "The preference pairs ({}) are as their source has them; who preferred what is not known here.",
        "": "The preference pairs ({}) are right answers against wrong ones, made from exam keys and labels."
        " No person was asked which answer they prefer.",
    }
    kinds = {task: p["prepare"]["tasks"].get(task, {}).get("kind", "") for task in tasks}
    found = {
        origin: [words.plain_name(task) for task, kind in kinds.items() if (kind if kind in origins else "") == origin]
        for origin in origins
    }
    return [origins[origin].format(", ".join(names)) for origin, names in found.items() if names]
