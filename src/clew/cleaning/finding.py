"""What a cleaning rule says about rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew.cleaning import messages
from clew.ledger import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import Features, Objective

Action = Literal["drop", "downweight", "review", "fix", "keep"]
"""keep: told in the ledger, and nothing else."""


TEXTS = ("text", "completion", "rejected")
"""A row's texts: what a fix mends, beside its messages."""


class Finding(NamedTuple):
    """A rule's verdict on one row. score: what was measured; threshold: what it was measured against."""

    action: Action
    score: float | None = None
    threshold: float | None = None
    detail: str | None = None
    """In a few words, what was found. Never a piece of personal data."""
    start: int | None = None
    """Where in `text` the offending part begins …"""
    end: int | None = None
    """… and ends, in characters: the report marks it."""
    mend: Callable[[str], str] | None = None
    """Of a fix: what to do to the row's texts (text, completion, rejected, every message). Of personal data always: a
    row that a person keeps is masked all the same."""
    changes: Mapping[str, Any] | None = None
    """Of a fix: new values of `text`, `completion`, `label`, `labels`, `rejected` or `tokens`."""
    within: messages.Mend | None = None
    """Where `mend` must see a message whole, for what goes over from the template to the record: it, knowing which part
    is the template's."""


@dataclass(frozen=True)
class Findings:
    """A rule's verdicts, by the row's position in the table it was given."""

    by_position: Mapping[int, Finding] = field(default_factory=dict)
    scores: NDArray[np.floating[Any]] | None = None
    """(n,) what the rule measured of every row, found or not; NaN where nothing. `clew rows flips` reads it."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """For metrics/clean.json."""
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    """Columns (n,) that the rule fills for all rows, such as `cluster`."""


class Context(NamedTuple):
    """What rules share."""

    seed: int
    features: Features
    objective: Objective | None
    templates: messages.Templates = MappingProxyType({})
    """Of the tasks' messages, where rules look at these."""


def positions(rows: Rows, tasks: Sequence[str]) -> NDArray[np.int64]:
    """Where the rows of some tasks stand, ascending."""
    return where(rows, ["task"], lambda batch: pc.is_in(batch["task"], pa.array(tasks, type=batch["task"].type)))


def where(rows: Rows, columns: Sequence[str], holds: Callable[[pa.Table], pa.ChunkedArray]) -> NDArray[np.int64]:
    """Where the rows stand of which something holds (true, and not null), ascending."""
    found = [start + np.flatnonzero(pc.fill_null(holds(batch), False)) for start, batch in rows.batches(columns)]
    return np.concatenate([np.empty(0, dtype=np.int64), *found])


def below(scores: NDArray[np.floating[Any]], threshold: float, action: Action) -> dict[int, Finding]:
    """A finding for each score (n,), rounded, below the threshold; NaN is none."""
    scores = rounded(scores)
    some = np.flatnonzero(scores < threshold)
    return {
        position: Finding(action, score, threshold)
        for position, score in zip(some.tolist(), scores[some].tolist(), strict=True)
    }
