"""fetch_data: bring the raw files of every source to data/raw/<name>/, checked against the declared SHA-256.

Writes data/raw whole, so that a source that is no longer declared is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clew import io, paths, sources

if TYPE_CHECKING:
    from clew import params


def run(fetch_data: params.FetchData) -> dict[str, Any]:
    """Fetch the sources one after another. Returns what came, by source: files, bytes, whether from the cache."""
    came = {}
    with io.replace_folder(paths.RAW) as raw:
        for name, source in fetch_data.sources.items():
            (raw / name).mkdir()
            came[name] = sources.fetch(source, raw / name, f"fetch_data.sources.{name}")._asdict()
    return {"sources": came}
