"""The view for other programs: everything, with the numbers as they are stored."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from clew.history.compare.model import CodeFile, Number, Param, Reach, Side, View
from clew.history.snapshot import Snapshot
from clew.lineage.data_changes import as_dict


def write(view: View) -> str:
    """The view as JSON; a number that is not finite is null."""
    return json.dumps(_finite(tree(view)), indent=2, ensure_ascii=False, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def tree(view: View) -> dict[str, Any]:
    """{baseline, tests, revisions: [{asked, went_in, code, came_out, why, …}]}."""
    tests = {"made": view.tests, "resamples": view.resamples, "alpha": view.alpha, "correction": "Holm (1979)"}
    return {
        "baseline": {**_revision(view.before), "notes": list(view.notes)},
        "tests": tests if view.tested else None,
        "revisions": [_side(side) for side in view.sides],
    }


def _revision(side: Snapshot) -> dict[str, Any]:
    commit = side.commit
    found = (
        {"commit": commit.id, "title": commit.title, "author": commit.author, "committed": commit.time}
        if commit
        else {}
    )
    return {"name": side.name, **(found or {"commit": None})}


def _side(side: Side) -> dict[str, Any]:
    return {
        **_revision(side.after),
        "notes": list(side.notes),
        "asked": {param.name: _param(param) for param in side.params},
        "went_in": as_dict(side.data),
        "code": [_file(file) for file in side.code],
        "came_out": [_number(number) for number in side.numbers],
        "test_rows": {v: {task: rows._asdict() for task, rows in of.items()} for v, of in side.shared.items()},
        "other_metrics": {param.name: _param(param) for param in side.others},
        "costs": {cost.stage: {"before": cost.before, "after": cost.after} for cost in side.costs},
        "why": [_reach(reach) for reach in side.reaches],
    }


def _param(param: Param) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if param.on != "after":
        found["before"] = param.before
    if param.on != "before":
        found["after"] = param.after
    return found | ({"not_run": list(param.not_run)} if param.not_run else {})


def _file(file: CodeFile) -> dict[str, Any]:
    return {**file._asdict(), "commits": [title._asdict() for title in file.commits]}


def _number(number: Number) -> dict[str, Any]:
    return {
        "kind": number.kind,
        "variant": number.variant,
        "name": number.name,
        "before": _entry(number.before),
        "after": _entry(number.after),
        "difference": number.change,
        "verdict": number.verdict,
        "reason": number.reason or None,
        "paired": number.paired._asdict() if number.paired else None,
    }


def _entry(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    return {key: value for key, value in entry.items() if key != "vs_parent"} if entry else None


def _reach(reach: Reach) -> dict[str, Any]:
    return reach._asdict()
