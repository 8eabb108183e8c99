"""What came out, as each revision stored it: quality, fairness, size and time of every variant.

metrics/quality.json   {"sft": {"stress": {"f1": {"value": 0.74, "low": 0.68, "high": 0.79, "n": 240}}}}
metrics/fairness.json  {"sft": {"stress": {"pronoun": {"disparate_impact": {"value": 0.8, …}}}}}
metrics/latency.json   {"sft": {"stress": {"seconds_per_example": {"value": 0.12, …}}}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from clew import paths
from clew.history.compare.model import BETTER, SAME, WORSE, Entry, Kind, Number, Verdict
from clew.history.snapshot import Snapshot

QUALITY, FAIRNESS, LATENCY = (path.as_posix() for path in (paths.QUALITY, paths.FAIRNESS, paths.LATENCY))
FILES: dict[Kind, str] = {"quality": QUALITY, "fairness": FAIRNESS, "time": LATENCY}
SIZE = "size_bytes"
BOUNDS = ("value", "low", "high")
MOST = 1e300
"""Beyond it a number has no difference to another, and no place on an axis."""
EVEN = {
    "statistical_parity_difference": 0.0,
    "disparate_impact": 1.0,
    "equal_opportunity_difference": 0.0,
    "average_odds_difference": 0.0,
    "average_abs_odds_difference": 0.0,
}
"""The fairness measures that are shown, and what each is when nothing differs between the groups."""


def numbers(before: Snapshot, after: Snapshot) -> list[Number]:
    """Every number of either side, without verdicts but that of the size, which is counted and not sampled."""
    found = []
    for kind, path in FILES.items():
        ours, theirs = (dict(entries(kind, content(side, path))) for side in (before, after))
        names = sorted(dict.fromkeys([*ours, *theirs]), key=_order(before, after))
        for variant, name in names:
            first, second = ours.get((variant, name), {}), theirs.get((variant, name), {})
            found.append(_number(kind, variant, name, first, second))
    return found


def content(side: Snapshot, path: str) -> Mapping[str, Any]:
    """A metrics file of a revision; {} where there is none or it is not a mapping (the snapshot says so)."""
    name = side.files.files(path).get(path)
    if name is None:
        return {}
    try:
        tree = json.loads(side.files.read(name))
    except ValueError:
        return {}
    return tree if isinstance(tree, Mapping) else {}


def entries(kind: Kind, tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Entry]]:
    """(variant, name) → entry; what is not in the form above is passed over."""
    for variant, tasks in tree.items():
        for task, found in _mappings(tasks):
            for name, entry in _mappings(found):
                if kind != "fairness" and "value" in entry:
                    yield (variant, f"{task}.{name}"), _readable(entry)
                for measure, inner in _mappings(entry) if kind == "fairness" else ():
                    if measure in EVEN and "value" in inner:
                        yield (variant, f"{task}.{name}.{measure}"), _readable(inner)


def _mappings(tree: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(key, value) for key, value in tree.items() if isinstance(value, Mapping)] if isinstance(tree, dict) else []


def _readable(entry: Mapping[str, Any]) -> Entry:
    """The entry with null for a value or bound that is no finite number, so that every reader may take it for one."""
    wrong: dict[str, Any] = {
        key: None for key in ("value", "low", "high") if key in entry and not _is_number(entry[key])
    }
    if entry.get("value") is not None and "value" in wrong:
        wrong["reason"] = f"it is no finite number: {str(entry['value'])[:40]}"
    return {**entry, **wrong} if wrong else entry


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MOST


def _order(before: Snapshot, after: Snapshot) -> Any:
    """Variants and tasks in the order of params.yaml, the baseline's first; others by name at the end."""
    variants = _listed(before, after, "predict.variants")
    tasks = [
        name.split(".")[2] for side in (before, after) for name in side.params if name.startswith("prepare.tasks.")
    ]

    def key(pair: tuple[str, str]) -> tuple[int, str, int, str]:
        variant, name = pair
        return _place(variants, variant), variant, _place(tasks, name.partition(".")[0]), name

    return key


def _listed(before: Snapshot, after: Snapshot, name: str) -> list[str]:
    return [item for side in (before, after) for item in side.params.get(name) or [] if isinstance(item, str)]


def _place(items: list[str], item: str) -> int:
    return items.index(item) if item in items else len(items)


def _number(kind: Kind, variant: str, name: str, first: Entry, second: Entry) -> Number:
    if name.endswith(f".{SIZE}"):
        found = Number("size", variant, name, first, second)
        change = found.change
        if change is None:
            return Number("size", variant, name, first, second, None, absent(first, second))
        verdict: Verdict = SAME if change == 0 else WORSE if change > 0 else BETTER
        return Number("size", variant, name, first, second, verdict, "counted, not sampled")
    if kind == "time":
        return Number(kind, variant, name, first, second, None, "timed on the machine of each run: not a paired test")
    return Number(kind, variant, name, first, second, None, absent(first, second))


def absent(first: Entry, second: Entry) -> str:
    """Why a number cannot be compared at all: it is missing on a side, or null there."""
    for side, entry in (("before", first), ("after", second)):
        if not entry:
            return f"not measured {side}"
        if entry.get("value") is None:
            return f"no value {side}: {entry.get('reason', 'no reason is given')}"
    return ""
