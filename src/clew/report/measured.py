"""A figure of one or more models on one axis, with its interval and what it is judged against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from clew.report import charts, verdicts, words

Entry = Mapping[str, Any]
"""{value, low, high, n, reason}, as metrics/*.json has it."""


class Mark(NamedTuple):
    """A value to be judged against: 0.5, "guessing", "guessing which answer was chosen is right in half"."""

    value: float
    name: str
    means: str


def card(
    title: str, means: str, rows: Mapping[str, Entry], n: int, metric: words.Metric, mark: Mark | None = None
) -> dict[str, Any]:
    """What `measured` of charts.html draws. rows: name → entry; with `vs_sft` judged by that, else by the mark."""
    known = [entry[key] for entry in rows.values() for key in ("value", "low", "high") if entry.get(key) is not None]
    scale = charts.around(known, include=[mark.value] if mark else [])
    return {
        "title": title,
        "means": means,
        "n": n,
        "lower": metric.lower_is_better,
        "scale": scale,
        "ticks": [(tick, words.number(tick, metric.kind).replace(".0", "")) for tick in scale.ticks(4)],
        "mark": mark.value if mark else None,
        "mark_means": mark.means if mark else "",
        "rows": [_row(name, entry, metric, mark) for name, entry in rows.items()],
    }


def _row(name: str, entry: Entry, metric: words.Metric, mark: Mark | None) -> dict[str, Any]:
    against: Entry = {}
    if "vs_sft" in entry:
        against = {"parent": "sft", **entry["vs_sft"]}
    elif mark and entry.get("low") is not None:
        against = {"parent": mark.name, **{key: entry[key] - mark.value for key in ("low", "high")}}
    verdict = verdicts.verdict({"vs_parent": against}, lower_is_better=metric.lower_is_better)
    difference = ""
    if "vs_sft" in entry and verdict.difference is not None:
        by, p = words.difference(verdict.difference, metric.kind), words.p_value(verdict.p)
        bounds = words.difference_interval(against, metric.kind)
        difference = f"{by}" + (f" ({bounds})" if bounds else "") + (f", {p}" if p else "")
    return {
        "name": name,
        "n": entry.get("n"),
        "entry": entry,
        "shown": words.number(entry.get("value"), metric.kind),
        "interval": words.interval(entry, metric.kind),
        "verdict": verdict,
        "told": f"no difference from {verdict.parent} shown" if verdict.tone == "same" else verdict.against,
        "difference": difference,
        "reason": entry.get("reason") or verdict.reason,
    }
