"""https://HOST/PATH/FILE: one file, streamed. Plain http is refused, also where a redirect leads to it.

    https://zenodo.org/records/1234567/files/visits.csv

Proxies, certificates and passwords are taken as `requests` takes them: from the environment and ~/.netrc.
"""

from __future__ import annotations

import re
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from clew.errors import SourceError
from clew.sources import archive, progress

if TYPE_CHECKING:
    import requests

TRIES = 3
TIMEOUT = (10, 60)  # seconds: to connect, between two pieces
CHUNK = 1 << 20
BUSY = {429, 500, 502, 503, 504}
PLACE = re.compile(r"//[^/@?#]+/(?:[^?#]*/)?[^/?#]+(?:\?.*)?")  # no `user:password@`: params.yaml is in git


def is_place(place: str) -> bool:
    """Whether `https:` + `place` names a host that can be looked up and a file that can be kept.

    >>> is_place("//example.org/visits.csv"), is_place("//[example/visits.csv"), is_place("//example.org/%2e%2e")
    (True, False, False)
    """
    if not PLACE.fullmatch(place):
        return False
    try:
        parts = urlsplit(f"https:{place}")
        host, _ = parts.hostname or "", parts.port  # each refuses what it cannot be
        known = parts.netloc.startswith("[") or re.fullmatch(rb"[\w.-]+", host.encode("idna"))
        name = _name(place)
        return bool(known) and name not in ("", "..") and archive.is_plain(name)
    except ValueError:
        return False


def _name(place: str) -> str:
    return PurePosixPath(unquote(urlsplit(f"https:{place}").path)).name


def fetch(place: str, into: Path, where: str) -> None:
    """Download `https:` + `place` into the folder `into`, under the last part of its path."""
    import requests
    from urllib3.exceptions import HTTPError

    url, target = f"https:{place}", into / _name(place)
    for attempt in range(1, TRIES + 1):
        try:
            _download(url, target, where)
            return
        except (requests.RequestException, HTTPError, ValueError) as error:  # ValueError: a redirect to no address
            if attempt == TRIES or not _passes(error):
                raise SourceError(
                    f"{url} cannot be fetched ({_cause(error)})", where=where, fix="Check the address and the network."
                ) from None
            time.sleep(attempt)


def _download(url: str, target: Path, where: str) -> None:
    import requests

    with requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as answer:
        for hop in (*answer.history, answer):
            if not hop.url.startswith("https://"):
                raise SourceError(f"{url} leads to {hop.url}", where=where, fix="Name an address that stays on https.")
        answer.raise_for_status()
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        with target.open("wb") as file, progress.bar(target.name, total) as advance:
            for piece in answer.iter_content(CHUNK):
                advance(file.write(piece))


def _passes(error: Exception) -> bool:
    """Whether it may go better in a second: a broken connection or a busy server, not a refusal."""
    response: requests.Response | None = getattr(error, "response", None)
    return not isinstance(error, ValueError) if response is None else response.status_code in BUSY


def _cause(error: Exception) -> str:
    """The innermost reason in a few words: requests and urllib3 wrap it three times."""
    response: requests.Response | None = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return archive.one_line(getattr(inner, "strerror", None) or inner)
