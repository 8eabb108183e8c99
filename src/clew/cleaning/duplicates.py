"""The same text twice in one task: the first row is enough.

A question of multiple choice is the same where its options are, in whatever order; its label is the right one's text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.cleaning.finding import Context, Finding, Findings
from clew.rows import normalise

if TYPE_CHECKING:
    from clew.cleaning.store import Rows
    from clew.params_clean import DuplicatesRule


def find(rows: Rows, rule: DuplicatesRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """All but the first of the rows with one normalised text, task and label."""
    found = {}
    for same in same_texts(rows, ["row_id", "label", "options"]):
        firsts: dict[str | None, str] = {}
        for position, row in same.items():
            label = meant(row)
            if label in firsts:
                found[position] = Finding(rule.action, detail=f"of row {firsts[label][:16]}")
            else:
                firsts[label] = row["row_id"]
    return Findings(found)


def meant(row: Mapping[str, Any]) -> str | None:
    """A row's label; of multiple choice the text of the option, since a letter is another's in the next row."""
    label: str | None = row["label"]
    return normalise(row["options"][ascii_uppercase.index(label)]) if row["options"] and label else label


def same_texts(rows: Rows, columns: Sequence[str]) -> Iterator[dict[int, dict[str, Any]]]:
    """The rows of one task whose normalised texts are the same, where there are several: by position, ascending.

    Texts are compared by digests of 128 bits.
    """
    digests = b"".join(_digests(rows))
    low, high = np.frombuffer(digests, dtype="<u8").reshape(-1, 2).T
    order = np.lexsort((low, high))
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (low[order[1:]] == low[order[:-1]]) & (high[order[1:]] == high[order[:-1]])
    several = again | np.append(again[1:], False)
    members, firsts = order[several], np.flatnonzero(~again[several])
    ascending = np.sort(members)
    told = rows.take(ascending, columns).to_pylist()
    for group in np.split(members, firsts[1:]):
        yield {int(at): told[place] for at, place in zip(group, np.searchsorted(ascending, group), strict=True)}


def _digests(rows: Rows) -> Iterator[bytes]:
    """Of each row's task, normalised text and options."""
    for _, batch in rows.batches(["task", "text", "options"]):
        for task, text, options in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            key = task, normalise(text or ""), options and sorted(map(normalise, options))
            yield hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
