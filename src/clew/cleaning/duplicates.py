"""The same text twice in one task: the first row is enough.

A question of multiple choice is the same where its options are, in whatever order; its label is the right one's text.
In a task with answers that were not wanted, people judged several answers to one text: there the same answer counts,
and whether it was wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.cleaning.finding import Context, Finding, Findings
from clew.rows import is_unwanted, normalise, unwanted

if TYPE_CHECKING:
    from clew.cleaning.store import Rows
    from clew.params_clean import DuplicatesRule


Judged = tuple[str, bool]
"""A normalised answer, and whether it was wanted."""
ANSWERS = ("task", "completion", "rejected")


def find(rows: Rows, rule: DuplicatesRule, context: Context) -> Findings:  # noqa: ARG001 - a rule's form
    """All but the first of the rows with one normalised text, task, label and judged answer."""
    tasks = judging(rows)
    found = {}
    for same in same_texts(rows, ["row_id", "label", "options", *(ANSWERS if tasks else ())]):
        firsts: dict[tuple[str | None, Judged | None], str] = {}
        for position, row in same.items():
            label = meant(row), judged(row, tasks)
            if label in firsts:
                found[position] = Finding(rule.action, detail=f"of row {firsts[label][:16]}")
            else:
                firsts[label] = row["row_id"]
    return Findings(found)


def meant(row: Mapping[str, Any]) -> str | None:
    """A row's label; of multiple choice the text of the option, since a letter is another's in the next row."""
    label: str | None = row["label"]
    return normalise(row["options"][ascii_uppercase.index(label)]) if row["options"] and label else label


def in_any_order(options: Sequence[str] | None) -> list[str] | None:
    """A question's options as they are compared."""
    return None if options is None else sorted(map(normalise, options))


def judging(rows: Rows) -> set[str]:
    """The tasks that have answers which were not wanted."""
    return {task for _, batch in rows.batches(ANSWERS) for task in batch["task"].filter(unwanted(batch)).to_pylist()}


def judged(row: Mapping[str, Any], tasks: Set[str]) -> Judged | None:
    """A row's normalised answer and whether it was wanted (of ANSWERS); None where its task is none of `tasks`."""
    if not tasks or row["task"] not in tasks:
        return None
    answer = row["rejected"] if is_unwanted(row) else row["completion"]
    return normalise(answer or ""), not is_unwanted(row)


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
            key = task, normalise(text or ""), in_any_order(options)
            yield hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
