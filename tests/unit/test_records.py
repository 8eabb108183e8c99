"""The door: whatever bytes come, each record or piece of one is told, and the rest is read."""

from __future__ import annotations

import codecs
import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew import params, records


def _records(path: Path, form: Any) -> list[records.Record]:
    found = []
    for chunk in records.chunks(path, path.name, form):
        assert chunk.first == len(found)
        found += records.records(chunk)
    return found


def _format(encoding: str, delimiter: str = ",") -> params.CsvFormat:
    return params.CsvFormat(kind="csv", encoding=encoding, delimiter=delimiter)


def test_records_are_read_from_csv_jsonl_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufefftext,label\n"two\nlines",1\n', encoding="utf-8")
    (tmp_path / "a.jsonl").write_bytes(codecs.BOM_UTF8 + b'{"text": "x"}\r\n\n[1]\r{bad\n')
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.parquet")
    assert _records(tmp_path / "a.csv", "csv") == [{"text": "two\nlines", "label": "1"}]
    assert _records(tmp_path / "a.jsonl", "jsonl") == [
        {"text": "x"},
        {None: ("an array, not an object", b"[1]")},
        {None: ("Expecting property name enclosed in double quotes: line 1 column 2 (char 1)", b"{bad")},
    ]
    assert _records(tmp_path / "a.parquet", "parquet") == [{"text": "x"}]


def test_what_is_no_record_comes_as_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text('\nlabel,text,context\n1,hi she\n\n1,a,b,c\n0,d,\n1,"a"b,c\n1,"a\n""b",c\n')
    assert _records(file, "csv") == [
        {None: ("2 fields, not 3", ["1", "hi she"])},
        {None: ("4 fields, not 3", ["1", "a", "b", "c"])},
        {"label": "0", "text": "d", "context": ""},
        {None: ("line 7: ',' expected after '\"'", 7)},
        {"label": "1", "text": 'a\n"b', "context": "c"},
    ]
    for line, why in (
        ('{"text": "a", "text": "b"}', "a key stands there twice"),
        ('{"a": {"b": 1, "b": 2}}', "a key stands there twice"),
        ('{"text": "\\ud800"}', "half of a surrogate pair is no character"),
        ('"text"', "a string, not an object"),
        ("[" * 100_000, "nested too deeply"),
    ):
        file.write_text(line)
        assert _records(file, "jsonl") == [{None: (why, line.encode())}]


def test_bytes_of_another_encoding_spoil_their_own_record_only(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes("text,label\ncafé,1\nnaïve,0\n".encode() + "thé,1\n".encode("latin-1") + b"tea,0\n")
    found = _records(file, "csv")
    assert [record.get("text") for record in found] == ["café", "naïve", None, "tea"]
    assert found[2] == {None: ("byte 0xe9 is not utf-8", ["th\udce9", "1"])}
    file.write_bytes(b'{"text": "th\xe9"}\n{"text": "th\xc3\xa9"}\n')
    assert _records(file, "jsonl") == [
        {None: ("byte 0xe9, at 12, is not UTF-8", b'{"text": "th\xe9"}')},
        {"text": "thé"},
    ]


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("cp1252", ";"), ("utf-16", "\t"), ("shift_jis", ","), ("utf-8", "|")]
)
def test_a_declared_encoding_and_delimiter_are_used(tmp_path: Path, encoding: str, delimiter: str) -> None:
    word = "テスト, a" if encoding == "shift_jis" else "café; b"
    quoted = f'"{word}"'
    (tmp_path / "a").write_bytes(f"text{delimiter}label\r\n{quoted}{delimiter}1\r\n".encode(encoding))
    assert _records(tmp_path / "a", _format(encoding, delimiter)) == [{"text": word, "label": "1"}]


