"""fairness: is the favourable outcome shared out alike in what each variant predicts?

Reads data/predictions/<variant>.parquet. Writes metrics/fairness.json and the table of the group bars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clew import io, paths
from clew.evaluation import intervals, predictions
from clew.fairness import groups, measures

if TYPE_CHECKING:
    from clew import params


def run(fairness: params.Fairness, predict: params.Predict, seed: int) -> dict[str, Any]:
    """Audit every variant of `predict`."""
    found = predictions.read(predict.variants)
    measured: dict[str, dict[str, dict[str, Any]]] = {}
    for variant, rows in found.items():
        tasks = measured.setdefault(variant, {})
        for index, audit in enumerate(fairness.audits):
            where = f"params.yaml: fairness.audits[{index}]"
            tasks.setdefault(audit.task, {})[audit.attribute] = _audit(audit, rows, fairness, seed, where)
    io.write_json(paths.FAIRNESS, measured)
    io.write_csv(
        paths.FAIRNESS_PLOT,
        ["variant", "task", "attribute", "measure", "group", "value", "low", "high"],
        _table(measured),
    )
    return {}


def _audit(
    audit: params.Audit, rows: Sequence[groups.Row], fairness: params.Fairness, seed: int, where: str
) -> dict[str, Any]:
    """The measures of one variant for one audit, the number of rows of each group, and what was asked."""
    members = groups.members(audit, rows, where=where)
    measured = measures.measure(
        groups.favorable(audit, members.rows, "label", where=where),
        groups.favorable(audit, members.rows, "prediction", where=where),
        members.privileged,
        (audit.privileged, audit.unprivileged),
        resamples=fairness.resamples,
        confidence=fairness.confidence,
        rng=intervals.generator(seed, f"{audit.task}/{audit.attribute}"),
    )
    measured["n"] = {
        audit.privileged: int(members.privileged.sum()),
        audit.unprivileged: int((~members.privileged).sum()),
        "neither": members.neither,
    }
    measured["audit"] = groups.described(audit)
    return measured


def _table(measured: dict[str, dict[str, dict[str, Any]]]) -> Iterator[list[Any]]:
    """Lines of the plot: a number a group, then the differences, whose group is `unprivileged vs privileged`."""
    for variant, tasks in measured.items():
        for task, attributes in tasks.items():
            for attribute, found in attributes.items():
                key = [variant, task, attribute]
                for name in measures.BY_GROUP:
                    for group, entry in found[name].items():
                        yield [*key, name, group, entry["value"], entry.get("low"), entry.get("high")]
                pair = f"{found['audit']['unprivileged']} vs {found['audit']['privileged']}"
                for name in measures.DIFFERENCES:
                    if found[name]["value"] is not None:
                        entry = found[name]
                        yield [*key, name, pair, entry["value"], entry["low"], entry["high"]]
