"""What went in differently: the sources, the base model, the rows and the decisions about them, of two revisions.

    between(store, main, lora).train    →   SetChange(path="data/train.parquet", before=1022, after=970,
                                              removed=Rows(52, (Count("dreaddit", "stress", 52),), …), …)

A row is the same row where its id is the same; else where its task and text are, then it was relabelled or edited; else
where it stands at the same place under the same label, then it was edited. What has the same md5 on both sides is the
same, and is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from clew.errors import DataError, HistoryError
from clew.history.documents import Flat
from clew.history.repository import WORK_TREE
from clew.history.snapshot import Snapshot
from clew.history.store import Store
from clew.lineage import data_chain
from clew.lineage.data_chain import Chain, Found, Maker

T = TypeVar("T")
SOURCES, BASE = "fetch_data.sources.", "fetch_model."

TRAIN, TEST = "data/train.parquet", "data/splits/test.parquet"
SAMPLE = 5
"""Examples of each kind of change, at most."""


class Source(NamedTuple):
    """Where data, or a base model, comes from, as params.yaml declares it. made: md5 of what was brought, if known."""

    uri: str | None
    sha256: str | None
    license: str | None
    made: str | None = None


class SourceChange(NamedTuple):
    """A source that differs; None on the side that has none of that name."""

    name: str
    before: Source | None
    after: Source | None


class Row(NamedTuple):
    """An example. text: shortened. record: counts from 0 within the file."""

    row_id: str
    source: str
    file: str
    record: int
    task: str
    text: str
    label: str | None
    weight: float | None


class Count(NamedTuple):
    """How many rows of a source and task (None: of an older schema)."""

    source: str | None
    task: str | None
    n: int


class Rows(NamedTuple):
    """A set of rows: how many, of what (largest first), and the first few."""

    n: int = 0
    by: tuple[Count, ...] = ()
    sample: tuple[Row, ...] = ()


class Pairs(NamedTuple):
    """Rows that both sides have, and that differ; sample: (before, after)."""

    n: int = 0
    by: tuple[Count, ...] = ()
    sample: tuple[tuple[Row, Row], ...] = ()


class SetChange(NamedTuple):
    """A set of rows, before and after (numbers of rows): after = before - removed + added.

    relabelled: the same text, another label. edited: the same text and label under another prompt, or another text at
    the same place in the same file under the same label. reweighted: the same row, another weight.
    """

    path: str
    before: int
    after: int
    added: Rows
    removed: Rows
    relabelled: Pairs
    edited: Pairs
    reweighted: Pairs


class DecisionChange(NamedTuple):
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


class DataChanges(NamedTuple):
    """All of it. train, test: None where they do not differ or cannot be read (then `missing` says so).

    base: the base model where it differs. moved: "train → test" → rows that changed sides. missing: in plain words,
    what could not be compared.
    """

    sources: tuple[SourceChange, ...] = ()
    base: SourceChange | None = None
    train: SetChange | None = None
    test: SetChange | None = None
    decisions: tuple[DecisionChange, ...] = ()
    moved: Mapping[str, int] = MappingProxyType({})
    missing: tuple[str, ...] = ()


def as_dict(found: Any) -> Any:
    """What was found as dicts and lists, to be written as JSON."""
    if hasattr(found, "_asdict"):
        return {name: as_dict(value) for name, value in found._asdict().items()}
    if isinstance(found, Mapping):
        return dict(found)
    return [as_dict(one) for one in found] if isinstance(found, tuple) else found


def between(
    store: Store, before: Snapshot, after: Snapshot, sample: int = SAMPLE, maker: Maker = data_chain.nobody
) -> DataChanges:
    """What of the data differs; never raises for what a revision or the cache lacks.

    maker: who made what a lock does not lead on from, in some commit.
    """
    was, now = data_chain.chain(before.stages, maker), data_chain.chain(after.stages, maker)
    pairs = ((before, was), (after, now))
    missing = [f"{side.name}: dvc.lock names no training rows" for side, chain in pairs if chain.train is None]
    missing += [f"{side.name}: not known: {one}" for side, chain in pairs for one in chain.broken]
    sides = _Sides(store, (before, after), (was, now), missing)
    decisions: list[DecisionChange] = []
    moved: dict[str, int] = {}
    for stage in dict.fromkeys([*dict(was.ledgers), *dict(now.ledgers)]):
        path = f"{data_chain.LEDGER}{stage}.parquet"
        files = sides.files(path, (path, dict(was.ledgers).get(stage)), (path, dict(now.ledgers).get(stage)))
        if files is not None:
            from clew.lineage import decision_changes

            found, sides_changed = sides.attempt(decision_changes.compare, stage, files, sample) or ([], {})
            decisions += found
            moved |= sides_changed
    return DataChanges(
        sources=_sources(before.params, after.params),
        base=_base(before, after),
        train=_set_change(sides, TRAIN, (TRAIN, was.train), (TRAIN, now.train), sample),
        test=_set_change(sides, TEST, (data_chain.SPLITS, was.splits), (data_chain.SPLITS, now.splits), sample),
        decisions=tuple(decisions),
        moved=moved,
        missing=tuple(dict.fromkeys(missing)),
    )


class _Sides:
    """Files of two revisions; what cannot be had is put in plain words into `missing`."""

    def __init__(
        self, store: Store, sides: tuple[Snapshot, Snapshot], chains: tuple[Chain, Chain], missing: list[str]
    ) -> None:
        self.store, self.sides, self.chains, self.missing = store, sides, chains, missing

    def files(self, wanted: str, was: tuple[str, str | None], now: tuple[str, str | None]) -> tuple[Path, Path] | None:
        """The file `wanted` of the outs (made path, md5); None where it is the same, or one side has none."""
        if was[1] is None or now[1] is None or was[1] == now[1]:
            self._lacks(wanted, was[1], now[1])
            return None
        found = [self._locate(side, *made, wanted) for side, made in zip(self.sides, (was, now), strict=True)]
        if found[0].md5 is not None and found[0].md5 == found[1].md5:
            return None
        paths = [one.path for one in found if one.path is not None]
        return (paths[0], paths[1]) if len(paths) == 2 else None

    def _lacks(self, wanted: str, was: str | None, now: str | None) -> None:
        """Tell where one side of two that have rows has no such file, unless what it has is not known."""
        lacks = [(side, chain) for side, chain, md5 in zip(self.sides, self.chains, (was, now), strict=True) if not md5]
        if len(lacks) == 1 and all(chain.train for chain in self.chains) and not lacks[0][1].broken:
            self.missing.append(f"{lacks[0][0].name}: made no {wanted}")

    def _locate(self, side: Snapshot, made: str, md5: str | None, wanted: str) -> Found:
        try:
            found = data_chain.locate(self.store, side, made, md5, wanted)
        except HistoryError as error:
            self.missing.append(f"{side.name}: {wanted}: {error.what} ({error.where})")
            return Found(md5, None)
        if found.path is None:
            brings = "dvc pull" if side.name == WORK_TREE else "dvc fetch --all-commits"
            self.missing.append(f"{side.name}: the cache lacks {wanted} ({found.md5 or 'no such file'}): `{brings}`")
        return found

    def attempt(self, compare: Callable[..., T], *arguments: object) -> T | None:
        """What a comparison finds; a file that cannot be read is one more that is missing."""
        try:
            return compare(*arguments)
        except DataError as error:
            self.missing.append(f"{error.where}: {error.what}")
            return None


def _set_change(
    sides: _Sides, path: str, was: tuple[str, str | None], now: tuple[str, str | None], sample: int
) -> SetChange | None:
    files = sides.files(path, was, now)
    if files is None:
        return None
    from clew.lineage import set_changes

    return sides.attempt(set_changes.compare, path, files, sample)


def _sources(was: Flat, now: Flat) -> tuple[SourceChange, ...]:
    before, after = _declared(was), _declared(now)
    names = sorted(before.keys() | after.keys())
    changes = [SourceChange(name, before.get(name), after.get(name)) for name in names]
    return tuple(change for change in changes if change.before != change.after)


def _declared(params: Flat) -> dict[str, Source]:
    """The sources of params.yaml by name: `fetch_data.sources.NAME.uri` and so on."""
    fields: dict[str, Flat] = {}
    for name, value in params.items():
        if name.startswith(SOURCES):
            source, _, field = name.removeprefix(SOURCES).rpartition(".")
            fields.setdefault(source, {})[field] = value
    return {name: _source(of) for name, of in fields.items() if name}


def _base(before: Snapshot, after: Snapshot) -> SourceChange | None:
    """Where a dvc.lock could not be read, what it made is not known, and only what is declared is compared."""
    known = bool(before.stages and after.stages)
    was, now = _base_of(before, known), _base_of(after, known)
    return None if was == now else SourceChange("models/base", was, now)


def _base_of(side: Snapshot, known: bool) -> Source | None:
    fields = {name.removeprefix(BASE): value for name, value in side.params.items() if name.startswith(BASE)}
    made = side.out("models/base") if known else None
    return _source(fields, made.md5 if made else None) if fields or made else None


def _source(fields: Flat, made: str | None = None) -> Source:
    texts = {name: None if value is None else str(value) for name, value in fields.items()}
    return Source(texts.get("uri"), texts.get("sha256"), texts.get("license"), made)