def test_bytes_that_a_declared_encoding_does_not_have_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text\nfine\n\x81\n")
    assert _records(tmp_path / "a", _format("cp1252")) == [
        {"text": "fine"},
        {None: ("byte 0x81 is not cp1252", ["\udc81"])},
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"te\xe9xt,label\na,1\n", "byte 0xe9 in the header is not utf-8"),
        (b"text,text\na,1\n", "column `text` stands there twice"),
        (b'"a"b,c\na,1\n', "the header is none: line 1"),
        (b'text\na\n"b\nc\nd', "a quote that opens in line 3 is not closed by line 5"),
        (b'text\na\n"b\nc\n"d"\n', "a quote that opens in line 3 is not closed by line 5"),
        ("text\n".encode("utf-16"), "byte 0xff in the header"),
    ],
)
def test_a_file_that_cannot_be_taken_apart_into_records_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=what):
        _records(tmp_path / "a", "csv")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("content", [b"", b"\n\n", codecs.BOM_UTF8, b"\r\n"])
def test_an_empty_file_has_no_records(tmp_path: Path, form: str, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert _records(tmp_path / "a", form) == []


LINES = st.one_of(
    st.binary(max_size=30),
    st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=3).map(lambda v: json.dumps(v).encode()),
    st.sampled_from([b'{"a": 1', b'{"a": NaN}', b"[" * 2000, b'{"a": ' + b"9" * 5000 + b"}", b'{"\\udc80": 0}']),
)


@settings(deadline=None)
@given(st.lists(LINES, max_size=12))
def test_every_line_of_jsonl_is_one_record(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    content = b"\n".join(lines)
    path = tmp_path_factory.mktemp("door") / "a"
    path.write_bytes(content)
    wanted = [line for line in content.removeprefix(codecs.BOM_UTF8).splitlines() if line.strip()]
    found = _records(path, "jsonl")
    assert len(found) == len(wanted)
    for record in found:
        str(record).encode()


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(['"', "\r\n", "a,b", "'", "\0"])


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=12), st.integers(1, 40))
def test_every_row_of_csv_comes_back_however_the_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], chunk: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    path = tmp_path_factory.mktemp("door") / "a"
    path.write_bytes(text.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "CHUNK", chunk)
        assert _records(path, "csv") == [{"a": a, "b": b} for a, b in rows]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=12) | st.sampled_from([b'"', b"x,y", b"x", b'"x"', b"\xff"]), max_size=12))
def test_any_bytes_after_a_csv_header_become_records_or_a_plain_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("door") / "a"
    path.write_bytes(b"a,b\n" + b"\n".join(lines))
    try:
        found = _records(path, "csv")
    except ValueError as error:
        assert "is not closed by line" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert all(set(record) == {"a", "b"} or list(record) == [None] for record in found)
        for record in found:
            str(record).encode()
        unquoted = b'"' not in b"".join(lines)
        if unquoted:
            assert len(found) == sum(bool(line) for line in b"\n".join(lines).splitlines())


CONLL = "-DOCSTART- -X- O O\n\nAda NNP I-NP B-PER\nsleeps VBZ I-VP O\n\n\nin\tO\r\nRome\tB-LOC\r\n\t\r\nalone\n\n"


def test_sentences_of_conll_have_words_and_tags(tmp_path: Path) -> None:
    """Parted by spaces or tabs, four columns or two; a blank line may hold a tab; what has no tag is no sentence."""
    (tmp_path / "a.conll").write_bytes(codecs.BOM_UTF8 + CONLL.encode() + b"\xff O\n")
    found = _records(tmp_path / "a.conll", "conll")
    assert found[:2] == [
        {"tokens": ["Ada", "sleeps"], "tags": ["B-PER", "O"]},
        {"tokens": ["in", "Rome"], "tags": ["O", "B-LOC"]},
    ]
    assert [record[None][0] for record in found[2:]] == [  # type: ignore[index]
        "a line without a word and a tag",
        "byte 0xff is not UTF-8",
    ]


def test_a_long_file_of_conll_comes_in_chunks_that_cut_no_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "CHUNK", 40)
    wanted = [{"tokens": [f"word{n}"] * (1 + n % 4), "tags": ["O"] * (1 + n % 4)} for n in range(50)]
    text = "\n\n".join("\n".join(f"{word}\tO" for word in one["tokens"]) for one in wanted)
    (tmp_path / "a.conll").write_text(text)
    assert len(list(records.chunks(tmp_path / "a.conll", "a.conll", "conll"))) > 10
    assert _records(tmp_path / "a.conll", "conll") == wanted
