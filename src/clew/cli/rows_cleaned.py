"""clew rows explain, clew rows flips: what cleaning made of the rows that lie here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from clew.lineage.explained import Explained
    from clew.lineage.flips import Flips, Row

SHOWN = 10
"""Rows that flip, each way, without --all."""
TOLD = 300
"""Characters of a text that is shown."""
FATES = {"fix": "mended", "downweight": "weighs less", "review": "for review", "keep": "kept all the same"}


@click.command
@click.argument("row_id", help="A row id, or at least its first 8 digits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(row_id: str, as_json: bool) -> None:
    """Tell one row's story in the data that lies here: every finding, score, threshold and margin.

    A margin is how far a score is from its threshold; where it is positive the row is found. `clew rows trace` tells
    the story in all commits.

    Example: clew rows explain 5c603797
    """
    from clew.cli import row_lines
    from clew.lineage import explained

    found = explained.explain(row_id)
    if as_json:
        click.echo(row_lines.as_json([one._asdict() for one in found], indent=2))
        return
    for one in found:
        click.echo("\n".join(map(row_lines.printable, _story(one))) + "\n")


def _story(one: Explained) -> Iterator[str]:
    from clew.rows import is_unwanted

    row = one.row
    origin = row["origin"]
    yield f"{row['row_id']}  {row['task']}, from {row['source']}/{origin['file']} record {origin['record']}"
    yield f"  text: {_short(row['text'] or '')}"
    if is_unwanted(row):
        yield f"  unwanted answer: {_short(row['rejected'])}"
    else:
        yield f"  answer: {_short(row['completion'] or '')}"
    if row["parent_ids"]:
        yield f"  made from: {', '.join(row['parent_ids'])}"
    for stage, entry in one.entries:
        yield f"{stage}: {_decision(entry)}"
        for also in entry["also"] or ():
            yield f"  also {also['rule']}: {FATES.get(also['action'], also['action'])}{_why(also)}"
    if one.measured:
        yield "measured by clean (margin: positive where the row is found)"
        width = max(len(name) for name, *_ in one.measured)
        for name, score, threshold, margin in one.measured:
            yield f"  {name:{width}}  {score:10.4g}  threshold {threshold:<8.4g} margin {margin:+.4g}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TOLD else line[:TOLD] + "…"


def _decision(entry: Mapping[str, Any]) -> str:
    told = str(entry["decision"])
    if entry["rule"] and entry["stage"] == "clean" and told == "kept":
        told = "kept, and found"
    return told + (f" by {entry['rule']}" if entry["rule"] else "") + _why(entry)


def _why(found: Mapping[str, Any]) -> str:
    parts = [f"{name} {found[name]:.4g}" for name in ("score", "threshold") if found[name] is not None]
    return f" ({', '.join([*parts, *filter(None, [found['detail']])])})" if parts or found["detail"] else ""


@click.command
@click.argument("setting", help="clean.RULE.PARAM=VALUE")
@click.option("--all", "every", is_flag=True, help="List every row that flips, not only the ten surest each way.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every row.")
def flips(setting: str, every: bool, as_json: bool) -> None:
    """Tell how many and which rows another threshold of a cleaning rule would flip, without running anything.

    The scores are those of the last run. What later rules would then say, only a run can tell.

    Example: clew rows flips clean.label_noise.threshold=0.3
    """
    from clew.cli import row_lines
    from clew.lineage import flips as room

    found = room.flips(setting)
    if as_json:
        click.echo(row_lines.as_json(found, indent=2))
        return
    click.echo("\n".join(map(row_lines.printable, _flips(found, None if every else SHOWN))))


def _flips(found: Flips, shown: int | None) -> Iterator[str]:
    now = found.found + len(found.newly) - len(found.no_longer)
    more = "at least " if found.at_least else ""
    yield f"clean.{found.name}: {found.before:g} → {found.after:g}"
    yield f"found {found.found:,} → {more}{now:,} of {found.measured:,} rows that it measured"
    for title, some in (("newly found", found.newly), ("no longer found", found.no_longer)):
        if some:
            yield f"{title}: {len(some):,}"
            yield from (f"  {_row(row)}" for row in some[:shown])
            if shown is not None and len(some) > shown:
                yield f"  … and {len(some) - shown:,} more (--all, --json)"
    if found.at_least:
        yield f"Pairs below {found.before:g} were measured where they were met only: a run may find more."
    if found.settled:
        yield f"not counted: {found.settled:,} that a person decided about"
    if not found.newly and not found.no_longer:
        yield "no row flips"


def _row(row: Row) -> str:
    now = row.now + (f" by {row.rule}" if row.rule else "")
    place = f"{row.source}/{row.file} record {row.record}"
    return f"{row.row_id[:12]}  {place}: score {row.score:.4g}, margin {row.margin:+.4g}; now {now}"
