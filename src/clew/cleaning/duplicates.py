"""The same text twice in one task: the first row is enough.

A question of multiple choice is the same where its options are, in whatever order; its label is the right one's text.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase
from typing import TYPE_CHECKING

from clew.cleaning.finding import Context, Finding, Findings
from clew.rows import normalise

if TYPE_CHECKING:
    import pyarrow as pa

    from clew.params_clean import DuplicatesRule


def find(rows: pa.Table, rule: DuplicatesRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """All but the first of the rows with one normalised text, task and label."""
    ids = rows["row_id"]
    labels = meant(rows)
    found = {}
    for positions in same_texts(rows):
        firsts: dict[str | None, int] = {}
        for position in positions:
            first = firsts.setdefault(labels[position], position)
            if position != first:
                found[position] = Finding(rule.action, detail=f"of row {ids[first].as_py()[:16]}")
    return Findings(found)


def meant(rows: pa.Table) -> list[str | None]:
    """(n,) each row's label; of multiple choice the text of the option, since a letter is another's in the next row."""
    return [
        normalise(options[ascii_uppercase.index(label)]) if options and label else label
        for label, options in zip(rows["label"].to_pylist(), rows["options"].to_pylist(), strict=True)
    ]


def same_texts(rows: pa.Table) -> Iterator[list[int]]:
    """Positions, ascending, of the rows of one task whose normalised texts are the same, where there are several."""
    firsts: dict[tuple[str, str, tuple[str, ...] | None], int] = {}
    groups: dict[int, list[int]] = {}
    texts = (normalise(text or "") for text in rows["text"].to_pylist())
    options = (some and tuple(sorted(map(normalise, some))) for some in rows["options"].to_pylist())
    for position, key in enumerate(zip(rows["task"].to_pylist(), texts, options, strict=True)):
        first = firsts.setdefault(key, position)
        if position != first:
            groups.setdefault(first, [first]).append(position)
    yield from groups.values()
