"""clew merge-driver: let git merge dvc.lock stage by stage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Merge dvc.lock stage by stage instead of line by line.", no_args_is_help=True)

NAME = "clew-lock"
ATTRIBUTE = f"dvc.lock merge={NAME}"
ConflictFile = Annotated[Path, typer.Argument(help="A file that git names.")]


@app.command()
def install() -> None:
    """Install the driver for this repository: a line in .gitattributes (commit it) and one in this clone's git config.

    Git asks each clone to agree to a driver, so everyone runs this once.

    Example: clew merge-driver install
    """
    from clew.errors import SetupError

    git = _git("rev-parse", "--show-toplevel")
    if git is None:
        raise SetupError("not in a git repository", where=Path.cwd().name, fix="Run it in an experiment's repository.")
    _git("config", f"merge.{NAME}.name", "dvc.lock, stage by stage (clew)")
    _git("config", f"merge.{NAME}.driver", "clew merge-driver run %O %A %B")
    attributes = Path(git) / ".gitattributes"
    lines = attributes.read_text(encoding="utf-8").splitlines() if attributes.exists() else []
    if ATTRIBUTE not in lines:
        attributes.write_text("\n".join([*lines, ATTRIBUTE]) + "\n", encoding="utf-8")
        typer.echo("wrote .gitattributes: commit it, so that other clones know the driver's name")
    typer.echo("git now merges dvc.lock stage by stage in this clone")


@app.command()
def run(base: ConflictFile, ours: ConflictFile, theirs: ConflictFile) -> None:
    """Merge dvc.lock for git: `ours` becomes the merged file; exit code 1 where stages must run again.

    Example: clew merge-driver run BASE OURS THEIRS
    """
    from clew.errors import HistoryError
    from clew.history import lockfile, merge

    try:
        merged = merge.merge(*(path.read_text(encoding="utf-8") for path in (base, ours, theirs)))
    except (lockfile.LockError, UnicodeDecodeError) as error:
        raise HistoryError(
            f"cannot be merged: {error}", where="dvc.lock", fix="Take one side (`git checkout --ours dvc.lock`)."
        ) from None
    ours.write_text(merged.text, encoding="utf-8")
    if merged.conflicts:
        names = ", ".join(merged.conflicts)
        typer.echo(
            f"dvc.lock: both branches ran {names}, with different results. The merged lock leaves "
            f"{'them' if len(merged.conflicts) > 1 else 'it'} out: when the rest is merged, run `dvc repro`, then "
            "`git add dvc.lock` and commit.",
            err=True,
        )
        sys.exit(1)


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
