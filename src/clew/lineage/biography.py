"""A row's biography: where it comes from, what each stage decided about it, which models it trained, in all history.

    trace(archive, ["5c60…"])  →  [Biography("5c60…", "dreaddit", "dreaddit_testing.csv", 0, …, chapters=(
                                       Chapter(decisions=(Decision("clean", "changed", "label_noise", 0.12, …), …),
                                               side="train", trained=True, models=("models/sft", …), …),))]

Membership is asked of the row sets. Scores, weights and texts are read from the parquet files (`row_values`), for what
is shown only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clew.history.repository import Commit
from clew.lineage import row_history, row_values
from clew.lineage.archive import Archive, files
from clew.lineage.data_chain import SIDES, SPLITS, Chain
from clew.lineage.row_files import Facts
from clew.lineage.row_history import At, Run
from clew.lineage.row_values import Decision, Reader, Values
from clew.lineage.rowsets import Held

SHOWN = 20
"""Distinct data of a row whose scores are read, the newest first."""


class Story(NamedTuple):
    """What can be said of a row in one commit without reading a parquet file.

    decisions: (stage, decision, rule). side: where data/splits has it. trained: whether data/train.parquet has it.
    models: paths of those made from that. fed: (stage, whether the row was fed). elsewhere: paths of models whose own
    training set, of another run of the data stages, has it. unknown: files the cache lacks, and deps that lead nowhere.
    """

    decisions: tuple[tuple[str, str, str | None], ...]
    side: str | None
    trained: bool
    models: tuple[str, ...]
    fed: tuple[tuple[str, bool], ...]
    elsewhere: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """Commits that hang together and of which all that is told here is true, values included.

    first, last: None for the work tree. ids: of the commits. decisions: with scores where `read`, which tells whether
    scores and weights were looked up. lost: files that they stand in and that cannot be read. weight: of the row in
    training. fed: stage → what was recorded. elsewhere, unknown: see `Story`.
    """

    first: Commit | None
    last: Commit | None
    commits: int
    ids: tuple[str, ...]
    heads: tuple[str, ...]
    within: tuple[str, ...]
    decisions: tuple[Decision, ...]
    side: str | None
    trained: bool
    models: tuple[str, ...]
    weight: float | None
    fed: Mapping[str, Facts | None]
    elsewhere: tuple[str, ...]
    unknown: tuple[str, ...]
    lost: tuple[str, ...]
    read: bool


@dataclass(frozen=True)
class Biography:
    """One row. file, record: of its first occurrence. chapters: newest last. absent: commits whose rows lack it."""

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

    scored: of how many distinct sets of files the scores are read, the newest first; None for all.
    """
    known = {row_id: archive.sets.ordinal(row_id) for row_id in dict.fromkeys(row_ids)}
    there = {row_id: ordinal for row_id, ordinal in known.items() if ordinal is not None}
    held = dict(zip(there, archive.sets.holding(list(there.values())), strict=True))
    reader = Reader(archive, there)
    heads = _names(archive.index.heads)
    return [_biography(archive, row_id, held.get(row_id, {}), reader, heads, scored) for row_id in known]


def _biography(
    archive: Archive, row_id: str, held: Held, reader: Reader, heads: Mapping[str, str], scored: int | None
) -> Biography:
    told: dict[tuple[Chain, str | None], Story] = {}
    for at in archive.history:
        if (at.chain, at.problem) not in told:
            told[at.chain, at.problem] = _story(archive, at, held)
    stories = [told[at.chain, at.problem] for at in archive.history]
    values = _values(row_id, archive.history, stories, reader, scored)
    runs = row_history.runs(archive.history, list(zip(stories, values, strict=True)), heads)
    ours = [run for run in runs if _has_row(run.story[0])]
    chapters = [_chapter(run) for run in ours]
    face = row_values.face(row_id, reader, (at.chain for run in reversed(ours) for at in reversed(run.commits)))
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
        absent=sum(_lacks_row(at, story) for at, story in zip(archive.history, stories, strict=True)),
    )


def _has_row(story: Story) -> bool:
    return bool(story.decisions or story.elsewhere) or story.trained or story.side is not None


def _lacks_row(at: At, story: Story) -> bool:
    """Whether a commit has rows, and all that it has can be asked, and this row is not among them."""
    return at.commit is not None and at.chain != Chain() and not _has_row(story) and not story.unknown


def _names(heads: Mapping[str, str]) -> dict[str, str]:
    """Heads without those that say nothing new: HEAD, and a remote's branch that stands where ours does."""
    found = {name: commit for name, commit in heads.items() if heads.get(name.partition("/")[2]) != commit}
    others = {name: commit for name, commit in found.items() if name != "HEAD"}
    return others if heads.get("HEAD") in others.values() else found


def _story(archive: Archive, at: At, held: Held) -> Story:
    chain = at.chain
    sides = archive.sides.get(chain.splits or "", {})
    gone = [path for path, md5 in files(chain, archive.sides) if md5 in archive.absent]
    gone += [f"{SPLITS}/"] if chain.splits in archive.absent else []
    gone += [at.problem] if at.problem else []
    return Story(
        decisions=tuple((stage, *one) for stage, md5 in chain.ledgers for one in held.get(md5, ())),
        side=next((side for side in SIDES if sides.get(side) in held), None),
        trained=chain.train in held,
        models=tuple(path for path, _ in chain.models) if chain.train in held else (),
        fed=tuple((stage, md5 in held) for stage, md5 in chain.fed),
        elsewhere=tuple(model for model, md5 in chain.elsewhere if md5 in held),
        unknown=tuple(gone) + chain.broken,
    )


def _values(
    row_id: str, history: Sequence[At], stories: Sequence[Story], reader: Reader, limit: int | None
) -> list[Values]:
    """What is read for each commit, the newest `limit` distinct ones (None: all)."""
    found: dict[tuple[object, ...], Values] = {}
    values = []
    for at, story in zip(reversed(history), reversed(stories), strict=True):
        wanted = row_values.wanted(at.chain, {stage for stage, *_ in story.decisions}, trained=story.trained)
        key = tuple(wanted)
        if key not in found:
            unread = limit is not None and len(found) >= limit
            found[key] = Values() if unread and wanted else row_values.value(row_id, wanted, reader)
            _agree(story, found[key])
        values.append(found[key])
    return values[::-1]


def _agree(story: Story, values: Values) -> None:
    """Raise sqlite3.DatabaseError where a ledger decided otherwise than the row sets say: they are to be made anew."""
    if values.decisions is not None and {one[:3] for one in values.decisions} != set(story.decisions):
        raise sqlite3.DatabaseError("a row that does not stand where it should")


def _chapter(run: Run[tuple[Story, Values]]) -> Chapter:
    (story, values), first, last = run.story, run.commits[0], run.commits[-1]
    plain = tuple(Decision(*one) for one in story.decisions)
    return Chapter(
        first=first.commit,
        last=last.commit,
        commits=len(run.commits),
        ids=tuple(at.commit.id for at in run.commits if at.commit is not None),
        heads=run.heads,
        within=run.within,
        decisions=plain if values.decisions is None else values.decisions,
        side=story.side,
        trained=story.trained,
        models=story.models,
        weight=values.weight,
        fed={stage: None for stage, _ in story.fed if story.trained} | dict(values.fed),
        elsewhere=story.elsewhere,
        unknown=story.unknown,
        lost=values.lost,
        read=values.read,
    )
