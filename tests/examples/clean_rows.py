"""Rows as cleaning rules see them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from clew import rows
from clew.cleaning import Context, chain, store
from clew.params_clean import Objective, TfidfFeatures

CONTEXT = Context(0, TfidfFeatures(kind="tfidf", dimensions=16), None)


def row(text: str | None, label: str | None = "yes", task: str = "t", **more: Any) -> dict[str, Any]:
    """A row of a task with the labels yes and no; free text with `label=None, choices=None, completion=…`."""
    content = {"task": task, "text": text, "label": label, "completion": label, "choices": ["yes", "no"]}
    origin = {"source": "s", "origin": {"file": "f", "record": 0}, "weight": 1.0, "parent_ids": []}
    messages = [{"role": "user", "content": text or ""}]
    return {"row_id": f"id of {text}", "messages": messages} | content | origin | more


def table(some: Sequence[dict[str, Any]]) -> pa.Table:
    """The columns that rules see."""
    schema = rows.SCHEMA.append(pa.field(chain.BESIDE, pa.large_string()))
    return pa.Table.from_pylist(list(some), schema=schema).select([*chain.SEEN, chain.BESIDE])


def stored(some: Sequence[dict[str, Any]], scratch: Path = Path("nowhere")) -> store.Rows:
    """The same for rules that look at all rows; in `scratch` they can be changed."""
    return store.of_table(table(some), scratch, 7)


def objective(description: str, *examples: str) -> Objective:
    """What a model is for."""
    return Objective(description=description, examples=examples)
