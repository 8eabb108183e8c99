"""A package's sdist, downloaded and nothing else: `pip download` would run its setup.py to learn its name.

unearth reads package indexes as pip does; pip's own settings are handed on to it.
"""

from __future__ import annotations

import ast
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from clew import process
from clew.errors import SourceError
from clew.sources import archive, file

if TYPE_CHECKING:
    from unearth import Package, PackageFinder
    from unearth.fetchers import Fetcher

PYPI = "https://pypi.org/simple/"
TIMEOUT = 60  # seconds


def download(place: str, into: Path, where: str, *, or_wheel: bool) -> None:
    """Bring the sdist of `place` (NAME==VERSION) into the folder `into`; the index's digest of it is checked.

    or_wheel: where there is no sdist, a wheel for whatever platform: pip has refused it, but it is only read.
    """
    import httpx2
    from unearth.errors import UnpackError
    from unearth.preparer import download_link

    name, _, version = place.partition("==")
    warned = _Warnings()
    try:
        finder = _finder(pip_settings())
        packages = list(finder.find_all_packages(name, allow_yanked=True))
        if not packages:
            said = f" ({warned.said[-1]})" if warned.said else ""
            raise SourceError(f"no package index has {name}{said}", where=where, fix="Check the package's name.")
        link = _choose(packages, name, version, where, or_wheel=or_wheel).link
        found = download_link(finder.session, link, into, hashes=link.hash_option)
        if found.parent != into:  # of a local index, unearth gives the file itself
            file.copy(found, into / found.name)
    except (httpx2.HTTPError, UnpackError, ValueError) as error:  # ValueError: an address that is none
        raise unreachable(place, str(error), where) from None
    finally:
        warned.close()


def unreachable(place: str, cause: str, where: str) -> SourceError:
    """No package index answers, or what it gives is broken."""
    cause = " ".join(cause.removeprefix("ERROR: ").removeprefix("WARNING: ").split())
    return SourceError(
        f"the package {place} cannot be fetched ({cause})",
        where=where,
        fix="Check the network and `pip config list`; what is in the cache needs no network.",
    )


def _choose(packages: list[Package], name: str, version: str, where: str, *, or_wheel: bool) -> Package:
    from packaging.utils import canonicalize_version

    wanted = canonicalize_version(version)
    same = [package for package in packages if canonicalize_version(package.version or "") == wanted]
    if not same:
        versions = list(dict.fromkeys(package.version or "" for package in packages))
        raise SourceError(f"{name} has no version {version}", where=where, fix=archive.near(version, versions))
    fit = [package for package in same if or_wheel or not package.link.is_wheel]
    if not fit:
        raise SourceError(f"{name}=={version} has no sdist", where=where, fix="Write package:// for its wheel.")
    return min(fit, key=lambda package: (package.link.is_wheel, package.link.filename))


def _finder(settings: dict[str, list[str]]) -> PackageFinder:
    import ssl

    from unearth import PackageFinder
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import PyPIClient

    offline = settings.get("no-index", [""])[0].lower() in ("1", "true", "yes", "on")
    indexes = [] if offline else [*settings.get("index-url", [PYPI]), *settings.get("extra-index-url", [])]
    trusted = settings.get("trusted-host", [])
    certificates = ssl.create_default_context(cafile=settings.get("cert", [None])[0])
    session = PyPIClient(trusted_hosts=trusted, verify=certificates, timeout=TIMEOUT, follow_redirects=True)
    session.auth = MultiDomainBasicAuth(index_urls=indexes)
    return PackageFinder(
        session=cast("Fetcher", session),
        index_urls=indexes,
        find_links=settings.get("find-links", []),
        trusted_hosts=trusted,
        ignore_compatibility=True,  # it is read, not installed
    )


def pip_settings() -> dict[str, list[str]]:
    """pip's settings by name, as `pip config list` prints them; the environment goes over `download` over `global`.

    global.extra-index-url='https://a.example/simple https://b.example/simple'
    """
    done = process.run([sys.executable, "-m", "pip", "config", "list"])
    settings: dict[str, dict[str, list[str]]] = {"global": {}, "download": {}, ":env:": {}}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in settings and value.startswith(("'", '"')):
            settings[section][name] = str(ast.literal_eval(value)).split()
    return {**settings["global"], **settings["download"], **settings[":env:"]}


class _Warnings(logging.Handler):
    """What unearth warns of while it looks: told only when nothing is found."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self.logger = logging.getLogger("unearth")
        self.propagated, self.logger.propagate = self.logger.propagate, False
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())

    def close(self) -> None:
        self.logger.removeHandler(self)
        self.logger.propagate = self.propagated
        super().close()
