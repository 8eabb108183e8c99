"""data: each source's records from the raw file to train, validation and test, counted from the ledgers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from clew.report import charts, words
from clew.report.cleaned import ORDER
from clew.report.experiment import STAGES, Experiment
from clew.report.sections import pipeline

RATED = "rated"
UNPAIRED = {"below_min_gap", "few_raters", "single_answer", "rated_twice"}
"""Rules of `prepare` for records that are ratings: in a pair, or declared not to make one."""

RULES = {
    "rated": "the rating is in a pair that another record made",
    "below_min_gap": "the best and the worst answer are rated nearly alike (min_gap)",
    "few_raters": "too few people rated the answer (min_raters)",
    "single_answer": "the only answer to its prompt that can be compared",
    "rated_twice": "the same person rated the same answer before",
    "missing": "a field that is needed is empty",
    "hygiene": "damaged characters, invisible signs or markup",
    "length": "too short or too long",
    "language": "probably another language than those expected",
    "repetition": "repeats itself",
    "refusal": "an answer that refuses, or boiler-plate",
    "truncated": "an answer that breaks off",
    "personal_data": "holds personal data; shown as it was left",
    "toxicity": "a classifier calls it toxic",
    "duplicates": "the same text came before",
    "contradictions": "the same text with different labels",
    "near_duplicates": "nearly the same text came before",
    "relevance": "far from what the model is for",
    "mismatch": "the answer does not fit the question",
    "outliers": "unlike all others of its task",
    "annotators": "the label is now what several people agree on",
    "label_noise": "a classifier doubts the label",
    "token_labels": "a classifier doubts a word's tag",
    "preferences": "the rejected answer may be the better one",
    "review": "a person decided",
    "unwanted": "an answer that was not wanted, which nothing is tested by and sft does not imitate",
    "limit": "beyond the number of rows asked for (split.limits)",
    "leak": "nearly the same text is in validation or test",
    "contamination": "shares phrases with a test text that is mostly in train",
    "score": "rows of its task and label scored better (select.score)",
    "diversity": "kept rows are like it (select.diversity)",
    "sample": "not drawn (select.keep)",
    "synonyms": "a copy with other words",
    "typos": "a copy with typos",
    "prompts": "a copy that is asked otherwise",
    "upsample": "a copy, to even out labels or sources",
    "reweighing": "weighs more or less, so that label and group are independent",
}
"""What the rules of the stages mean; the reasons of `prepare` stand as they are."""

ACTIONS = {"drop": "dropped", "downweight": "kept with less weight", "review": "kept for review"}

SIDES = ("train", "valid", "test")
PARTS = (*SIDES, "in a pair", "left out", "cleaned away", "unfit")
"""The parts of a source's bar, in order; also the names of their colours in style.css."""


def build(experiment: Experiment) -> Mapping[str, Any]:
    """A bar for each source, a table of the same numbers, and what each rule did."""
    found = {d.source for d in experiment.decisions}
    declared = [name for name in experiment.params["fetch_data"]["sources"] if name in found]
    names = [*declared, *sorted(found - set(declared))]
    sources = [of_source(experiment, name) for name in names]
    total: Counter[str] = Counter()
    for source in sources:
        total.update(source["counts"])
    return {
        "parts": PARTS,
        "columns": ["records", *(part for part in (*PARTS[::-1][:-3], *SIDES) if part != "in a pair" or total[part])],
        "sources": sources,
        "total": total,
        "rules": rules(experiment),
        "ratings": ratings(experiment),
        "noise": noise(experiment),
        "leaks": experiment.split.get("leakage", {}),
        "contaminated": experiment.split.get("contamination", {}),
    }


def of_source(experiment: Experiment, source: str) -> dict[str, Any]:
    """Where a source's records are now. The parts sum to `records`."""
    ours = [d for d in experiment.decisions if d.source == source]
    counts: Counter[str] = Counter(dict.fromkeys((*PARTS, "records"), 0))
    for d in ours:
        if d.stage == "prepare":
            counts["records"] += d.n
        dropped = d.decision == "dropped"
        if d.stage == "split":
            counts["left out" if dropped else d.detail or "kept"] += d.n
        elif dropped and d.stage == "select":
            counts["train"] -= d.n
            counts["left out"] += d.n
        elif dropped and d.stage == "prepare":
            counts["in a pair" if d.rule == RATED else "left out" if d.rule in UNPAIRED else "unfit"] += d.n
        elif dropped and d.stage == "clean":
            counts["cleaned away"] += d.n
    return {
        "name": source,
        "tasks": pipeline.tasks_of(experiment, source),
        "counts": counts,
        "bar": charts.stack([(part, counts[part]) for part in PARTS]),
        "label": f"{source}: " + ", ".join(f"{counts[part]} {part}" for part in PARTS if counts[part]),
    }


def rules(experiment: Experiment) -> list[dict[str, Any]]:
    """What was dropped, changed or sent to review, in the order of stages and rules, with the number for each source.

    Of `clean` the numbers are those of metrics/clean.json: a row that two rules changed counts for both.
    """
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for d in sorted(experiment.decisions, key=lambda d: STAGES.index(d.stage)):
        if d.stage == "clean":
            found |= _cleaned(experiment)
        elif d.decision != "kept":
            found.setdefault((d.stage, d.rule or "", d.decision), Counter())[d.source] += d.n
    return [
        {
            "stage": stage,
            "rule": words.plain_name(rule),
            "decision": decision,
            "means": RULES.get(rule, ""),
            "n": counts.total(),
            "by_source": sorted(counts.items()),
        }
        for (stage, rule, decision), counts in found.items()
    ]


def _cleaned(experiment: Experiment) -> dict[tuple[str, str, str], Counter[str]]:
    """(stage, rule, what became of rows) → source → rows, in the order of the rules."""
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for rule in ORDER:
        for name, decision in (("dropped", "dropped"), ("changed", "changed"), ("review", "kept for review")):
            for task, counts in experiment.clean["by_task"].items():
                if n := counts[name].get(rule):
                    found.setdefault(("clean", rule, decision), Counter())[experiment.prepare[task]["source"]] += n
    return found


def ratings(experiment: Experiment) -> list[dict[str, Any]]:
    """What people's ratings of each such task made, and how far they agree."""
    return [
        {
            "task": words.plain_name(task),
            "records": found["records"],
            "prompts": found["ratings"]["prompts"],
            "pairs": found["ratings"]["pairs"],
            "alpha": found["ratings"]["alpha"],
        }
        for task, found in sorted(experiment.prepare.items())
        if "ratings" in found
    ]


def noise(experiment: Experiment) -> list[dict[str, Any]]:
    """What confident learning found in each task that it looked at. action: None where the classifier knows nothing."""
    return [
        {
            "task": words.plain_name(task),
            "accuracy": words.number(found["accuracy"], "share"),
            "doubted": found["doubted"],
            "n": found["n"],
            "action": ACTIONS.get(found["action"]),
            "why": found["why"],
        }
        for task, found in sorted(experiment.clean.get("label_noise", {}).items())
    ]
