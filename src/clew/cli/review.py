"""clew review: rows that wait for a person's decision, out and in."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from clew.errors import DataError


@click.command
@click.argument("file", type=Path, required=False, help="Where to write; without it to the screen.")
@click.option("--rule", metavar="RULE", help="Only rows that this rule asks about.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows.")
def export(file: Path | None, rule: str | None, limit: int | None) -> None:
    """Write the rows that wait for a decision as JSON lines, to be edited.

    Write keep, drop or label into `decision` of each line (with label: the new one into `label`); lines without a
    decision keep waiting. A file that exists is left as it is: it may hold decisions.

    Example: clew review export review.jsonl --rule label_noise --limit 50
    """
    from clew import review
    from clew.cleaning import RULES

    if rule and rule not in RULES:
        near = difflib.get_close_matches(rule, RULES, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(RULES)}"
        raise click.BadParameter(f"no rule of clean is called `{rule}`; {hint}", param_hint="--rule")
    queue = [row for row in review.waiting() if rule is None or rule in review.asking(row)][:limit]
    lines = "".join(f"{line}\n" for line in review.lines(queue))
    if file is None:
        click.echo(lines, nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(lines)
    except FileExistsError:
        fix = "Import it, take it away, or name another file."
        raise DataError("it exists, and may hold decisions", where=str(file), fix=fix) from None
    except OSError as error:
        raise DataError(f"it cannot be written ({error.strerror})", where=str(file), fix="Name another file.") from None
    click.echo(f"{len(queue):,} rows in {file}: decide, then `clew review import {file}`")


@click.command("import")
@click.argument("file", type=Path, help="An edited export.")
@click.option("--by", metavar="WHO", default="", help="Who decided, for lines that do not say.")
@click.option("--on", metavar="DATE", default="", help="When, for lines that do not say.  [default: today]")
def admit(file: Path, by: str, on: str) -> None:
    """Take decisions into data/review/decisions/, where git keeps them and the next `dvc repro` honours them.

    Example: clew review import review.jsonl --by ada@example.org
    """
    from datetime import date

    from clew import review

    found = review.admit(file, by, on or date.today().isoformat())
    click.echo(f"{found.decided:,} decisions in {found.path}; {found.undecided:,} lines undecided")
    if found.decided:
        click.echo(f"now: git add {found.path} && dvc repro")
