"""The door for data: files become records, chunk by chunk; what is no record is told, never passed over.

    {"question": "Which vitamin …", "answer": "B. C"}     a line of JSONL  →  a dict of column → value
    {"question": "Which vita                              cut off          →  {None: ("Unterminated …", '{"que…')}
    in⇥O ⏎ Rome⇥B-LOC ⏎ a blank line     a sentence of CoNLL  →  {"tokens": ["in", "Rome"], "tags": ["O", "B-LOC"]}

A chunk is raw and small, so that a process for each core can take chunks apart. Numbers count a file's records from 0,
those that are none included; blank lines are not counted.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from clew import params

CHUNK = 1 << 20
"""Bytes (of CSV: characters) of a chunk, about; a record is never cut."""
CHUNK_ROWS = 1 << 12
"""Rows of parquet in a chunk."""
LONGEST_FIELD = 1 << 28
"""Characters of a field of CSV: an open quote must not fill the memory."""

Record = dict[str, Any]
Form = Literal["csv", "jsonl", "parquet", "conll"]


class Chunk(NamedTuple):
    """Some records of a file as they stand there. first: the number of the first of them."""

    form: Form
    file: str
    first: int
    raw: Sequence[Any]
    """jsonl: lines (bytes). csv: rows (lists of fields, or what is no row as {None: why}). parquet: one batch.
    conll: sentences (lists of lines, bytes)."""
    header: Sequence[str] = ()
    encoding: str = "utf-8"


def chunks(path: Path, name: str, form: Form | params.CsvFormat) -> Iterator[Chunk]:
    """The chunks of a file, in order; `name` is how rows remember it.

    Raises ValueError, csv.Error, OSError or pyarrow.ArrowException where the file as a whole cannot be read: columns of
    one name, a header that is not in its encoding, a quote that never closes.
    """
    if form == "jsonl":
        yield from _jsonl(path, name)
    elif form == "parquet":
        yield from _parquet(path, name)
    elif form == "conll":
        yield from _conll(path, name)
    elif form == "csv":
        yield from _csv(path, name, "utf-8", ",")
    else:
        yield from _csv(path, name, form.encoding, form.delimiter)


def records(chunk: Chunk) -> list[Record]:
    """The records of a chunk. What is none comes as {None: (what is wrong, what it holds)}: a line of JSONL that is no
    object or has a key twice, a row of CSV with more or fewer fields than columns or with bytes that are not in its
    encoding, a sentence with a line of one column. What it holds makes its id and goes no further: it may be about
    people, whom ledgers outlive.
    """
    if chunk.form == "csv":
        return [_csv_row(chunk.header, fields, chunk.encoding) for fields in chunk.raw]
    if chunk.form == "jsonl":
        return [_json_line(line) for line in chunk.raw]
    if chunk.form == "conll":
        return [_sentence(lines) for lines in chunk.raw]
    return [record for batch in chunk.raw for record in batch.to_pylist()]


def _jsonl(path: Path, name: str) -> Iterator[Chunk]:
    first = 0
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        while read := file.readlines(CHUNK):
            lines = [line for ended in read for line in ended.splitlines() if line.strip()]
            if lines:
                yield Chunk("jsonl", name, first, lines)
            first += len(lines)


def _json_line(line: bytes) -> Record:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return _none(f"byte 0x{line[error.start]:02x}, at {error.start}, is not UTF-8", line)
    try:
        value = _JSON.decode(text)
        if "\\u" in text:  # the only way to write a lone surrogate, which has no UTF-8
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return _none("half of a surrogate pair is no character", line)
    except ValueError as error:
        return _none(str(error), line)
    except RecursionError:
        return _none("nested too deeply", line)
    return value if isinstance(value, dict) else _none(f"{_JSON_KINDS[type(value)]}, not an object", line)


_JSON_KINDS = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


DOCUMENT = b"-DOCSTART-"
"""Begins the line that CoNLL-2003 puts before each document."""


def _conll(path: Path, name: str) -> Iterator[Chunk]:
    """Sentences end with a line that is blank or holds white space only."""
    first, size = 0, 0
    sentences: list[list[bytes]] = []
    words: list[bytes] = []
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        for line in file:
            size += len(line)
            if line.strip():
                words += [] if line.startswith(DOCUMENT) else [line]
            elif words:
                sentences.append(words)
                words = []
            if size >= CHUNK and sentences:
                yield Chunk("conll", name, first, sentences)
                first, size, sentences = first + len(sentences), 0, []
    sentences += [words] if words else []
    if sentences:
        yield Chunk("conll", name, first, sentences)


def _sentence(lines: Sequence[bytes]) -> Record:
    """Words and tags: the first and the last column of the lines, parted by tabs or, without tabs, by spaces."""
    tokens, tags = [], []
    for line in lines:
        try:
            text = line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            return _none(f"byte 0x{line[error.start]:02x} is not UTF-8", lines)
        columns = text.split("\t") if "\t" in text else text.split()
        if len(columns) < 2 or not columns[0].strip() or not columns[-1].strip():
            return _none("a line without a word and a tag", lines)
        tokens.append(columns[0].strip())
        tags.append(columns[-1].strip())
    return {"tokens": tokens, "tags": tags}


def _none(why: str, held: Any) -> Record:
    return {None: (why, held)}  # type: ignore[dict-item]


def _object(pairs: list[tuple[str, Any]]) -> Record:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_object)


def _csv(path: Path, name: str, encoding: str, delimiter: str) -> Iterator[Chunk]:
    csv.field_size_limit(LONGEST_FIELD)
    first = 0
    decoded = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    with path.open(newline="", encoding=decoded, errors="surrogateescape") as file:
        lines = _csv_lines(csv.reader(file, delimiter=delimiter, strict=True))
        header: Any = next(lines, [])
        if isinstance(header, dict):
            raise ValueError(f"the header is none: {header[None][0]}")
        if (byte := _undecoded("".join(header))) is not None:
            raise ValueError(f"byte 0x{byte:02x} in the header is not {encoding}")
        _check_unique(header)
        raw: list[Any] = []
        size = 0
        for fields in lines:
            raw.append(fields)
            size += sum(map(len, fields)) if isinstance(fields, list) else 0
            if size >= CHUNK or len(raw) >= CHUNK_ROWS:
                yield Chunk("csv", name, first, raw, header, encoding)
                first += len(raw)
                raw, size = [], 0
        if raw:
            yield Chunk("csv", name, first, raw, header, encoding)


def _csv_lines(reader: Any) -> Iterator[Any]:
    """The fields of each row that is not blank; of a line with a misplaced quote, {None: what is wrong}.

    Where a row with a misplaced quote goes over several lines, rows may have been swallowed: that is a ValueError.
    """
    while True:
        before = reader.line_num
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num > before + 1 or "end of data" in str(error):
                what = f"a quote that opens in line {before + 1} is not closed by line {reader.line_num}"
                raise ValueError(f"{what} ({error})") from None
            yield _none(f"line {reader.line_num}: {error}", reader.line_num)
        else:
            if fields:
                yield fields


def _csv_row(header: Sequence[str], fields: Any, encoding: str) -> Record:
    if isinstance(fields, dict):
        return fields
    if (byte := _undecoded("".join(fields))) is not None:
        return _none(f"byte 0x{byte:02x} is not {encoding}", fields)
    if len(fields) != len(header):
        return _none(f"{len(fields)} fields, not {len(header)}", fields)
    return dict(zip(header, fields, strict=True))


def _undecoded(text: str) -> int | None:
    """The first byte that did not belong to the encoding, as `surrogateescape` kept it; None where all did."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ord(text[error.start]) & 0xFF
    return None


def _parquet(path: Path, name: str) -> Iterator[Chunk]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    _check_unique(file.schema_arrow.names)
    first = 0
    for batch in file.iter_batches(CHUNK_ROWS):
        if len(batch):
            yield Chunk("parquet", name, first, [batch])
        first += len(batch)


def _check_unique(names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"column `{twice[0]}` stands there twice")
