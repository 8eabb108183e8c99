"""Members of zip (wheel) and tar (sdist) archives, taken as data: nothing in them is run or trusted.

    take(Path("vaderSentiment-3.3.2.tar.gz"),
         ("*/additional_resources/hutto_ICWSM_2014.tar.gz", "*/*_anonDataRatings.txt"), into, where)

An archive is refused when a name in it leads out of its folder, when a wanted member is a link or a device,
or when it would unpack to far more than it holds (a zip bomb), on the disk or in memory.
"""

from __future__ import annotations

import difflib
import errno
import fnmatch
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Self

from clew.errors import SourceError

MAX_FILES = 100_000
MAX_NAME = 255  # bytes of one part of a path, as file systems have it
MAX_PATH = 1024  # of all of them: systems take 1,024 to 4,096, less the folder that it goes to
MAX_HEADER = 1 << 20  # of what a tar says about a member: the standard library reads it whole
PIECE = 2048  # packed bytes that a tar is read by: bzip2 makes 40 MB of so many, and 200 of the usual 10 KiB
MAX_RATIO = 100
"""Text packs 3 to 20 times, repetitive JSON lines up to 50; a zip bomb 1,000 times and more."""
FREE_BYTES = 1 << 30
"""Below this the ratio does not matter: no disk is filled by it."""

DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
    EOFError, OSError, NotImplementedError, ValueError, OverflowError, TypeError, RecursionError,
)  # fmt: skip
"""What the standard library raises on archives that are cut, garbled or forged."""

ABOUT_THE_NEXT = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)


class Member(NamedTuple):
    """An entry of an archive that is not a folder."""

    name: str
    size: int
    """Bytes when unpacked, as the archive says; reading stops there."""
    open: Callable[[], IO[bytes]] | None
    """None for a link, a device, or a file that is encrypted."""


def take(archive: Path, patterns: tuple[str, ...], into: Path, where: str) -> None:
    """Unpack what `patterns` name into the folder `into`, under the names they have in the archive.

    Each pattern but the last names one member, an archive that the next one looks into. Raises SourceError when
    nothing fits, or when the archive is hostile or damaged; the caller throws away what was unpacked until then.
    """
    pattern, *inner = patterns
    if not inner:
        _unpack(archive, pattern, into, where)
        return
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".inner-") as scratch:
        _unpack(archive, pattern, Path(scratch), where)
        take(only_file(Path(scratch), where), tuple(inner), into, where)


def only_file(folder: Path, where: str) -> Path:
    """The one file in `folder`: what stands before `!/` must be one archive."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    if len(files) != 1:
        raise SourceError(f"{len(files)} files fit what stands before `!/`", where=where, fix="Name one archive there.")
    return files[0]


def matches(name: str, pattern: str) -> bool:
    """Whether a member's name fits a glob: `*`, `?` and `[…]` stay within one folder, `**` is any folders.

    >>> matches("data/a/b.csv", "data/*.csv"), matches("data/a/b.csv", "data/**/*.csv")
    (False, True)
    """
    return _parts_match(PurePosixPath(name).parts, PurePosixPath(pattern).parts)


def _parts_match(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_parts_match(names[skip:], patterns[1:]) for skip in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _parts_match(names[1:], patterns[1:])


def checked_name(name: str, where: str) -> PurePosixPath:
    """A member's name as a relative path that stays within its folder on any system, or SourceError."""
    path = PurePosixPath(name)
    drive = any(part[1:2] == ":" for part in path.parts)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or drive:
        raise _refused(where, f"the archive has a member named {name[:80]!r}, which leads out of its folder")
    if len(name.encode(errors="replace")) > MAX_PATH:
        raise _refused(where, f"the path of the member {name[:80]!r} has more than {MAX_PATH:,} bytes")
    return path


def is_plain(name: str) -> bool:
    """Whether a file can have this name: not too long, and without what breaks or forges a listing of names."""
    return name.isprintable() and all(len(part.encode()) <= MAX_NAME for part in name.split("/"))


