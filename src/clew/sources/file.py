"""file:PATH: a file, a folder or a glob on this machine, relative to the repository's root or absolute.

    file:../exports/visits-2024-*.csv

In a folder, hidden files are left out (`.DS_Store`, `.git`). Links are followed: the machine is the user's own.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
from pathlib import Path

from clew.errors import SourceError
from clew.sources import archive

FICLONE = 0x40049409  # from linux/fs.h: share the blocks until one side writes


def fetch(place: str, into: Path, where: str) -> None:
    """Copy what `place` names into the folder `into`."""
    path = place.removeprefix("//") if place.startswith("///") else place
    named = [Path(name) for name in sorted(glob.glob(path, recursive=True))] or [Path(path)]  # noqa: PTH207 (absolute)
    if len(named) == 1 and named[0].is_dir():
        folder = named[0]
        os.listdir(folder)  # noqa: PTH208 (raises where it may not be read; rglob would find nothing)
        named = [file for file in sorted(folder.rglob("*")) if not _hidden(file.relative_to(folder))]
    files = [file for file in named if file.is_file()]
    if not files:
        raise SourceError(f"there is no file `{path}`", where=where, fix=_near(Path(path)))
    base = os.path.commonpath([file.parent for file in files])
    for file in files:
        copy(file, into / file.relative_to(base))


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes; where the file system can, without using room (never as a link to the original)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as original, target.open("xb") as new:
        try:
            fcntl.ioctl(new, FICLONE, original.fileno())
        except OSError:
            shutil.copyfileobj(original, new, 1 << 20)


def copy_folder(source: Path, target: Path) -> None:
    """Copy every file in `source` to the same place in `target`."""
    for file in sorted(source.rglob("*")):
        if file.is_file():
            copy(file, target / file.relative_to(source))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _near(path: Path) -> str:
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    beside = [str(folder / other.name) for other in folder.iterdir()]
    return archive.near(str(path), beside) if beside else f"`{folder}` is empty."
