"""A row that is asked for by its id: its trace is that of the files that hold it, as the row sets know them.

5f0c…   data/train.parquet, data/splits/test.parquet   or, where no set holds it any more, data/rows.parquet
"""

from __future__ import annotations

import sqlite3

from clew import paths
from clew.errors import ClewError, HistoryError
from clew.history.lockfile import Artifact
from clew.lineage.graph import Linker
from clew.lineage.revision import Revision
from clew.lineage.thing import Root, Thing

ROW_FILE, SPLITS, TRAIN = paths.ROWS.as_posix(), paths.SPLITS.as_posix(), paths.TRAIN.as_posix()


def by_id(linker: Linker, where: Revision, digest: str, looked: list[str], *, down: bool) -> Thing | None:
    """The files that hold a row, by its id or the beginning of it; None where no file of rows has it."""
    made = {made.out.path for made in where.made} | linker.past.paths()
    if not made & {ROW_FILE, SPLITS, TRAIN}:
        return None
    row_id, held, missing = _holding(linker, digest)
    looked.append("the rows of all history" + (f" ({missing} of their files are not in the cache)" if missing else ""))
    found = _versions(linker, where, (TRAIN, SPLITS), held, down=down)
    if not found:
        known = {*(made.out.md5 for made in where.made if made.out.path == ROW_FILE)}
        known |= {block.artifact.md5 for block in linker.past.at(ROW_FILE)}
        found = _versions(
            linker, where, (ROW_FILE,), {md5 for md5 in known if _has_row(linker, md5, row_id)}, down=down
        )
    if not found and not held:
        return None
    notes = [f"this is the id of a row: `clew rows trace {row_id}` tells its life, `clew rows of` the rows of a model"]
    notes.append(
        "the thread is that of the files that hold it: whether a model was trained on this very row, that tells"
        if found
        else "the files that hold it are only lists of decisions: no training or test set that the cache has"
    )
    return Thing(digest, "row", where, found, {"row_id": row_id}, notes)


def _holding(linker: Linker, digest: str) -> tuple[str, set[str], int]:
    """(row id, MD5s of the files that hold it, number of files that are missing), as the row sets know them."""
    from clew.lineage import archive

    def question(rows: archive.Archive) -> tuple[str, set[str], int]:
        found = rows.sets.beginning(digest)
        if len(found) > 1:
            some = ", ".join(one[: len(digest) + 4] for one in found[:5])
            raise SeveralError(f"{len(found)} rows begin so", where=digest, fix=f"Name more digits: {some} …")
        ordinal = rows.sets.ordinal(found[0]) if found else None
        held = set(rows.sets.holding([ordinal])[0]) if ordinal is not None else set()
        return (found[0] if found else digest), held, len(rows.missing)

    try:
        return archive.ask(linker.past.repo, [], question)
    except SeveralError:
        raise
    except (ClewError, OSError, sqlite3.Error):  # they cannot be kept here: rows.parquet itself is asked
        return digest, set(), 0


class SeveralError(HistoryError):
    """More than one row id begins so."""


def _versions(linker: Linker, where: Revision, wanted: tuple[str, ...], held: set[str], *, down: bool) -> list[Root]:
    """Those artifacts of some paths, or files in them, that are held: of the revision; of all history for what is down
    of them; of the newest commit that has any where the revision has none.
    """
    here = [made for made in where.made if made.out.path in wanted]
    roots = [root for made in where.live(here) for root in _within(linker, where, made.stage, made.out, held)]
    if roots and not down:
        return roots
    for block in [block for path in wanted for block in linker.past.at(path)]:
        for revision in linker.past.revisions([block.number])[-1:]:
            roots += _within(linker, revision, block.stage, block.artifact, held)
    if not down:
        newest = max((root.revision.commit.time for root in roots if root.revision.commit), default=0)
        roots = [root for root in roots if root.revision.commit and root.revision.commit.time == newest]
    return list({(r.artifact.path, r.member, r.member_md5 or r.artifact.md5): r for r in reversed(roots)}.values())[
        ::-1
    ]


def _within(linker: Linker, where: Revision, stage: str, out: Artifact, held: set[str]) -> list[Root]:
    if out.md5 in held:
        return [Root(where, stage, out)]
    return [Root(where, stage, out, path, md5) for path, md5 in linker.listing(out.md5) or () if md5 in held]


def _has_row(linker: Linker, md5: str, row_id: str) -> bool:
    """Whether the rows that were prepared hold a row, by the file itself."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        file = linker.store.verified(md5)
        if file is None:
            return False
        ids = pq.read_table(file, columns=["row_id"])["row_id"]
        return bool(pc.any(pc.equal(ids, row_id)).as_py())
    except (pa.ArrowException, OSError, KeyError, HistoryError):
        return False