def _unpack(archive: Path, pattern: str, into: Path, where: str) -> None:
    names: list[str] = []
    found, unpacked, limit = 0, 0, max(FREE_BYTES, MAX_RATIO * archive.stat().st_size)
    try:
        for member in _members(archive, where):
            target = into / checked_name(member.name, where)
            names.append(member.name)
            unpacked += member.size
            if unpacked > limit or len(names) > MAX_FILES:
                most = f"{limit:,} bytes or {MAX_FILES:,} files"
                raise _refused(where, f"{archive.name} unpacks to more than {most}")
            if matches(member.name, pattern):
                _write(member, target, where)
                found += 1
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a forged offset
            raise  # the disk's, not the archive's
        raise _refused(where, f"{archive.name} is damaged ({one_line(error)})") from None
    if not found:
        raise SourceError(f"{archive.name} has no member `{pattern}`", where=where, fix=near(pattern, names))


def _write(member: Member, target: Path, where: str) -> None:
    if member.open is None:
        raise _refused(where, f"the member {member.name[:80]!r} is a link, a device or encrypted, not a plain file")
    if not is_plain(member.name):
        raise _refused(where, f"the member {member.name[:80]!r} has a name that is too long or cannot be printed")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as packed, target.open("xb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _refused(where, f"two members want the place `{member.name}`") from None


def _members(archive: Path, where: str) -> Iterator[Member]:
    if _is_tar(archive):  # asked first: a tar whose last member is a zip also passes for a zip
        return _tar_members(archive)
    if zipfile.is_zipfile(archive):
        return _zip_members(archive)
    raise _refused(where, f"{archive.name} is neither a zip nor a tar archive")


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            kind, encrypted = stat.S_IFMT(info.external_attr >> 16), info.flag_bits & 1
            plain = kind in (0, stat.S_IFREG) and not encrypted
            if not info.is_dir():
                yield Member(info.filename, info.file_size, partial(packed.open, info) if plain else None)


class _Header(tarfile.TarInfo):
    """A header that is refused before what it announces is read: pages of names, maps of the holes in a file."""

    ahead, shared = 0, 0
    """Bytes that are said about the next member and about all of them; `of_one_archive` counts anew."""

    @classmethod
    def of_one_archive(cls) -> type[_Header]:
        return type(cls.__name__, (cls,), {})

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type == tarfile.XGLTYPE:
            cls.shared += info.size
        elif info.type in ABOUT_THE_NEXT:
            cls.ahead += info.size
        else:
            cls.ahead = 0
        if info.size < 0 or cls.ahead + cls.shared > MAX_HEADER:
            raise tarfile.TarError(f"a header of more than {MAX_HEADER:,} bytes")
        if info.type == tarfile.GNUTYPE_SPARSE:
            cls._proc_gnusparse_10()
        return info

    @staticmethod
    def _proc_gnusparse_10(*_: object) -> None:  # the same in pax's spelling
        raise tarfile.TarError("a file with holes")


def _is_tar(archive: Path) -> bool:
    try:
        tarfile.open(archive, "r|*", bufsize=PIECE, tarinfo=_Header.of_one_archive()).close()
    except tarfile.ReadError:
        return False
    return True


def _tar_members(archive: Path) -> Iterator[Member]:
    # As a stream: each member is read once, in order.
    with tarfile.open(archive, "r|*", bufsize=PIECE, tarinfo=_Header.of_one_archive()) as packed:
        while info := packed.next():
            packed.members.clear()  # type: ignore[attr-defined]  # else it keeps the headers of all
            opened = packed.extractfile(info) if info.isreg() else None
            if not info.isdir():
                yield Member(info.name, info.size, partial(_same, opened) if opened else None)


def _same(stream: IO[bytes]) -> IO[bytes]:
    return stream


def near(wanted: str, names: list[str]) -> str:
    """What to do when nothing fits: the nearest names that there are."""
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.3) or sorted(names)[:3]
    return f"Nearest: {', '.join(f'`{one_line(name)}`' for name in close)}." if close else "It is empty."


def one_line(said: object) -> str:
    """What someone else named or said, fit for a message: its first line that says something, printable."""
    first = next((line.strip() for line in str(said).splitlines() if line.strip()), type(said).__name__)[:300]
    return first if first.isprintable() else ascii(first)[1:-1]


def _refused(where: str, what: str) -> SourceError:
    return SourceError(what, where=where, fix="Do not use this source, or ask its author for a sound archive.")
