"""fairness: for each audit, how often each group gets the favourable outcome, and AIF360's measures in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clew.report import charts, words
from clew.report.experiment import Experiment

CORRECT = "correct"
RATE = "selection_rate"
DIFFERENCE = "statistical_parity_difference"


@dataclass(frozen=True)
class Measure:
    """A measure between two groups. `even` is its value when nothing differs; None where it cannot be even."""

    label: str
    kind: words.Kind
    even: float | None
    means: str


MEASURES = {
    DIFFERENCE: Measure(
        "statistical parity difference",
        "share",
        0.0,
        "How much more often rows of “{ours}” get the outcome than rows of “{theirs}”, whatever their labels say.",
    ),
    "disparate_impact": Measure(
        "disparate impact",
        "plain",
        1.0,
        "The same as a ratio. By the four-fifths rule of US employment law, below 0.8 calls for a reason.",
    ),
    "equal_opportunity_difference": Measure(
        "equal opportunity difference",
        "share",
        0.0,
        "The same among the rows whose label is that outcome: who is recognised more often.",
    ),
    "average_odds_difference": Measure(
        "average odds difference",
        "share",
        0.0,
        "The mean of the differences in the rates of right and of wrong outcomes. Two differences with opposite "
        "signs cancel here: read it only beside the next one.",
    ),
    "average_abs_odds_difference": Measure(
        "absolute average odds difference",
        "share",
        None,
        "The same mean without the signs, so that nothing cancels. Never below 0, and noise alone pushes it up.",
    ),
}
"""AIF360's measures, in the order in which they are read."""


@dataclass(frozen=True)
class Audit:
    """Who is compared on what; `n` holds the rows of each group and of `neither`."""

    task: str
    attribute: str
    privileged: str
    unprivileged: str
    favorable: str
    n: Mapping[str, int]

    @property
    def outcome(self) -> str:
        """The favourable outcome as words that follow "the share of … that get"."""
        return "the right answer" if self.favorable == CORRECT else f"“{self.favorable}”"


def audits(experiment: Experiment) -> list[Audit]:
    """The audits that were made, as metrics/fairness.json describes them."""
    found: dict[tuple[str, str], Audit] = {}
    for variant in experiment.variants:
        for task, attributes in experiment.fairness.get(variant, {}).items():
            for attribute, measured in attributes.items():
                asked = measured["audit"]
                found.setdefault(
                    (task, attribute),
                    Audit(
                        task, attribute, asked["privileged"], asked["unprivileged"], asked["favorable"], measured["n"]
                    ),
                )
    return list(found.values())


def build(experiment: Experiment) -> Mapping[str, Any]:
    """For each audit: bars by variant and group, a table of measures by variant, and the training labels' bias."""
    return {
        "audits": [of_audit(experiment, audit) for audit in audits(experiment)],
        "confidence": words.number(experiment.params["fairness"]["confidence"] * 100, "count"),
    }


def of_audit(experiment: Experiment, audit: Audit) -> dict[str, Any]:
    """One audit, ready to be drawn."""
    scale = charts.Scale(0.0, 1.0)
    measured = {variant: _measured(experiment, variant, audit) for variant in experiment.variants}
    return {
        "audit": audit,
        "title": f"{words.plain_name(audit.task)} by {words.plain_name(audit.attribute)}",
        "scale": scale,
        "groups": [audit.unprivileged, audit.privileged],
        "bars": [(variant, bars(found, audit)) for variant, found in measured.items()],
        "measures": [measure_line(name, audit, measured) for name in MEASURES],
        "reasons": reasons(measured),
        "training": training(experiment, audit),
        "variants": experiment.variants,
    }


def bars(measured: Mapping[str, Any], audit: Audit) -> list[dict[str, Any]]:
    """For each group: its rate of the favourable outcome with interval, the rate in the right answers, and n."""
    found = []
    for group in (audit.unprivileged, audit.privileged):
        rate = measured.get(RATE, {}).get(group, {})
        wanted = measured.get("base_rate", {}).get(group, {}).get("value")
        found.append(
            {
                "group": group,
                "n": audit.n.get(group, 0),
                "rate": rate,
                "shown": words.number(rate.get("value"), "share"),
                "interval": words.interval(rate, "share"),
                "wanted": wanted if audit.favorable != CORRECT else None,
                "wanted_shown": words.number(wanted, "share"),
                "accuracy": words.number(measured.get("accuracy", {}).get(group, {}).get("value"), "share"),
            }
        )
    return found


