"""A row's biography: where it comes from, what each stage decided about it, which models it trained, in all history.

    trace(archive, ["5c60…"])  →  [Biography("5c60…", "dreaddit", "dreaddit_testing.csv", 0, …, chapters=(
                                       Chapter(decisions=(Decision("clean", "changed", "label_noise", 0.12, …), …),
                                               side="train", trained=True, models=("models/sft", …), …),))]

Membership is asked of the row sets. Scores, weights and texts are read from the parquet files, for what is shown only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from clew.errors import DataError
from clew.history.repository import Commit
from clew.lineage import row_files, row_history
from clew.lineage.archive import Archive, files
from clew.lineage.data_chain import SIDES, SPLITS, Chain
from clew.lineage.row_history import Run
from clew.lineage.rowsets import Held

Facts = dict[str, Any]
SHOWN = 20
"""Chapters whose scores are read, the newest first."""
DECIDED = ("source", "file", "record", "decision", "rule", "score", "threshold", "detail", "parent_ids")
ROW = ("source", "task", "label", "text", "weight", "parent_ids")
FED = ("times", "times_fed", "tokens", "tokens_fed", "tokens_masked", "truncated")


class Decision(NamedTuple):
    """What a stage decided; score, threshold and detail as its ledger has them, null where it has none."""

    stage: str
    decision: str
    rule: str | None
    score: float | None = None
    threshold: float | None = None
    detail: str | None = None


class Story(NamedTuple):
    """What can be said of a row in one commit without reading a parquet file.

    decisions: (stage, decision, rule). side: where data/splits has it. trained: whether data/train.parquet has it.
    models: paths of those made from that. fed: (stage, whether the row was fed). unknown: files the cache lacks.
    """

    decisions: tuple[tuple[str, str, str | None], ...]
    side: str | None
    trained: bool
    models: tuple[str, ...]
    fed: tuple[tuple[str, bool], ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """Commits that hang together and tell the same of a row. first, last: None for the work tree.

    decisions: as the last of the commits has them; `before`: as the first has them, where scores differ.
    read: whether scores and weights were looked up. weight: of the row in training. fed: stage → what was recorded.
    """

    first: Commit | None
    last: Commit | None
    commits: int
    heads: tuple[str, ...]
    within: tuple[str, ...]
    decisions: tuple[Decision, ...]
    before: tuple[Decision, ...]
    side: str | None
    trained: bool
    models: tuple[str, ...]
    weight: float | None
    fed: Mapping[str, Facts | None]
    unknown: tuple[str, ...]
    read: bool


@dataclass(frozen=True)
class Biography:
    """One row. file, record: of its first occurrence. chapters: newest last. `absent`: commits that do not have it."""

    row_id: str
    source: str | None
    file: str | None
    record: int | None
    task: str | None
    label: str | None
    text: str | None
    parents: tuple[str, ...]
    children: tuple[str, ...]
    chapters: tuple[Chapter, ...]
    absent: int


def trace(archive: Archive, row_ids: Sequence[str], scored: int | None = SHOWN) -> list[Biography]:
    """The biographies of rows (64 hex digits each); a row that no file has has no chapters.

    scored: the newest chapters whose scores are read; None for all.
    """
    known = {row_id: archive.sets.ordinal(row_id) for row_id in dict.fromkeys(row_ids)}
    there = {row_id: ordinal for row_id, ordinal in known.items() if ordinal is not None}
    held = dict(zip(there, archive.sets.holding(list(there.values())), strict=True))
    reader = _Reader(archive, row_ids)
    heads = _names(archive.index.heads)
    return [_biography(archive, row_id, held.get(row_id, {}), reader, heads, scored) for row_id in known]


def _biography(
    archive: Archive, row_id: str, held: Held, reader: _Reader, heads: Mapping[str, str], scored: int | None
) -> Biography:
    told: dict[Chain, Story] = {}
    for at in archive.history:
        if at.chain not in told:
            told[at.chain] = _story(archive, at.chain, held)
    runs = row_history.runs(archive.history, [told[at.chain] for at in archive.history], heads)
    ours = [run for run in runs if _has_row(run.story)]
    chapters = [
        _chapter(row_id, run, reader, read=scored is None or n >= len(ours) - scored) for n, run in enumerate(ours)
    ]
    face = _face(row_id, reader, ours)
    ordinal = archive.sets.ordinal(row_id)
    origin = archive.sets.origin(ordinal) if ordinal is not None else None
    return Biography(
        row_id=row_id,
        source=origin.source if origin else None,
        file=origin.file if origin else None,
        record=origin.record if origin else None,
        task=face.get("task"),
        label=face.get("label"),
        text=face.get("text"),
        parents=tuple(face.get("parent_ids") or ()),
        children=() if ordinal is None else tuple(archive.sets.children(ordinal)),
        chapters=tuple(chapters),
        absent=sum(len(run.commits) for run in runs if not _has_row(run.story) and not run.story.unknown),
    )


def _has_row(story: Story) -> bool:
    return bool(story.decisions) or story.trained or story.side is not None


def _names(heads: Mapping[str, str]) -> dict[str, str]:
    """Heads without those that say nothing new: HEAD, and a remote's branch that stands where ours does."""
    found = {name: commit for name, commit in heads.items() if heads.get(name.partition("/")[2]) != commit}
    others = {name: commit for name, commit in found.items() if name != "HEAD"}
    return others if heads.get("HEAD") in others.values() else found


