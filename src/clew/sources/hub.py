"""hf://OWNER/NAME@REVISION[/FILE]: a model, or hf://datasets/OWNER/NAME@REVISION[/FILE]: a data set, of a hub.

    hf://HuggingFaceTB/SmolLM2-135M-Instruct@7e27bd9f95328f0f3b08261d1252705110c806f8
    hf://datasets/stanfordnlp/imdb@refs%2Fconvert%2Fparquet/plain_text/test/*.parquet

A commit's hash is the surest revision; a branch may move on (the digest then says so). Only data comes: weights
as safetensors or GGUF, tables, text, tokenizers. Pickles (`*.bin`, `*.pt`) and code (`*.py`) do not.
$HF_HOME, $HF_ENDPOINT, $HF_HUB_OFFLINE and `hf auth login` work as everywhere; the files stay in the hub's own cache.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from clew import io
from clew.errors import SourceError
from clew.sources import archive, file

KINDS = (
    ".safetensors", ".gguf", ".json", ".jsonl", ".txt", ".model", ".jinja", ".parquet", ".csv", ".tsv",
    ".gz", ".zst", ".zip", ".tar",
)  # fmt: skip
PLACE = re.compile(
    r"//(?:(?P<kind>datasets|models)/)?(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[^/]+)(?:/(?P<file>.+))?", re.ASCII
)


def fetch(place: str, into: Path, where: str) -> None:
    """Bring what `place` names into the folder `into`."""
    parts = PLACE.fullmatch(place)
    if parts is None:  # `sources.parse` lets none through
        raise AssertionError(place)
    pattern = parts["file"] or "**"
    if not pattern.endswith(("*", *KINDS)):
        raise SourceError(
            f"`{pattern}` may hold code or pickles", where=where, fix=f"Only these come from a hub: {' '.join(KINDS)}."
        )
    kind = "dataset" if parts["kind"] == "datasets" else "model"
    repo, revision = parts["repo"], unquote(parts["revision"])
    wanted = _snapshot(repo, kind, revision, pattern, where)
    if any(_damaged(source) for source in wanted.values()):  # the damaged blobs are gone now: fetch them anew
        wanted = _snapshot(repo, kind, revision, pattern, where)
    for name, source in wanted.items():
        file.copy(source, into / name)


def _snapshot(repo: str, kind: str, revision: str, pattern: str, where: str) -> dict[str, Path]:
    """Have the hub's library download what fits `pattern` into its cache: each file's name and place."""
    from huggingface_hub import list_repo_files, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    wide = pattern.replace("**/", "*")  # the library's `*` crosses folders and its `**/` wants one
    allowed = [wide + ending for ending in KINDS] if wide.endswith("*") else [wide]
    with _answers(repo, revision, where):
        folder = Path(snapshot_download(repo, repo_type=kind, revision=revision, allow_patterns=allowed))
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    wanted = {name: folder / name for name in names if archive.matches(name, pattern) and name.endswith(KINDS)}
    if not wanted:
        with _answers(repo, revision, where):
            there = list_repo_files(repo, repo_type=kind, revision=revision)
        raise SourceError(f"{repo} has no file `{pattern}`", where=where, fix=archive.near(pattern, there))
    return wanted


@contextmanager
def _answers(repo: str, revision: str, where: str) -> Iterator[None]:
    """Say in one line why the hub's library gives up, also where what answers is no hub (a page to log in at)."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except (
        errors.HfHubHTTPError,
        errors.LocalEntryNotFoundError,
        errors.IncompleteSnapshotError,
        errors.HFValidationError,
        errors.OfflineModeIsEnabled,
        httpx2.HTTPError,
    ) as error:
        cause = archive.one_line(error)
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # the library trusts what it is told
        cause = f"what answers is no hub: {archive.one_line(error)}"
    else:
        return
    raise SourceError(
        f"{repo} at {archive.one_line(revision)} cannot be fetched ({cause})",
        where=where,
        fix="Check the name, the revision, the network and, where access is granted by name, `hf auth login`.",
    )


def _damaged(source: Path) -> bool:
    """Whether a file in the hub's cache is not what its blob's name says; if so, it is removed."""
    blob = source.resolve()
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        right = io.sha256(blob) == blob.name
    elif re.fullmatch("[0-9a-f]{40}", blob.name):  # git's own: of the length and the bytes
        content = blob.read_bytes()
        right = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == blob.name  # noqa: S324
    else:
        right = True  # a file system without links: the digest of the whole source decides
    if not right:
        blob.unlink()
    return not right
