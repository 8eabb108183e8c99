"""clew diff-data: what two revisions' data differs in."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from clew.lineage.data_changes import DataChanges, DecisionChange, Pairs, Row, Rows, SetChange, Source, SourceChange


@click.command
@click.argument("before", help="A branch, tag, commit or experiment, or `work tree`.")
@click.argument("after", help="Another one.")
@click.option("--sample", type=click.IntRange(0, 1000), default=3, metavar="N", help="Examples of each kind, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff_data(before: str, after: str, sample: int, as_json: bool) -> None:
    """Show how the data of two revisions differs: sources, rows in and out, labels, weights, decisions by rule.

    Example: clew diff-data main lora --sample 5
    """
    from clew.cli.row_lines import NOTE, SHALLOW, printable
    from clew.cli.row_lines import as_json as as_json_text
    from clew.history import repository, snapshot, store
    from clew.history.index import open_index
    from clew.lineage import data_chain, data_changes

    repo = repository.open_repository(Path())
    was, now = snapshot.take(repo, before), snapshot.take(repo, after)
    kept = store.store_of(repo, after)
    index = None
    with suppress(OSError, sqlite3.Error):  # where it cannot be kept, the two dvc.locks are all that is asked
        index = open_index(repo)
    found = data_changes.between(kept, was, now, sample, index.maker if index else data_chain.nobody)
    if index is not None:
        index.close()
    problems = [f"{side.name}: {problem}" for side in (was, now) for problem in side.problems]
    if as_json:
        told = {**data_changes.as_dict(found), "problems": problems, "shallow": repo.is_shallow, "note": NOTE}
        click.echo(as_json_text(told, indent=2))
        return
    for line in (*(f"! {problem}" for problem in problems), *lines(found, before, after)):
        click.echo(printable(line))
    if repo.is_shallow:
        click.echo(f"! {SHALLOW}")
    click.echo(f"\n{NOTE}")


def lines(found: DataChanges, before: str, after: str) -> Iterator[str]:
    """The changes in words, one line each, examples indented below."""
    told = [
        *(line for change in found.sources for line in _source(f"source {change.name}", change)),
        *(_source("base model", found.base) if found.base else ()),
        *(line for change in (found.train, found.test) if change for line in _set(change)),
        *(_decision(change) for change in found.decisions),
        *(f"split: {n:,} rows moved {way}" for way, n in found.moved.items()),
    ]
    yield from told or ([] if found.missing else [f"no difference between the data of {before} and {after}"])
    for line in found.missing:
        yield f"! not compared: {line}"


def _source(name: str, change: SourceChange) -> Iterator[str]:
    if change.before is None or change.after is None:
        side, sign = (change.after, "+") if change.before is None else (change.before, "-")
        yield f"{sign} {name}: {_declared(side)}"
        return
    for field in ("uri", "sha256", "license", "made"):
        was, now = getattr(change.before, field), getattr(change.after, field)
        if was != now:
            yield f"~ {name}: {'md5' if field == 'made' else field} {was} → {now}"


def _declared(side: Source | None) -> str:
    return f"{side.uri} (licence {side.license or 'not declared'})" if side else "none"


def _set(change: SetChange) -> Iterator[str]:
    yield f"{change.path}: {change.before:,} rows → {change.after:,}"
    yield from _rows("+", "added", change.added)
    yield from _rows("-", "removed", change.removed)
    yield from _pairs("relabelled", change.relabelled, lambda was, now: (f"{was.label} → {now.label}  {_row(now)}",))
    yield from _pairs("edited", change.edited, lambda was, now: (_row(was), f"→ {_row(now)}"))
    yield from _pairs(
        "reweighted", change.reweighted, lambda was, now: (f"weight {_weight(was)} → {_weight(now)}  {_row(now)}",)
    )


def _rows(sign: str, word: str, rows: Rows) -> Iterator[str]:
    if rows.n:
        yield f"  {sign} {rows.n:,} {word}: {_counts(rows)}"
        for row in rows.sample:
            yield f"      {_row(row)}"


def _pairs(word: str, pairs: Pairs, told: Callable[[Row, Row], tuple[str, ...]]) -> Iterator[str]:
    if pairs.n:
        yield f"  ~ {pairs.n:,} {word}: {_counts(pairs)}"
        for was, now in pairs.sample:
            yield from (f"      {line}" for line in told(was, now))


def _weight(row: Row) -> str:
    return "none" if row.weight is None else f"{row.weight:.4g}"


def _counts(of: Rows | Pairs) -> str:
    return ", ".join(f"{count.n:,} {count.source}/{count.task}" for count in of.by)


def _row(row: Row) -> str:
    label = "" if row.label is None else f" [{row.label}]"
    return f"{row.row_id[:12]} {row.source}/{row.file}:{row.record}{label} {row.text}"


def _decision(change: DecisionChange) -> str:
    parts = [
        f"{n:,} {word}"
        for word, n in (
            ("newly dropped", change.newly_dropped),
            ("no longer dropped", change.no_longer_dropped),
            ("newly changed", change.newly_changed),
            ("no longer changed", change.no_longer_changed),
            ("changed otherwise", change.otherwise_changed),
        )
        if n
    ]
    totals = [_total("dropped", change.dropped), _total("changed", change.changed)]
    told = "; ".join([", ".join(filter(None, totals)), ", ".join(parts) or "none of the rows that both sides had"])
    return f"{change.stage}, {change.rule}: {told}{_ids(change.sample)}"


def _total(word: str, sides: Sequence[int]) -> str:
    return f"{word} {sides[0]:,} → {sides[1]:,}" if any(sides) else ""


def _ids(ids: Sequence[str]) -> str:
    return f" ({', '.join(one[:12] for one in ids)})" if ids else ""
