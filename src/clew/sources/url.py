"""https://HOST/PATH/FILE: one file, streamed. Plain http is refused, also where a redirect leads to it.

    https://zenodo.org/records/1234567/files/visits.csv

Proxies, certificates and passwords are taken as `requests` takes them: from the environment and ~/.netrc.
"""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from clew.errors import SourceError
from clew.sources import progress

if TYPE_CHECKING:
    import requests

TRIES = 3
TIMEOUT = (10, 60)  # seconds: to connect, between two pieces
CHUNK = 1 << 20
BUSY = {429, 500, 502, 503, 504}


def fetch(place: str, into: Path, where: str) -> None:
    """Download `https:` + `place` into the folder `into`, under the last part of its path."""
    import requests

    url = f"https:{place}"
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if name in ("", "..") or not name.isprintable():
        raise SourceError(f"{url} ends in no file's name", where=where, fix="Name one file.")
    target = into / name
    for attempt in range(1, TRIES + 1):
        try:
            _download(url, target, where)
            return
        except requests.RequestException as error:
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
        total = int(answer.headers.get("Content-Length", 0)) or None
        with target.open("wb") as file, progress.bar(target.name, total) as advance:
            for piece in answer.iter_content(CHUNK):
                advance(file.write(piece))


def _passes(error: requests.RequestException) -> bool:
    """Whether it may go better in a second: a broken connection or a busy server, not a refusal."""
    return error.response is None or error.response.status_code in BUSY


def _cause(error: requests.RequestException) -> str:
    """The innermost reason in a few words: requests and urllib3 wrap it three times."""
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return str(getattr(inner, "strerror", None) or inner)
