"""clew params list and use: the ready experiments in params/."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import click

READY = Path("params")
FILE = Path("params.yaml")


@click.command("list")
def listed() -> None:
    """List the ready experiments: the files in params/, with what each is; * is the one in params.yaml.

    Example: clew params list
    """
    here = FILE.read_bytes() if FILE.is_file() else b""
    for path in _files():
        mark = "*" if path.read_bytes() == here else " "
        click.echo(f"{mark} {path.stem:<10} {_about(path)}")


@click.command
@click.argument("name", help="A file of params/, without .yaml, such as encoder.")
@click.option("--force", is_flag=True, help="Also where changes of params.yaml would be lost.")
def use(name: str, force: bool) -> None:
    """Write a ready experiment of params/ as params.yaml.

    Changes of params.yaml that are neither committed nor those of another ready experiment are kept, unless --force.

    Example: clew params use encoder
    """
    from clew import io, params

    source = _named(name)
    params.load(source)
    if not force:
        _check_nothing_is_lost()
    with io.replace_file(FILE) as aside:
        aside.write_bytes(source.read_bytes())
    click.echo(f"{FILE} is {source} now. `dvc repro` makes that experiment.")


def _files() -> list[Path]:
    from clew.errors import ParamsError

    found = sorted(READY.glob("*.yaml"))
    if not found:
        raise ParamsError("there are no ready experiments", where=str(READY), fix="Run clew in the repository's root.")
    return found


def _named(name: str) -> Path:
    import difflib

    from clew.errors import ParamsError

    names = {path.stem: path for path in _files()}
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise ParamsError(
            f"there is no `{name}`" + (f"; did you mean `{near[0]}`?" if near else ""),
            where=str(READY),
            fix=f"There are: {', '.join(names)}.",
        )
    return names[name]


def _about(path: Path) -> str:
    """The first sentence of the comment that a file begins with."""
    comment = " ".join(_comment(path.read_text(encoding="utf-8")))
    return comment.partition(". ")[0].rstrip(".")


def _comment(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line.removeprefix("#").strip()


def _check_nothing_is_lost() -> None:
    from clew.errors import ParamsError

    if not FILE.exists() or FILE.read_bytes() in [path.read_bytes() for path in _files()]:
        return
    command = ["git", "status", "--porcelain", "--ignored", "--", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and not done.stdout:
        return
    what = "its changes are not committed" if done.returncode == 0 else "it lies in no git repository"
    raise ParamsError(
        f"{what}, and would be lost", where=str(FILE), fix="Commit them, or run the command again with --force."
    )
