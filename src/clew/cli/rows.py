"""clew rows: keys for row ids, a row's biography, a model's rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from clew.lineage.archive import Archive
    from clew.lineage.biography import Biography
    from clew.lineage.row_names import Named

SHOWN = 20
"""Stories of a row that are printed, without --all."""


@click.command
def key() -> None:
    """Make a secret key for row ids and print its fingerprint, to be named as prepare.row_key.

    Keep the key file out of git and back it up: without it the same rows get other ids. Destroying it unlinks
    the ids from the rows for good.

    Example: clew rows key
    """
    from clew import keys

    made = keys.make()
    click.echo(f"wrote {made}\nset prepare.row_key: {made.name} in params.yaml")


@click.command
@click.argument("row_id", required=False, help="A row id, or at least its first 8 digits.")
@click.option("--text", metavar="TEXT", help="The row's text, as it stands in the source.")
@click.option("--file", type=Path, metavar="FILE", help='JSONL, one {"row_id": …} or {"text": …} a line.')
@click.option("--rev", multiple=True, metavar="REV", help="Look in this revision only; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--all", "every", is_flag=True, help="Print every story, not only the newest.")
def trace(
    row_id: str | None,
    text: str | None,
    file: Path | None,
    rev: Sequence[str],
    as_json: bool,
    every: bool,
) -> None:
    """Tell a row's biography: its origin, what each stage decided and why, which models it trained, in every commit.

    Commits that follow one another and tell the same are one line. Nothing is written but `.clew/rows.sqlite`.

    Example: clew rows trace 5c603797
    """
    from clew.errors import HistoryError
    from clew.history import repository
    from clew.lineage import archive, biography, row_names

    if sum(one is not None for one in (row_id, text, file)) != 1:
        raise HistoryError(
            "name rows in one way", where="clew rows trace", fix="Give a row id, or --text, or --file rows.jsonl."
        )

    def question(rows: Archive) -> tuple[list[Named], list[Biography], list[str], list[str]]:
        if file is not None:
            named = row_names.by_file(rows, file)
        else:
            named = [row_names.by_text(rows, text) if text is not None else row_names.by_id(rows, row_id or "")]
        wanted = list(dict.fromkeys(one for name in named for one in name.row_ids))
        return (
            named,
            biography.trace(rows, wanted, None if every else SHOWN),
            list(dict.fromkeys(rows.missing)),
            rows.problems,
        )

    repo = repository.open_repository(Path())
    told = archive.ask(repo, rev, question, scores=every, tell=lambda line: click.echo(line, err=True))
    _print_biographies(*told, shallow=repo.is_shallow, as_json=as_json, shown=None if every else SHOWN)


def _print_biographies(
    named: list[Named],
    found: list[Biography],
    missing: list[str],
    problems: list[str],
    *,
    shallow: bool,
    as_json: bool,
    shown: int | None,
) -> None:
    from dataclasses import asdict

    from clew.cli import row_lines
    from clew.terminal import clean

    unknown = [name.name for name in named if not name.row_ids]
    if as_json:
        tree = {
            "rows": [asdict(row) for row in found],
            "unknown": unknown,
            "missing": missing,
            "problems": problems,
            "shallow": shallow,
            "note": row_lines.NOTE,
        }
        click.echo(row_lines.as_json(tree, indent=2))
        return
    for row in found:
        click.echo("\n".join(row_lines.biography(row, shown)) + "\n")
    if len(named) > 1 or unknown:
        click.echo(f"{len(named) - len(unknown):,} of {len(named):,} were found, as {len(found):,} rows")
    for name in unknown:
        click.echo(f"! not found: {clean(name)}")
    if missing:
        click.echo(f"! not in the cache, so nothing is said of it (`dvc fetch --all-commits`): {clean(_few(missing))}")
    if problems:
        click.echo(f"! cannot be read, so nothing is said of it: {clean(_few(problems))}")
    if shallow:
        click.echo(f"! {row_lines.SHALLOW}")
    click.echo(row_lines.NOTE)


def _few(names: list[str]) -> str:
    return "; ".join(names[:3]) + (f"; and {len(names) - 3:,} more" if len(names) > 3 else "")


@click.command
@click.argument("model", help="A model's folder or its name, such as sft.")
@click.option("--rev", metavar="REV", help="The revision; without it the work tree.")
@click.option("--side", metavar="SIDE", default="train", help="train, valid or test.")
@click.option("--count", is_flag=True, help="Only how many, by source and task.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a row.")
def of(model: str, rev: str | None, side: str, count: bool, as_json: bool) -> None:
    """List the rows that a model was made from: row id, source, file, record, task, one a line.

    Example: clew rows of sft --count
    """
    from clew.cli import row_lines
    from clew.errors import HistoryError
    from clew.history import repository
    from clew.lineage import model_rows

    if side not in ("train", "valid", "test"):
        raise HistoryError("no such side", where=f"--side {side}", fix="The sides are train, valid and test.")
    repo = repository.open_repository(Path())
    found = model_rows.located(repo, model, rev, side)
    for path in found:
        if count:
            for source, task, n in model_rows.counts(path):
                line = {"source": source, "task": task, "rows": n}
                click.echo(row_lines.as_json(line) if as_json else f"{n:>9,}  {row_lines.cell(f'{source}/{task}')}")
            continue
        for batch in model_rows.batches(path):
            told = [
                row_lines.as_json(row) if as_json else "\t".join(map(row_lines.cell, row.values())) for row in batch
            ]
            click.echo("\n".join(told))
    if repo.is_shallow:
        click.echo(f"! {row_lines.SHALLOW}", err=True)
    click.echo(row_lines.NOTE, err=True)
