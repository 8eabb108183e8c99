"""Which rows are meant: a row id, the beginning of one, a text, or a file of either.

{"row_id": "5f0c…"}        one line of a file of withdrawn rows
{"text": "I could be homeless soon …"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clew.errors import DataError, HistoryError
from clew.lineage import row_files
from clew.lineage.archive import Archive
from clew.terminal import clean

WHOLE, AT_LEAST = 64, 8
"""Hex digits of a row id, and of a beginning that is accepted."""


class Named(NamedTuple):
    """Rows as they were asked for. name: how. row_ids: those found, none for a row that no file has."""

    name: str
    row_ids: tuple[str, ...]


def by_id(archive: Archive, text: str) -> Named:
    """The row of an id or of its beginning; raises HistoryError where it is none, unknown or not unique."""
    name = text.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{AT_LEAST},{WHOLE}}}", name):
        raise HistoryError(
            "not a row id",
            where=clean(text)[:80],
            fix=f"A row id is {WHOLE} hex digits; its first {AT_LEAST} or more are enough. Or name rows by --text.",
        )
    found = archive.sets.beginning(name)
    if len(found) > 1:
        shown = ", ".join(one[: len(name) + 4] for one in found[:5])
        raise HistoryError(f"{len(found)} rows begin so", where=clean(text), fix=f"Name more digits: {shown} …")
    if not found:
        raise HistoryError("no row of this id", where=clean(text), fix=_where_looked(archive))
    return Named(text, (found[0],))


def by_text(archive: Archive, text: str) -> Named:
    """The rows of a text, in every data/rows.parquet of the history; raises HistoryError where there is none."""
    found = _with_texts(archive, [text])[0]
    if not found:
        raise HistoryError("no row has this text", where=clean(text)[:80], fix=_where_looked(archive))
    return Named(text[:80], found)


def by_file(archive: Archive, path: Path) -> list[Named]:
    """The rows that a JSONL file names, line by line; raises DataError with the number of a bad line."""
    wanted = list(_lines(path))
    texts = [line["text"] for line in wanted if "row_id" not in line]
    of_texts = iter(_with_texts(archive, texts) if texts else [])
    found = []
    for line in wanted:
        if "row_id" not in line:
            found.append(Named(line["text"][:80], next(of_texts)))
            continue
        begin = archive.sets.beginning(line["row_id"])
        if len(begin) > 1:
            raise HistoryError(f"{len(begin)} rows begin so", where=line["row_id"], fix="Name more digits.")
        found.append(Named(line["row_id"], tuple(begin)))
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a text may hold other line breaks
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(f"the file cannot be read: {reason}", where=str(path), fix="Name a JSONL file.") from None
    found = [_line(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError("the file names no rows", where=str(path), fix='Write one `{"row_id": "…"}` a line.')
    return found


def _line(line: str, where: str) -> dict[str, Any]:
    fix = 'A line is `{"row_id": "5f0c…"}` or `{"text": "…"}`.'
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError("not JSON", where=where, fix=fix) from None
    if not isinstance(value, dict) or not isinstance(value.get("row_id", value.get("text")), str):
        raise DataError("neither a row_id nor a text", where=where, fix=fix)
    if "row_id" in value:
        value["row_id"] = value["row_id"].strip().lower()
        if not re.fullmatch(rf"[0-9a-f]{{{AT_LEAST},{WHOLE}}}", value["row_id"]):
            raise DataError(f"not a row id: {value['row_id'][:80]!r}", where=where, fix=fix)
    return value


def _with_texts(archive: Archive, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """For each text the ids of its rows, sorted; every rows.parquet is read, and for children training sets."""
    rows = dict.fromkeys(at.chain.rows for at in reversed(archive.history) if at.chain.rows)
    found: list[set[str]] = [set() for _ in texts]
    for md5 in [*rows, *_with_children(archive)]:
        try:
            path = archive.file(md5)
            if path is None:
                archive.missing.append(f"data/rows.parquet ({md5})")
                continue
            for ids, more in zip(found, row_files.with_texts(path, texts), strict=True):
                ids.update(more)
        except (DataError, HistoryError) as error:
            archive.missing.append(f"data/rows.parquet: {error.what} ({error.where})")
    return [tuple(sorted(ids)) for ids in found]


def _with_children(archive: Archive) -> list[str]:
    """Training sets that between them hold every row that was made from another; data/rows.parquet has none."""
    trains = dict.fromkeys(at.chain.train for at in reversed(archive.history) if at.chain.train)
    held = archive.sets.holding(archive.sets.all_children())
    wanted: list[str] = []
    for files in held:
        if not any(md5 in files for md5 in wanted):
            wanted += [md5 for md5 in trains if md5 in files][:1]
    return wanted


def _where_looked(archive: Archive) -> str:
    n = len({at.chain for at in archive.history if at.chain.ledgers or at.chain.train})
    looked = f"Looked in the rows of {n:,} distinct pipelines of {len(archive.history):,} commits."
    n_gone = len(archive.missing)
    lacks = f" Not in the cache: {n_gone:,} of their files (`dvc fetch --all-commits`)." if n_gone else ""
    unread = f" Not read: {'; '.join(archive.problems[:3])}." if archive.problems else ""
    broken = dict.fromkeys(one for at in archive.history for one in at.chain.broken)
    unread += f" Not known: {'; '.join(list(broken)[:3])}." if broken else ""
    shallow = " This clone is shallow: older commits were not searched." if archive.shallow else ""
    return f"{looked}{lacks}{unread}{shallow} A row whose text differs by a letter has another id."
