"""Files: written aside and renamed, JSON that people can diff, parquet with a checked schema, digests."""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

CHUNK = 1 << 20
ROW_GROUP = 1 << 16
"""Rows that a reader of parquet must hold at least: a row's facts are found without decoding a million others."""
PART = ".part"
"""How what is still being written ends; .dvcignore and .gitignore pass it over."""


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well it takes `path`'s place, else nothing is left."""
    with _aside(path) as aside:
        yield aside
        aside.replace(path)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; when the block ends well it takes `path`'s place, whole."""
    with _aside(path) as aside:
        aside.mkdir()
        yield aside
        shutil.rmtree(path, ignore_errors=True)
        aside.replace(path)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`, gone in the end; the next run removes what a killed one left of it."""
    with _aside(path) as aside:
        aside.mkdir()
        yield aside


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A path that nobody has, on the file system where `path` lies, so that renaming is one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    aside = path.parent / f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{PART}"
    try:
        yield aside
    finally:
        _remove(aside)


def _sweep(path: Path) -> None:
    """Remove what killed runs left half-written beside `path`: theirs whose process is gone."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        pid = left.name.removeprefix(f".{path.name}.").partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            _remove(left)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, floats rounded to 6 digits, and no NaN or infinity (those are bugs)."""
    text = json.dumps(_rounded(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with replace_file(path) as aside:
        aside.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier stage wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError as error:
        raise _broken(path, error) from None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        rounded = round(value, 6)
        return 0.0 if rounded == 0 else rounded  # no -0.0: it would differ in a diff without meaning
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a small table for `dvc plots`: floats rounded to 6 digits, None as an empty field."""
    with replace_file(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_rounded(value) for value in row] for row in rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table that `write_csv` wrote, one dict a row."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise _missing(path) from None


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], schema: Any) -> None:
    """Write dicts as parquet with exactly `schema` (a pyarrow.Schema). The same rows give the same bytes."""
    import pyarrow as pa

    with parquet_writer(path, schema) as write:
        write(pa.Table.from_pylist(list(rows), schema=schema))


@contextmanager
def parquet_writer(path: Path, schema: Any) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends tables to the file that appears at `path` when the block ends well.

    How the tables are cut does not matter: the file's row groups hold ROW_GROUP rows each, and so the same rows give
    the same bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[pa.Table] = []

    with replace_file(path) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:

        def write(table: pa.Table) -> None:
            waiting.append(table.cast(schema))
            while sum(map(len, waiting)) >= ROW_GROUP:
                whole = pa.concat_tables(waiting)
                group, waiting[:] = whole.slice(0, ROW_GROUP).combine_chunks(), [whole.slice(ROW_GROUP)]
                del whole  # which a row group of long texts would not fit into memory beside
                writer.write_table(group, row_group_size=ROW_GROUP)

        yield write
        rest = pa.concat_tables([schema.empty_table(), *waiting]).combine_chunks()
        if len(rest) or not waiting:
            writer.write_table(rest, row_group_size=ROW_GROUP)


def read_parquet(path: Path, schema: Any) -> list[dict[str, Any]]:
    """Read parquet as dicts and check that it has exactly `schema` (a pyarrow.Schema)."""
    return list(read_table(path, schema).to_pylist(maps_as_pydicts="strict"))


def read_table(path: Path, schema: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Read parquet, or some of its columns, and check that the whole of it has exactly `schema`."""
    import pyarrow as pa

    file = open_parquet(path, schema)
    try:
        return file.read(columns)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def batches(path: Path, schema: Any, columns: Sequence[str], size: int) -> Iterator[pa.Table]:
    """Columns of a parquet file in tables of `size` rows, the last of fewer; none is empty."""
    import pyarrow as pa

    waiting = schema.empty_table().select(columns)
    for batch in open_parquet(path, schema).iter_batches(size, columns=columns):
        table = pa.Table.from_batches([batch]).select(columns)
        waiting = pa.concat_tables([waiting, table]) if len(waiting) else table  # an empty slice holds all of its table
        while len(waiting) >= size:
            yield waiting.slice(0, size).combine_chunks()
            waiting = waiting.slice(size)
    if len(waiting):
        yield waiting.combine_chunks()


def open_parquet(path: Path, schema: Any) -> pq.ParquetFile:
    """A parquet file to read in batches; raises DataError where it has not exactly `schema`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # its default keeps the compressed bytes of all columns asked for until the last batch is read
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=CHUNK)
    except FileNotFoundError:
        raise _missing(path) from None
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None
    if not file.schema_arrow.equals(schema):
        names = set(file.schema_arrow.names) ^ set(schema.names)
        raise DataError(
            f"the columns are not those of this version of clew{': ' + ', '.join(sorted(names)) if names else ''}",
            where=str(path),
            fix="Run `dvc repro` so that the stage that writes it runs again.",
        )
    return file


def _missing(path: Path) -> DataError:
    return DataError("the file does not exist", where=str(path), fix="Run `dvc repro`, which makes it, or `dvc pull`.")


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(
        f"the file cannot be read: {str(error).splitlines()[0][:120]}",
        where=str(path),
        fix="Delete it and run `dvc repro`, which makes it again.",
    )


def sha256(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits, read in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def tree_sha256(path: Path) -> str:
    """One digest for a file or a folder.

    A folder's is the SHA-256 of its listing as `sha256sum` prints it, sorted by path. To check one by hand:
    ``cd FOLDER && find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum``.
    """
    if path.is_file():
        return sha256(path)
    files = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    listing = hashlib.sha256()
    for name in sorted(files, key=os.fsencode):  # a name is bytes, and they need not be UTF-8
        listing.update(f"{sha256(path / name)}  ".encode() + os.fsencode(name) + b"\n")
    return listing.hexdigest()


def tree_size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def is_full(error: OSError) -> bool:
    """Whether the disk or the user's share of it is full, which the command line tells in its own words."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def finite(value: float) -> float | None:
    """`value`, or None where it is NaN or infinite: JSON has neither."""
    return value if math.isfinite(value) else None