def measure_line(name: str, audit: Audit, measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One measure of every variant, with the axis that they share."""
    measure = MEASURES[name]
    entries = {variant: found.get(name, {}) for variant, found in measured.items()}
    values = [e[key] for e in entries.values() for key in ("value", "low", "high") if e.get(key) is not None]
    even = 0.0 if measure.even is None else measure.even
    return {
        "label": measure.label,
        "means": measure.means.format(ours=audit.unprivileged, theirs=audit.privileged),
        "even": measure.even,
        "scale": charts.around(values, include=[even]),
        "cells": [cell(variant, entry, measure) for variant, entry in entries.items()],
    }


def cell(variant: str, entry: Mapping[str, Any], measure: Measure) -> dict[str, Any]:
    """A figure of the table of measures; `tone` is "shown" when its interval leaves out the even value."""
    signed = measure.kind == "share" and measure.even is not None
    return {
        "variant": variant,
        "entry": entry,
        "shown": words.difference(entry.get("value"), "share").removesuffix(" points")
        if signed
        else words.points(entry.get("value"))
        if measure.kind == "share"
        else words.number(entry.get("value")),
        "interval": words.difference_interval(entry, "share")
        if signed
        else words.points_interval(entry)
        if measure.kind == "share"
        else words.interval(entry),
        "tone": tone(entry, measure),
        "reason": entry.get("reason", ""),
    }


def tone(entry: Mapping[str, Any], measure: Measure) -> str:
    """Whether the interval leaves out evenness: "shown", "same", or "" where that cannot be said."""
    low, high = entry.get("low"), entry.get("high")
    if measure.even is None or low is None or high is None:
        return ""
    return "shown" if low > measure.even or high < measure.even else "same"


def reasons(measured: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(measures, variants, reason) for every figure that could not be had, so that a dash is never unexplained."""
    variants_of: dict[tuple[str, str], list[str]] = {}
    for variant, of_variant in measured.items():
        for name, measure in MEASURES.items():
            reason = of_variant.get(name, {}).get("reason")
            if reason:
                variants_of.setdefault((measure.label, reason), []).append(variant)
    labels_of: dict[tuple[str, str], list[str]] = {}
    for (label, reason), variants in variants_of.items():
        labels_of.setdefault((words.listed(variants), reason), []).append(label)
    return [(words.listed(labels), variants, reason) for (variants, reason), labels in labels_of.items()]


def training(experiment: Experiment, audit: Audit) -> dict[str, str] | None:
    """The difference in the training labels before and after balance, where balance looked at the same groups."""
    found = experiment.data_bias.get(audit.task, {}).get(audit.attribute)
    if not found or found.get("audit", {}).get("privileged") != audit.privileged:
        return None
    before, after = (found[when].get("mean_difference", {}).get("value") for when in ("before", "after"))
    return {"before": words.difference(before, "share"), "after": words.difference(after, "share")}


def summary(experiment: Experiment, audit: Audit) -> dict[str, Any]:
    """What the lead must know of an audit: the final variant's rates, their difference, and whether it is shown."""
    variant = experiment.final
    measured = _measured(experiment, variant, audit)
    entry = measured.get(DIFFERENCE, {})
    return {
        "title": f"{words.plain_name(audit.task)} by {words.plain_name(audit.attribute)}",
        "variant": variant,
        "audit": audit,
        "bars": bars(measured, audit),
        "scale": charts.Scale(0.0, 1.0),
        "entry": entry,
        "difference": words.difference(entry.get("value"), "share"),
        "interval": words.difference_interval(entry, "share"),
        "tone": tone(entry, MEASURES[DIFFERENCE]),
        "odds": words.points(measured.get("average_abs_odds_difference", {}).get("value")),
        "odds_interval": words.points_interval(measured.get("average_abs_odds_difference", {})),
    }


def _measured(experiment: Experiment, variant: str, audit: Audit) -> Mapping[str, Any]:
    found: Mapping[str, Any] = experiment.fairness.get(variant, {}).get(audit.task, {}).get(audit.attribute, {})
    return found
