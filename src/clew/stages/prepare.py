"""prepare: raw records → data/rows.parquet, as the mappings under `prepare.tasks` declare it.

Records stream through: a chunk of a file becomes rows and ledger entries, which are written before the next but few is
read. Chunks of large sources are made on all cores; their order, and so every byte, is the same.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from clew import chunk_rows, io, keys, ledger, mapping, missing_values, paths, process, ratings, records, rows
from clew.chunk_rows import MISSING, Job, Made, Unfit
from clew.errors import DataError

if TYPE_CHECKING:
    from clew import params

LARGE = 48 << 20
"""Bytes of a task's files from which on starting more processes (a second or two) pays."""


def run(prepare: params.Prepare) -> dict[str, Any]:
    """Map every source onto the row schema; what does not fit is counted and kept in the ledger with its reason."""
    key = keys.load(prepare.row_key)
    figures = {}
    with io.parquet_writer(paths.ROWS, rows.SCHEMA) as write, ledger.writer("prepare") as book:
        for task, declared in prepare.tasks.items():
            files = _files(task, declared)
            job = Job(task, declared, _fillings(task, declared, files), key)
            tally = Tally()
            pairing = ratings.Pairing(job) if declared.kind == "ratings" else None
            for part in _parts(job, files, pairing):
                write(part.rows)
                book.put(part.entries)
                tally.add(part)
            tally.check(task, prepare.max_unfit)
            figures[task] = tally.figures(declared, len(files)) | _ratings(pairing, tally)
        read, left = (sum(of_task[name] for of_task in figures.values()) for name in ("records", "rows"))
        book.check(rows_in=read, rows_out=left)
    io.write_json(paths.PREPARE_METRICS, figures)
    return {"rows": left}


@dataclass
class Tally:
    """What the records of a task became, part by part."""

    reasons: Counter[str | None] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    unwanted: int = 0
    unlabelled: int = 0
    imputed: int = 0
    files: set[str] = field(default_factory=set)
    first: Unfit | None = None

    def add(self, part: Made) -> None:
        """Count one more part."""
        self.reasons += part.reasons
        self.labels += part.labels
        self.unwanted += part.unwanted
        self.unlabelled += part.unlabelled
        self.imputed += part.imputed
        self.files.add(part.file)
        self.first = self.first or part.first

    def check(self, task: str, limit: float) -> None:
        """Raise DataError for a source without records or rows, or with too many records that do not fit."""
        where = f"prepare.tasks.{task}"
        records, unfit = self.reasons.total(), self._unfit()
        if not records:
            raise DataError("the source has no records", where=f"{where}.files", fix="Look at the files it names.")
        told = ", ".join(f"{reason} {n}" for reason, n in unfit.most_common())
        if unfit.total() > limit * records and self.first:
            raise DataError(
                f"{unfit.total()} of {records} records do not fit ({told}); the first is"
                f" {self.first.file} record {self.first.record}: {mapping.one_line(self.first.detail, 100)!r}",
                where=where,
                fix="Mend the mapping, or raise prepare.max_unfit.",
            )
        if not self.reasons[None]:
            what = f"none of the {records} records became a row ({told or 'a value is missing in each'})"
            raise DataError(what, where=where, fix="Mend the mapping, or the source.")

    def _unfit(self) -> Counter[str]:
        """Without those that the mapping says to leave out: that is declared, and no sign of a wrong one."""
        declared = (None, MISSING, *ratings.DECLARED)
        return Counter({reason: n for reason, n in self.reasons.items() if reason not in declared})

    def figures(self, declared: Any, files: int) -> dict[str, Any]:
        """The task's part of metrics/prepare.json."""
        found: dict[str, Any] = {
            "source": declared.source,
            "files": files,
            "empty_files": files - len(self.files),
            "records": self.reasons.total(),
            "rows": self.reasons[None],
            "unfit": dict(self._unfit()),
        }
        if declared.missing:
            found["missing"] = {"dropped": self.reasons[MISSING], "imputed": self.imputed}
        if declared.kind in ("label", "labels"):
            found["labels"] = {label: self.labels[label] for label in declared.values.values()}
            found["unlabelled"] = self.unlabelled
        if getattr(declared, "wanted", None):
            found["answers"] = {"wanted": self.reasons[None] - self.unwanted, "unwanted": self.unwanted}
        return found


