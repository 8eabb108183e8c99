"""parameters: params.yaml as it was, a line for each value under its full name, as `dvc params diff` has it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from clew.report.experiment import Experiment


def build(experiment: Experiment) -> Mapping[str, Any]:
    """section → lines of (name, value)."""
    return {
        "groups": [(section, list(flat(section, value))) for section, value in experiment.params.items()],
    }


def flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Dotted names and JSON-like values; a list of plain values stays on one line.

    >>> list(flat("sft", {"lora": {"rank": 8}, "tasks": ["a"]}))
    [('sft.lora.rank', '8'), ('sft.tasks', '["a"]')]
    """
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flat(f"{name}.{key}", item)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from flat(f"{name}[{number}]", item)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