def _story(archive: Archive, chain: Chain, held: Held) -> Story:
    sides = archive.sides.get(chain.splits or "", {})
    gone = [path for path, md5 in files(chain, archive.sides) if md5 in archive.absent]
    gone += [f"{SPLITS}/"] if chain.splits in archive.absent else []
    return Story(
        decisions=tuple((stage, *one) for stage, md5 in chain.ledgers for one in held.get(md5, ())),
        side=next((side for side in SIDES if sides.get(side) in held), None),
        trained=chain.train in held,
        models=tuple(path for path, _ in chain.models) if chain.train in held else (),
        fed=tuple((stage, md5 in held) for stage, md5 in chain.fed),
        unknown=tuple(gone),
    )


class _Reader:
    """What parquet files say of some rows; each file is read once for all of them."""

    def __init__(self, archive: Archive, row_ids: Sequence[str]) -> None:
        self.archive, self.row_ids = archive, set(row_ids)
        self.found: dict[str, dict[str, list[Facts]] | None] = {}

    def of(self, row_id: str, md5: str | None, columns: Sequence[str]) -> list[Facts] | None:
        """A row's occurrences in a file; None where it is not read (not in the cache, or large)."""
        if md5 is None:
            return []
        if md5 not in self.found:
            self.found[md5] = self._read(md5, columns)
        rows = self.found[md5]
        return None if rows is None else rows.get(row_id, [])

    def _read(self, md5: str, columns: Sequence[str]) -> dict[str, list[Facts]] | None:
        path = self.archive.store.find(md5)
        try:
            if path is None or (row_files.is_large(path) and not self.archive.scores):
                return None
            return row_files.details(path, self.row_ids, columns)
        except (DataError, OSError):
            return None


def _chapter(row_id: str, run: Run[Story], reader: _Reader, *, read: bool) -> Chapter:
    story, first, last = run.story, run.commits[0], run.commits[-1]
    now = _decisions(row_id, story, last.chain, reader) if read else None
    scored_again = read and first.chain.ledgers != last.chain.ledgers
    before = _decisions(row_id, story, first.chain, reader) if scored_again else now
    row = reader.of(row_id, last.chain.train, ROW) if read and story.trained else None
    plain = tuple(Decision(*one) for one in story.decisions)
    return Chapter(
        first=first.commit,
        last=last.commit,
        commits=len(run.commits),
        heads=run.heads,
        within=run.within,
        decisions=now or plain,
        before=() if before == now else before or (),
        side=story.side,
        trained=story.trained,
        models=story.models,
        weight=row[0].get("weight") if row else None,
        fed={stage: _fed(row_id, md5, reader) if read else None for stage, md5 in last.chain.fed},
        unknown=story.unknown,
        read=now is not None,
    )


def _fed(row_id: str, md5: str, reader: _Reader) -> Facts | None:
    """What training recorded of the row; empty where it was not fed, None where that cannot be read."""
    rows = reader.of(row_id, md5, FED)
    return rows if rows is None else (rows[0] if rows else {})


def _decisions(row_id: str, story: Story, chain: Chain, reader: _Reader) -> tuple[Decision, ...] | None:
    """The decisions with their scores; None where a ledger is not read."""
    found: list[Decision] = []
    for stage, md5 in chain.ledgers:
        if not any(one[0] == stage for one in story.decisions):
            continue
        rows = reader.of(row_id, md5, DECIDED)
        if rows is None:
            return None
        for row in rows:
            score, threshold, detail = (row.get(name) for name in ("score", "threshold", "detail"))
            found.append(Decision(stage, row["decision"], row.get("rule"), score, threshold, detail))
    return tuple(found)


def _face(row_id: str, reader: _Reader, runs: Sequence[Run[Story]]) -> Facts:
    """What the row says, from the newest commit whose data/rows.parquet can tell."""
    chains = dict.fromkeys(at.chain.rows for run in reversed(runs) for at in reversed(run.commits))
    for md5 in chains:
        if md5 and reader.archive.store.find(md5):
            rows = reader.of(row_id, md5, ROW)
            if rows or rows is None:
                return rows[0] if rows else {}
    return {}