def _ratings(pairing: ratings.Pairing | None, tally: Tally) -> dict[str, Any]:
    """What is told of a task of ratings: how many pairs, why the other records made none, and the raters' agreement."""
    if pairing is None:
        return {}
    left = {rule: tally.reasons[rule] for rule in ratings.DECLARED}
    told = {"prompts": pairing.prompts, "pairs": pairing.pairs, "alpha": pairing.agreement.alpha, "left_out": left}
    return {"ratings": told}


def _files(task: str, declared: params.Mapping) -> list[Path]:
    """The files of a task's source, in the order of their names."""
    folder = paths.RAW / declared.source
    where = f"prepare.tasks.{task}.files"
    try:
        files = sorted(path for path in folder.glob(declared.files) if path.is_file())
    except ValueError as error:
        what = f"`{declared.files}` is no glob: {error}"
        raise DataError(what, where=where, fix="A `**` stands alone between slashes.") from None
    if not files:
        there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise DataError(
            f"no file matches `{declared.files}`",
            where=where,
            fix=f"{folder} holds: {', '.join(there[:8]) or 'nothing'}.",
        )
    return files


def _chunks(task: str, declared: params.Mapping, files: list[Path]) -> Iterator[records.Chunk]:
    """The chunks of the files; a file's first record must have the columns that the mapping uses."""
    for path in files:
        name = path.relative_to(paths.RAW / declared.source).as_posix()
        first = None
        with _told(path, task, declared):
            for chunk in records.chunks(path, name, declared.format):
                if first is None:
                    first = next((record for record in records.records(chunk) if None not in record), None)
                    if first is not None:
                        mapping.check_columns(declared, task, first, name)
                yield chunk


@contextmanager
def _told(path: Path, task: str, declared: params.Mapping) -> Iterator[None]:
    """A file that cannot be read is a DataError."""
    try:
        yield
        return
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not {error.encoding}"
    except (pa.ArrowException, csv.Error, OSError, ValueError, ArithmeticError, LookupError) as error:
        reason = mapping.one_line(str(error) or type(error).__name__, 200)
    kind = declared.format if isinstance(declared.format, str) else declared.format.kind
    fix = "Mend the file, or set `format`: its kind, encoding and delimiter."
    raise DataError(f"{path} cannot be read as {kind}: {reason}", where=f"prepare.tasks.{task}.files", fix=fix)


def _fillings(task: str, declared: params.Mapping, files: list[Path]) -> Mapping[str, Any]:
    """column → what fills it; the records are read once more where that depends on them."""
    found = (record for chunk in _chunks(task, declared, files) for record in records.records(chunk))
    return missing_values.fillings(declared.missing, found, text=declared.format not in ("jsonl", "parquet", "conll"))


def _parts(job: Job, files: list[Path], pairing: ratings.Pairing | None) -> Iterator[Made]:
    """What the chunks of the files become, in order. Ratings are put together by one process: a prompt has several."""
    if pairing is not None:
        yield from pairing.parts(_chunks(job.task, job.declared, files))
        return
    large = sum(path.stat().st_size for path in files) >= LARGE
    chunks = _chunks(job.task, job.declared, files)
    yield from process.each(functools.partial(_made, job), chunks, process.cores() if large else 1)


def _made(job: Job, chunk: records.Chunk) -> Made:
    with _told(paths.RAW / job.declared.source / chunk.file, job.task, job.declared):
        return chunk_rows.made(job, chunk)
