"""training: what each trainer trained, on which rows, and how its loss fell (metrics/plots/<stage>_loss.csv).

The rows as fed are those of data/fed/<stage>.parquet, and why others were not is in data/ledger/<stage>.parquet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clew.report import curves, words
from clew.report.experiment import TRAINERS, Experiment
from clew.report.sections import pipeline

TITLES = {"sft": "Fine-tuning", "reward": "Reward model", "align": "Alignment"}
NAMES = {"train": "training rows", "valid": "validation rows"}
OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop", "adafactor": "Adafactor"}
REASONS = {
    "limit": "beyond the number asked for",
    "other_task": "of other tasks",
    "duplicate": "the same row again",
    "too_long": "too long",
    "no_rejected_answer": "without a rejected answer",
    "empty_answer": "with an empty answer",
    "same_answers": "whose two answers are the same",
}
"""Rules of the trainers' ledgers, for rows that were not fed."""


def build(experiment: Experiment) -> Mapping[str, Any]:
    """For each trainer that ran its facts and its curve; a sentence for alignment that was switched off."""
    ran = [stage for stage in TRAINERS if experiment.params[stage].get("enabled", True)]
    can = experiment.params["model"]["kind"] == "decoder"
    off = [] if "align" in ran or not can else ["Alignment was switched off: the aligned model is the fine-tuned one."]
    return {"trained": [of_stage(experiment, stage) for stage in ran], "off": off}


def of_stage(experiment: Experiment, stage: str) -> dict[str, Any]:
    """A trainer's facts, and its curve or None where no loss is finite."""
    table = experiment.losses[stage]
    splits = list(dict.fromkeys(row["split"] for row in table))
    found = {split: curves.points([row for row in table if row["split"] == split], "loss") for split in splits}
    series = {NAMES.get(split, words.plain_name(split)): points for split, points in found.items() if points}
    below = "Across: optimiser steps. Up: loss; lower is better."
    return {
        "title": TITLES[stage],
        "facts": [(name, said) for name, said in facts(experiment, stage) if said],
        "chart": curves.chart(TITLES[stage], series, below) if series else None,
    }


def facts(experiment: Experiment, stage: str) -> Iterator[tuple[str, str]]:
    """(what, how) of a trainer: what was asked for, what was fed, and where it got; "" where that is not known."""
    asked, got = experiment.params[stage], experiment.training[stage]
    if stage == "align":
        yield "learned by", algorithm(asked)
    yield "method", pipeline.method(asked)
    if found := got.get("parameters"):
        share, of_all = words.number(found["share"], "share"), f"{words.number(found['all'], 'count')} parameters"
        part = f"{share} of {of_all} ({words.number(found['trained'], 'count')})"
        yield "trained", part if found["trained"] < found["all"] else f"all {of_all}"
    yield "optimizer", optimizer(asked)
    yield "a step", step(experiment, stage)
    if got.get("steps"):
        yield "steps", words.number(got["steps"], "count") + (", stopped early" if got.get("stopped_early") else "")
    yield "rows fed", fed(experiment, stage)
    yield "tokens", tokens(experiment, stage)
    yield "not fed", left_out(experiment, stage)
    best = got.get("valid_loss") or {}
    if best.get("best") is not None:
        at = f"{words.number(best['best'])} at step {words.number(best['best_step'], 'count')}"
        yield "validation loss", f"{words.number(best['before'])} before; best {at}, which was kept"
    if best.get("on_full_base") is not None:
        yield "after merging", f"validation loss {words.number(best['on_full_base'])} on the base that is not quantised"
    if "reward_accuracy" in got:
        right = words.number(got["reward_accuracy"], "share")
        yield "last pairs", f"wanted answer preferred in {right}, over the last quarter of the steps"


def algorithm(align: Mapping[str, Any]) -> str:
    """How alignment learns, in a few words."""
    own = align[align["algorithm"]]
    name = align["algorithm"].upper() + (f" ({own['loss']} loss)" if "loss" in own else "")
    if "rewards" not in own:
        return f"{name}, beta {own['beta']:g}"
    terms = [f"{term['weight']:g} × {term.get('function', term['kind'])}" for term in own["rewards"]]
    return f"{name}, beta {own['beta']:g}; reward: {words.listed(terms)}"


def optimizer(asked: Mapping[str, Any]) -> str:
    """The optimizer and how its learning rate goes."""
    warmup = asked["warmup"]
    rises = (
        f"{words.number(warmup, 'share').replace('.0', '')} of the steps"
        if isinstance(warmup, float)
        else f"{warmup} steps"
    )
    name = OPTIMIZERS.get(asked["optimizer"], words.plain_name(asked["optimizer"]))
    rate = f"{name}, learning rate {asked['learning_rate']:g} at most, {words.plain_name(asked['schedule'])}"
    return rate + (f", rising over {rises}" if warmup else "")


def step(experiment: Experiment, stage: str) -> str:
    """What the model learns from at once, and how much of it is computed at a time."""
    asked = experiment.params[stage]
    what = {"sft": "row", "reward": "pair"}.get(stage, pipeline.UNITS.get(asked.get("algorithm"), "answer"))
    what = "sequence" if asked.get("packing") == "bfd" else what
    at_once, size = asked["micro_batch_size"], words.plural(asked["batch_size"], what)
    if at_once == "auto":
        return f"{size}, as many at a time as fit into memory"
    return f"{size}, {'all' if at_once == asked['batch_size'] else at_once} at a time"


def fed(experiment: Experiment, stage: str) -> str:
    """How many rows the data loader fed, how often, and how many of them were cut."""
    found = experiment.fed.get(stage)
    if found is None or not found.rows:
        return ""
    often = f"{found.least} to {found.most}" if found.least < found.most else str(found.most)
    times = {"1": "once each", "2": "twice each"}.get(often, f"{often} times each")
    end = "their end" if experiment.params["model"]["kind"] == "encoder" else "the middle of their prompt"
    cut = f"; {words.number(found.cut, 'count')} of them without {end} (too long)" if found.cut else ""
    return f"{words.number(found.rows, 'count')}, {times}{cut}"


def tokens(experiment: Experiment, stage: str) -> str:
    """Tokens that were read, padding aside, and those that were learned; a reward model learns of whole answers."""
    found = experiment.fed.get(stage)
    if found is None or not found.tokens:
        return ""
    read = f"{words.number(found.tokens, 'count')} read"
    learned = words.number(found.tokens - found.masked, "count")
    return read if stage == "reward" else f"{read}, {learned} of them learned"


def left_out(experiment: Experiment, stage: str) -> str:
    """The training rows that were not fed, by reason."""
    found: dict[str, int] = {}
    for one in experiment.taught:
        if one.stage == stage and one.decision == "dropped":
            found[one.rule or ""] = found.get(one.rule or "", 0) + one.n
    order = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{words.number(n, 'count')} {REASONS.get(rule, words.plain_name(rule))}" for rule, n in order)
