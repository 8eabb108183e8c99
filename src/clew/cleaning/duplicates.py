"""The same text twice in one task: the first row is enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clew.cleaning.finding import Context, Finding, Findings
from clew.rows import normalise

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import DuplicatesRule


def find(rows: pa.Table, rule: DuplicatesRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """All but the first of the rows with one normalised text, task and label."""
    ids = rows["row_id"]
    labels = rows["label"].to_pylist()
    found = {}
    for positions in same_texts(rows):
        firsts: dict[str | None, int] = {}
        for position in positions:
            first = firsts.setdefault(labels[position], position)
            if position != first:
                found[position] = Finding(rule.action, detail=f"of row {ids[first].as_py()[:16]}")
    return Findings(found)


def same_texts(rows: pa.Table) -> Iterator[list[int]]:
    """Positions, ascending, of the rows of one task whose normalised texts are the same, where there are several."""
    firsts: dict[tuple[str, str], int] = {}
    groups: dict[int, list[int]] = {}
    texts = (normalise(text or "") for text in rows["text"].to_pylist())
    for position, key in enumerate(zip(rows["task"].to_pylist(), texts, strict=True)):
        first = firsts.setdefault(key, position)
        if position != first:
            groups.setdefault(first, [first]).append(position)
    yield from groups.values()
