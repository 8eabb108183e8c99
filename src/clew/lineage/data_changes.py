"""What went in differently: the sources, the base model, the rows and the decisions about them, of two revisions.

    between(store, main, lora).train    →   SetChange(path="data/train.parquet", before=1022, after=970,
                                              removed=Rows(52, (Count("dreaddit", "stress", 52),), …), …)

A row is the same row where its id is the same, else where it stands at the same place (source, file, record, task):
then it was relabelled or edited. What has the same md5 on both sides is the same, and is never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clew.history.snapshot import Snapshot
    from clew.history.store import Store

TRAIN, TEST = "data/train.parquet", "data/splits/test.parquet"
SAMPLE = 5
"""Examples of each kind of change, at most."""


@dataclass(frozen=True)
class Source:
    """Where data, or a base model, comes from, as params.yaml declares it. made: md5 of what was brought, if known."""

    uri: str | None
    sha256: str | None
    license: str | None
    made: str | None = None


@dataclass(frozen=True)
class SourceChange:
    """A source that differs; None on the side that has none of that name."""

    name: str
    before: Source | None
    after: Source | None


@dataclass(frozen=True)
class Row:
    """An example. text: shortened. record: counts from 0 within the file."""

    row_id: str
    source: str
    file: str
    record: int
    task: str
    text: str
    label: str | None
    weight: float


@dataclass(frozen=True)
class Count:
    """How many rows of a source and task."""

    source: str
    task: str
    n: int


@dataclass(frozen=True)
class Rows:
    """A set of rows: how many, of what (largest first), and the first few."""

    n: int = 0
    by: tuple[Count, ...] = ()
    sample: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """Rows that both sides have, and that differ; sample: (before, after)."""

    n: int = 0
    by: tuple[Count, ...] = ()
    sample: tuple[tuple[Row, Row], ...] = ()


@dataclass(frozen=True)
class SetChange:
    """A set of rows, before and after (numbers of rows): after = before - removed + added.

    relabelled: the same place in the same file, another label. edited: the same place and label, other content (a
    prompt, a text). reweighted: the same row, another weight.
    """

    path: str
    before: int
    after: int
    added: Rows
    removed: Rows
    relabelled: Pairs
    edited: Pairs
    reweighted: Pairs


@dataclass(frozen=True)
class DecisionChange:
    """What a rule of a stage decided on each side.

    dropped, changed: rows (before, after), whichever they are. Of the rows that came to the stage on both sides:
    newly_dropped, no_longer_dropped, newly_changed, no_longer_changed; otherwise_changed were changed both times, with
    another score or detail. sample: ids of such rows, as they are after.
    """

    stage: str
    rule: str
    dropped: tuple[int, int]
    changed: tuple[int, int]
    newly_dropped: int = 0
    no_longer_dropped: int = 0
    newly_changed: int = 0
    no_longer_changed: int = 0
    otherwise_changed: int = 0
    sample: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataChanges:
    """All of it. train, test: None where they do not differ or cannot be read (then `missing` says so).

    base: the base model where it differs. moved: "train → test" → rows that changed sides. missing: in plain words,
    what could not be compared.
    """

    sources: tuple[SourceChange, ...] = ()
    base: SourceChange | None = None
    train: SetChange | None = None
    test: SetChange | None = None
    decisions: tuple[DecisionChange, ...] = ()
    moved: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def between(store: Store, before: Snapshot, after: Snapshot, sample: int = SAMPLE) -> DataChanges:
    """What of the data differs; never raises for what a revision or the cache lacks."""
    return DataChanges(missing=("not compared yet",))
