"""The view as one self-contained page, in the report's look: its sheet and its charts are taken from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clew.history.compare import words as told
from clew.history.compare.costs import machine
from clew.history.compare.model import BETTER, SAME, WORSE, Entry, Number, Side, Verdict, View
from clew.history.compare.numbers import EVEN
from clew.report import charts, words
from clew.report import page as report

TEMPLATES = Path(__file__).parent / "templates"
TONES: dict[Verdict | None, str] = {BETTER: "better", WORSE: "worse", SAME: "same", None: "unknown"}


def render(view: View) -> str:
    """The page as HTML: a function of the view alone."""
    import jinja2

    env = report.environment()
    env.loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(TEMPLATES), jinja2.FileSystemLoader(report.TEMPLATES)])
    values = {
        "before": view.before.name,
        "revisions": [revision(side) for side in view.sides],
        "baseline": told.revision(view.before),
        "notes": view.notes,
        "asked": asked(view),
        "tasks": [card(view, name) for name in told.primary(_numbers(view)).values()],
        "gaps": [card(view, name) for name in _parities(view)],
        "table": every(view),
        "counted": told.counted(view),
    }
    return report.write(env, "compare.html", values)


def _numbers(view: View) -> list[Number]:
    return [number for side in view.sides for number in side.numbers]


def _parities(view: View) -> list[str]:
    names = (n.name for n in _numbers(view) if n.kind == "fairness" and n.metric == "statistical_parity_difference")
    return list(dict.fromkeys(names))


def revision(side: Side) -> dict[str, Any]:
    """What is told of one revision beside its numbers."""
    judged = [number for number in side.numbers if number.kind in ("quality", "fairness")]
    count = {verdict: sum(number.verdict == verdict for number in judged) for verdict in (BETTER, WORSE, SAME, None)}
    return {
        "name": side.after.name,
        "full": told.revision(side.after),
        "better": count[BETTER],
        "worse": count[WORSE],
        "same": count[SAME],
        "unknown": count[None],
        "notes": [*side.notes, *told.overlaps(side)],
        "data": told.data(side.data),
        "missing": side.data.missing,
        "code": [
            {"path": f.path, "said": told.file(f), "stages": told.stages(f.stages), "titles": told.titles(f, 6)}
            for f in side.code
        ],
        "why": [
            {
                "roots": told.listed(r.roots, 6),
                "kind": told.KINDS[r.kind],
                "stages": told.stages(r.stages),
                "end": told.end(r),
                "still": told.stages(r.ends_at),
            }
            for r in side.reaches
        ],
        "reasons": told.reasons(side),
        "costs": [(cost.stage, *told.cost(cost), _machines(cost)) for cost in side.costs],
    }


def _machines(cost: Any) -> str:
    return " → ".join(dict.fromkeys(machine(record) for record in (cost.before, cost.after) if record))


def asked(view: View) -> list[dict[str, Any]]:
    """A line a param that any revision has otherwise than the baseline."""
    by_side = [{param.name: param for param in side.params} for side in view.sides]
    lines = []
    for name in dict.fromkeys(name for params in by_side for name in params):
        first = next(told.sides(params[name])[0] for params in by_side if name in params)
        cells = [
            {"text": told.sides(params[name])[1], "late": told.stages(params[name].not_run)} if name in params else None
            for params in by_side
        ]
        lines.append({"name": name, "before": first, "cells": cells})
    return lines


def card(view: View, name: str) -> dict[str, Any]:
    """A number of every variant in every revision, on one axis."""
    found = [{n.variant: n for n in side.numbers if n.name == name} for side in view.sides]
    variants = list(dict.fromkeys(variant for numbers in found for variant in numbers))
    any_one = next(number for numbers in found for number in numbers.values())
    metric = words.metric(any_one.metric)
    entries = [entry for numbers in found for n in numbers.values() for entry in (n.before, n.after)]
    known = [entry[key] for entry in entries for key in ("value", "low", "high") if entry.get(key) is not None]
    even = EVEN.get(any_one.metric) if any_one.kind == "fairness" else None
    scale = charts.around(known, include=[] if even is None else [even])
    shape = told.kind(any_one)
    return {
        "title": words.plain_name(" by ".join(name.split(".")[:-1])),
        "metric": metric.label + (", lower is better" if metric.lower_is_better else ""),
        "n": max((entry["n"] for entry in entries if isinstance(entry.get("n"), int)), default=None),
        "scale": scale,
        "even": even,
        "ticks": [(tick, words.number(tick, shape).replace(".0", "")) for tick in scale.ticks(4)],
        "variants": [{"name": variant, "rows": rows(view, found, variant)} for variant in variants],
    }


def rows(view: View, found: Sequence[Mapping[str, Number]], variant: str) -> list[dict[str, Any]]:
    """The baseline's line, then a line a revision."""
    first = next((numbers[variant] for numbers in found if variant in numbers), None)
    lines = [_row(view.before.name, first, "before", first.before, None)] if first else []
    for side, numbers in zip(view.sides, found, strict=True):
        if variant in numbers:
            lines.append(_row(side.after.name, numbers[variant], "after", numbers[variant].after, numbers[variant]))
    return lines


def _row(name: str, number: Number, which: str, entry: Entry, judged: Number | None) -> dict[str, Any]:
    drawn = entry if isinstance(entry.get("value"), (int, float)) else {}
    return {
        "name": name,
        "entry": drawn,
        "tone": TONES[judged.verdict] if judged else "same",
        "shown": told.shown(number, which),
        "interval": words.interval(entry, told.kind(number)),
        "verdict": verdict(judged) if judged else None,
        "difference": told.difference(judged) if judged and judged.paired else "",
    }


def verdict(number: Number) -> dict[str, str]:
    """A verdict as the report's charts write one."""
    said = number.verdict or "no verdict"
    return {"tone": TONES[number.verdict], "mark": told.MARKS[number.verdict], "words": said}


def every(view: View) -> list[dict[str, Any]]:
    """A line a number, with what each revision has."""
    found: dict[tuple[str, str], list[Number | None]] = {}
    for index, side in enumerate(view.sides):
        for number in side.numbers:
            key = (number.name, number.variant)
            found.setdefault(key, [None] * len(view.sides))[index] = number
    order = {name: place for place, name in enumerate(dict.fromkeys(name for name, _ in found))}
    lines = []
    for (name, variant), numbers in sorted(found.items(), key=lambda item: order[item[0][0]]):
        first = next(number for number in numbers if number)
        cells = [_cell(number, number.after, "after") if number else None for number in numbers]
        lines.append({"name": name, "variant": variant, "before": _cell(first, first.before, "before"), "cells": cells})
    return lines


def _cell(number: Number, entry: Entry, which: str) -> dict[str, Any]:
    return {
        "shown": told.shown(number, which),
        "interval": "" if number.kind == "size" else words.interval(entry, told.kind(number)),
        "verdict": verdict(number) if which == "after" and number.kind != "time" else None,
        "difference": told.difference(number) if which == "after" and number.paired else "",
        "reason": number.reason if which == "after" and number.kind in ("quality", "fairness") else "",
    }
