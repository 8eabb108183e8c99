"""clew merge-driver: let git merge dvc.lock stage by stage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from clew.errors import SetupError

NAME = "clew-lock"
ATTRIBUTE = f"dvc.lock merge={NAME}"


@click.command
def install() -> None:
    """Install the driver for this repository: a line in .gitattributes (commit it) and one in this clone's git config.

    Git asks each clone to agree to a driver, so everyone runs this once.

    Example: clew merge-driver install
    """
    attributes = Path(_git("rev-parse", "--show-toplevel")) / ".gitattributes"
    told = _with_attribute(attributes)
    _git("config", f"merge.{NAME}.name", "dvc.lock, stage by stage (clew)")
    _git("config", f"merge.{NAME}.driver", "clew merge-driver run %O %A %B")
    if told is not None:
        try:
            attributes.write_bytes(told)
        except OSError as error:
            raise _unusable(str(error.strerror)) from None
        click.echo("wrote .gitattributes: commit it, so that other clones know the driver's name")
    click.echo("git now merges dvc.lock stage by stage in this clone")


def _with_attribute(path: Path) -> bytes | None:
    """What .gitattributes is to hold, its own line ends kept; None where it has the line already."""
    try:
        found = path.read_bytes() if path.exists() else b""
        lines = found.decode("utf-8").splitlines()
    except OSError as error:
        raise _unusable(str(error.strerror)) from None
    except UnicodeDecodeError:
        raise _unusable("it is not UTF-8") from None
    if ATTRIBUTE in map(str.strip, lines):
        return None
    end = b"\r\n" if b"\r\n" in found else b"\n"
    return found + (b"" if not found or found.endswith(b"\n") else end) + ATTRIBUTE.encode() + end


def _unusable(why: str) -> SetupError:
    from clew.errors import SetupError

    return SetupError(why, where=".gitattributes", fix=f"Mend it, or add the line `{ATTRIBUTE}` yourself.")


@click.command
@click.argument("base", type=Path, help="The file before both changes.")
@click.argument("ours", type=Path, help="This branch's file; the merged one is written here.")
@click.argument("theirs", type=Path, help="The other branch's file.")
def run(base: Path, ours: Path, theirs: Path) -> None:
    """Merge dvc.lock for git: `ours` becomes the merged file; exit code 1 where stages must run again.

    Example: clew merge-driver run BASE OURS THEIRS
    """
    from clew.errors import HistoryError
    from clew.history import lockfile, merge

    try:
        merged = merge.merge(*(path.read_text(encoding="utf-8") for path in (base, ours, theirs)))
    except (lockfile.LockError, UnicodeDecodeError, OSError) as error:
        raise HistoryError(
            f"cannot be merged: {error}", where="dvc.lock", fix="Take one side (`git checkout --ours dvc.lock`)."
        ) from None
    ours.write_text(merged.text, encoding="utf-8")
    if merged.conflicts:
        names = ", ".join(merged.conflicts)
        click.echo(
            f"dvc.lock: both branches ran {names}, with different results. The merged lock leaves "
            f"{'them' if len(merged.conflicts) > 1 else 'it'} out: when the rest is merged, run `dvc repro`, then "
            "`git add dvc.lock` and commit.",
            err=True,
        )
        sys.exit(1)


def _git(*arguments: str) -> str:
    """What git prints; raises SetupError with git's own words."""
    from clew.errors import SetupError

    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, encoding="utf-8", errors="surrogateescape", check=False
        )
    except FileNotFoundError:
        raise SetupError("git is not installed", where="PATH", fix="Install git.") from None
    if done.returncode == 0:
        return done.stdout.rstrip("\n")
    said = " ".join(done.stderr.split()).removesuffix(".") or f"exit code {done.returncode}"
    if arguments[0] == "rev-parse":
        bare = "work tree" in said
        raise SetupError(
            "a bare repository merges nothing" if bare else "not in a git repository",
            where=Path.cwd().name,
            fix="Run it in a clone of it." if bare else "Run it in an experiment's repository.",
        )
    raise SetupError(f"git did not take the setting: {said}", where=f"git {arguments[0]}", fix="Then run this again.")
