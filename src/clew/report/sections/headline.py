"""headline: the finding in two sentences, then each step of the chain against the one before, then fairness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clew.report import charts, verdicts, words
from clew.report.experiment import Experiment
from clew.report.sections import fairness, quality

STEPS = {
    "sft": "Fine-tuning",
    "aligned": "Alignment",
    "int8": "Compression to 8 bits",
}


def build(experiment: Experiment) -> Mapping[str, Any]:
    """Cards for the steps that were compared with their parents, and one for each audit."""
    steps = [step(experiment, variant) for variant in experiment.variants if variant != "base"]
    audits = [fairness.summary(experiment, audit) for audit in fairness.audits(experiment)]
    return {
        "finding": finding(steps),
        "fair": fair(audits),
        "steps": steps,
        "audits": audits,
        "confidence": words.number(experiment.params["evaluate"]["confidence"] * 100, "count"),
        "use": experiment.params["report"]["intended_use"],
    }


def step(experiment: Experiment, variant: str) -> dict[str, Any]:
    """One step: its verdict for every task; all whose differences are points share one axis."""
    found = [(task, *verdicts.of_task(experiment, variant, task)) for task in experiment.tasks]
    parents = [verdict.parent for *_, verdict in found if verdict.parent]
    parent = parents[0] if parents else None
    shared = charts.balanced(
        [value for _, name, _, verdict in found if _in_points(name) for value in reach(name, verdict)]
    )
    return {
        "variant": variant,
        "title": STEPS.get(variant, words.plain_name(variant)),
        "parent": parent,
        "rows": [_row(experiment, parent, one, shared) for one in found],
        "scale": shared,
        "ticks": [
            (tick, words.difference(tick, "score").replace(".0", "") if tick else "0") for tick in shared.ticks(5)
        ],
        "sentence": sentence([(task, name, verdict) for task, name, _, verdict in found]),
        "passed_through": variant == "aligned" and not experiment.params["align"]["enabled"],
        "size": _size(experiment, variant, parent),
        "gamed": variant == "aligned" and bool(experiment.training["align"].get("warnings")),
    }


def _row(
    experiment: Experiment,
    parent: str | None,
    found: tuple[str, str | None, Mapping[str, Any], verdicts.Verdict],
    shared: charts.Scale,
) -> dict[str, Any]:
    task, name, entry, verdict = found
    metric = words.metric(name) if name else words.Metric("no metric", "plain", "")
    reached = reach(name, verdict)
    before = verdicts.of_task(experiment, parent, task)[1] if parent else {}
    return {
        "task": words.plain_name(task),
        "metric": metric.label,
        "n": entry.get("n"),
        "verdict": verdict,
        "before": words.number(before.get("value"), metric.kind),
        "after": words.number(entry.get("value"), metric.kind),
        "difference": words.difference(verdict.difference, metric.kind),
        "interval": words.difference_interval({"low": verdict.low, "high": verdict.high}, metric.kind),
        "p": words.p_value(verdict.p),
        "drawn": dict(zip(("value", "low", "high"), reached, strict=False)) if reached else {},
        "scale": shared if _in_points(name) else charts.balanced(reached),
        **_alone(experiment, task, name, metric, entry),
    }


def _alone(
    experiment: Experiment, task: str, name: str | None, metric: words.Metric, entry: Mapping[str, Any]
) -> dict[str, Any]:
    """The score itself, for a step that has nothing to be compared with, beside always giving the commonest answer."""
    commonest = quality.majority(experiment, task) if name == "accuracy" else None
    known = [entry[key] for key in ("value", "low", "high") if entry.get(key) is not None]
    return {
        "entry": entry,
        "own_scale": quality.axis(metric, [*known, *([commonest[1]] if commonest else [])]),
        "own_interval": words.interval(entry, metric.kind),
        "majority": commonest,
        "majority_shown": words.number(commonest[1], "share") if commonest else "",
    }


def _in_points(name: str | None) -> bool:
    """Whether a metric's differences are points of a hundred: shares are, and scores from 0 to 100."""
    return name is not None and words.metric(name).kind in ("share", "score")


def reach(name: str | None, verdict: verdicts.Verdict) -> list[float]:
    """The difference and its bounds as they are drawn, shares in points; [] where there is none."""
    if verdict.difference is None:
        return []
    factor = 100 if name and words.metric(name).kind == "share" else 1
    bounds = [verdict.low, verdict.high] if verdict.low is not None and verdict.high is not None else []
    return [factor * value for value in (verdict.difference, *bounds)]


def _size(experiment: Experiment, variant: str, parent: str | None) -> str:
    ours = verdicts.entry(experiment, variant, verdicts.MODEL, "size_bytes").get("value")
    theirs = verdicts.entry(experiment, parent or "", verdicts.MODEL, "size_bytes").get("value")
    if ours is None or theirs is None or words.size(ours) == words.size(theirs):
        return ""
    share = words.number(100 * ours / theirs, "count")
    return f"It takes {words.size(ours)} on disk, {share}{words.NARROW}% of {parent}’s {words.size(theirs)}."


def sentence(found: Sequence[tuple[str, str | None, verdicts.Verdict]]) -> str:
    """What a step did, task by task: "better on stress (+17.5 points); no difference shown on exam"."""
    parts = []
    for tone in ("better", "worse", "same", "unknown"):
        ours = [(task, name, verdict) for task, name, verdict in found if verdict.tone == tone]
        told = [_told(*one) if tone in ("better", "worse") else words.plain_name(one[0]) for one in ours]
        if told:
            parts.append(f"{verdicts.WORDS[tone]} on {words.listed(told)}")
    return "; ".join(parts) + "." if parts else "no task was measured."


def _told(task: str, name: str | None, verdict: verdicts.Verdict) -> str:
    kind = words.metric(name).kind if name else "plain"
    return f"{words.plain_name(task)} ({words.difference(verdict.difference, kind)})"


def finding(steps: Sequence[Mapping[str, Any]]) -> str:
    """What the first step did, as the page's first sentence."""
    if not steps:
        return "Only the base model was measured, so there is nothing to compare."
    first = steps[0]
    if first["parent"] is None:
        scores = [f"{row['metric']} {row['after']} on {row['task']}" for row in first["rows"] if row["entry"]]
        return (
            f"{first['title']}, with no other model to compare it with: {words.listed(scores) or 'nothing measured'}."
        )
    return f"{first['title']} against the {first['parent']} model: {first['sentence']}"


def fair(audits: Sequence[Mapping[str, Any]]) -> str:
    """What the audits of the final model found, as the page's second sentence."""
    if not audits:
        return "Fairness between groups was not measured."
    by_tone = {tone: [audit["title"] for audit in audits if audit["tone"] == tone] for tone in ("shown", "same", "")}
    said = {
        "shown": "a difference between groups is shown in {}",
        "same": "none is shown in {}, which is no proof that there is none",
        "": "{} could not be measured",
    }
    parts = [said[tone].format(words.listed(titles)) for tone, titles in by_tone.items() if titles]
    text = "; ".join(parts)
    if not by_tone["shown"]:
        text = text.replace("none is shown", "no difference between groups is shown", 1)
    return f"Fairness of {audits[0]['variant']}: {text}."
