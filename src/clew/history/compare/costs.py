"""What it took: seconds and memory of the stages, by the runtime records that each revision stored.

    metrics/runtime/sft.json  {"stage": "sft", "seconds": 505.4, "peak_memory_bytes": 8803946496,
                               "hardware": {"cpu": "AMD EPYC", "cores": 2, "gpu": null, …}, "outs": {path: sha256}, …}

A record is volatile and no stage's out, so one of another run may lie there: what it says it made is held against
the files that git has, and it is left out where they differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clew import paths
from clew.history.compare.model import Cost
from clew.history.snapshot import Snapshot

RUNTIME = paths.RUNTIME.as_posix()
KEPT = ("seconds", "peak_memory_bytes", "hardware", "facts", "started")


def costs(before: Snapshot, after: Snapshot) -> tuple[Cost, ...]:
    """The stages whose records differ, in the pipeline's order; the same record on both sides is one run."""
    ours, theirs = (side.files.files(RUNTIME) for side in (before, after))
    stages = list(dict.fromkeys([*after.stages, *before.stages]))
    names = sorted({*ours, *theirs}, key=lambda path: (_place(stages, _stage(path)), path))
    found = []
    for path in names:
        texts = [
            side.files.read(names[path]) if path in names else "" for side, names in ((before, ours), (after, theirs))
        ]
        if texts[0] != texts[1]:
            first, second = record(before, texts[0]), record(after, texts[1])
            if first or second:
                found.append(Cost(_stage(path), first, second))
    return tuple(found)


def record(side: Snapshot, text: str) -> Mapping[str, Any] | None:
    """What is kept of a record; None where there is none, or it speaks of other files than the revision has."""
    try:
        tree = json.loads(text)
    except ValueError:
        return None
    if not isinstance(tree, Mapping) or not isinstance(tree.get("seconds"), (int, float)):
        return None
    from hashlib import sha256

    made = tree.get("outs")
    for path, digest in made.items() if isinstance(made, Mapping) else ():
        name = side.files.files(path).get(path) if path.endswith((".json", ".csv")) else None
        if name is not None and sha256(side.files.read(name).encode()).hexdigest() != digest:
            return None
    return {key: tree[key] for key in KEPT if key in tree}


def machine(record: Mapping[str, Any]) -> str:
    """The hardware in a few words: "AMD EPYC, 2 cores"."""
    found = record.get("hardware")
    if not isinstance(found, Mapping):
        return "an unknown machine"
    return f"{found.get('gpu') or found.get('cpu') or 'an unknown processor'}, {found.get('cores', '?')} cores"


def _stage(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json")


def _place(items: list[str], item: str) -> int:
    return items.index(item) if item in items else len(items)
