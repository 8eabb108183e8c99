"""Archives are unpacked as data, and a hostile one is refused before anything lands outside its folder."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from conftest import read, tar_bytes, zip_bytes
from hypothesis import example, given
from hypothesis import strategies as st

from clew.errors import SourceError
from clew.sources import archive

PACKERS = {"zip": zip_bytes, "tar": tar_bytes}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def take(packed: bytes, into: Path, *patterns: str) -> dict[str, bytes]:
    path = into.parent / "packed"
    path.write_bytes(packed)
    archive.take(path, patterns or ("**",), into, "here")
    return read(into)


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_only_what_the_glob_names_is_unpacked(pack, into):
    packed = pack({"a/x.csv": b"1", "a/y.txt": b"2", "a/b/z.csv": b"3"})
    assert take(packed, into, "a/*.csv") == {"a/x.csv": b"1"}


def test_an_archive_within_an_archive_within_an_archive(into):
    inner = zip_bytes({"deep/t.txt": b"t"})
    packed = tar_bytes({"p-1/data.tar.gz": tar_bytes({"d/in.zip": inner}), "p-1/other.tar.gz": b""})
    assert take(packed, into, "p-1/data.tar.gz", "*/in.zip", "**/*.txt") == {"deep/t.txt": b"t"}
    assert [path.name for path in into.parent.iterdir() if path.name.startswith(".")] == []


def test_a_tar_that_ends_with_a_zip_is_a_tar(into):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as outer:
        info, content = tarfile.TarInfo("in.zip"), zip_bytes({"secret": b"s"})
        info.size = len(content)
        outer.addfile(info, io.BytesIO(content))
    assert take(packed.getvalue(), into) == {"in.zip": content}


def test_what_stands_before_the_mark_must_be_one_archive(into):
    packed = zip_bytes({"a.zip": zip_bytes({"x": b""}), "b.zip": zip_bytes({"x": b""})})
    with pytest.raises(SourceError, match="2 files fit what stands before"):
        take(packed, into, "*.zip", "x")


def test_a_member_that_is_not_there_names_the_nearest(into):
    with pytest.raises(SourceError, match=r"no member `data/tset.csv`.*Nearest: `data/test.csv`"):
        take(zip_bytes({"data/test.csv": b"", "LICENSE": b""}), into, "data/tset.csv")


HOSTILE = ["../up.txt", "a/../../up.txt", "/etc/up.txt", "..\\up.txt", "C:/up.txt", "C:up.txt", "..", "/"]


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_out_is_refused_even_where_it_is_not_wanted(pack, name, into):
    before = sorted(into.parent.iterdir())
    said = "has no member" if pack is zip_bytes and name == "/" else "leads out of its folder"  # in a zip, a folder
    with pytest.raises(SourceError, match=said):
        take(pack({"good.csv": b"", name: b"evil"}), into, "wanted.csv")
    assert {path.name for path in into.parent.iterdir()} - {path.name for path in before} == {"packed"}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("name", ["a\nb.csv", "\x1b[2Ja.csv", "a/\u202eb.csv", "x" * 256, "é" * 128])
def test_a_name_that_cannot_be_printed_or_is_too_long_is_refused_where_it_is_wanted(pack, name, into):
    packed = pack({"good.csv": b"g", name: b"evil"})
    assert take(packed, into, "goo*") == {"good.csv": b"g"}
    (into / "good.csv").unlink()
    with pytest.raises(SourceError, match=r"too long or cannot be printed") as error:
        take(packed, into)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_path_that_no_file_system_takes_is_refused_even_where_it_is_not_wanted(pack, into):
    assert len(take(pack({"d/" * 500 + "x.csv": b"x"}), into)) == 1
    with pytest.raises(SourceError, match=r"the path of the member 'd/d/.* has more than 1,024 bytes"):
        take(pack({"good.csv": b"", "d/" * 2100 + "x.csv": b"x"}), into, "good.csv")


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_the_names_of_an_archive_do_not_reach_the_terminal_as_they_are(pack, into):
    with pytest.raises(SourceError, match="Nearest: ") as error:
        take(pack({"\x1b[2Ja.csv": b""}), into, "b.csv")
    assert str(error.value).isprintable()


NAMES = st.lists(
    st.one_of(
        st.sampled_from(["..", ".", "", "a", "C:", "\\", "a\nb", "\x00", "é", "x" * 300, "~", "-"]), st.text(max_size=4)
    ),
    min_size=1,
    max_size=5,
).map("/".join)


@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True), pack=st.sampled_from(sorted(PACKERS)))
@example(names=["a", "a/b"], pack="zip")
@example(names=["a/b", "a"], pack="tar")
@example(names=["./a", "a"], pack="tar")
def test_whatever_the_names_nothing_lands_outside(names, pack):
    try:
        packed = PACKERS[pack](dict.fromkeys(names, b"content"))
    except (ValueError, IndexError):
        return  # no such archive can be written
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "deep" / "into"
        into.mkdir(parents=True)
        try:
            take(packed, into)
        except SourceError:
            pass
        else:
            assert len(read(into)) >= 1
        outside = {path for path in Path(folder).rglob("*") if path.is_file() and into not in path.parents}
        assert {path.name for path in outside} == {"packed"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind, into):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as outer:
        info = tarfile.TarInfo("posts.csv")
        info.type, info.linkname = kind, "/etc/passwd"
        outer.addfile(info)
    with pytest.raises(SourceError, match="is a link, a device or encrypted"):
        take(packed.getvalue(), into, "posts.csv")


def test_a_link_in_a_zip_is_refused(into):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as outer:
        info = zipfile.ZipInfo("posts.csv")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        outer.writestr(info, "/etc/passwd")
    with pytest.raises(SourceError, match="is a link, a device or encrypted"):
        take(packed.getvalue(), into, "posts.csv")


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_bomb_is_refused_before_it_is_unpacked(pack, into, monkeypatch):
    monkeypatch.setattr(archive, "FREE_BYTES", 1000)
    packed = io.BytesIO()
    if pack is zip_bytes:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as outer:
            outer.writestr("bomb", bytes(10_000_000))
    else:
        packed = io.BytesIO(tar_bytes({"bomb": bytes(10_000_000)}))
    with pytest.raises(SourceError, match="unpacks to more than"):
        take(packed.getvalue(), into)
    assert read(into) == {}


def test_too_many_files_are_refused(into, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILES", 3)
    with pytest.raises(SourceError, match="3 files"):
        take(zip_bytes({str(number): b"" for number in range(4)}), into)


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@given(data=st.data())
def test_a_damaged_archive_is_an_error_of_ours(pack, data):
    packed = bytearray(pack({"a/posts.csv": b"text,label\n" * 50, "b.csv": bytes(range(256))}))
    if data.draw(st.booleans()):
        del packed[data.draw(st.integers(0, len(packed) - 1)) :]
    else:
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "into"
        into.mkdir()
        try:
            take(bytes(packed), into)
        except SourceError as error:
            told = str(error)
        else:
            told = "here: "
    assert told.startswith("here: ")


def header(kind: bytes, size: int, content: bytes = b"") -> bytes:
    """A tar header that announces `size` bytes, and what there is of them."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT if size >= 0 else tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def record(text: str) -> bytes:
    """A record of a pax header."""
    return f"{len(text) + 6:04} {text}\n".encode()


ABOUT = [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE]
EMPTY = header(tarfile.REGTYPE, 0)


@pytest.mark.parametrize("kind", ABOUT)
@pytest.mark.parametrize("before", [b"", EMPTY], ids=["first", "second"])
def test_a_header_that_fills_the_memory_is_refused_unread(kind, before, into):
    packed = gzip.compress(before + header(kind, 64 << 20, bytes(64 << 20)) + EMPTY)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"damaged \(a header of more than 1,048,576 bytes\)"):
            take(packed, into)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ABOUT)
def test_headers_that_fill_the_memory_together_are_refused(kind, into):
    piece = header(kind, 300_000, bytes(300_000))
    with pytest.raises(SourceError, match="has no member `x`"):
        take(gzip.compress(piece * 3 + header(tarfile.DIRTYPE, 0) + bytes(1024)), into, "x")
    with pytest.raises(SourceError, match="a header of more than 1,048,576 bytes"):
        take(gzip.compress(piece * 4 + EMPTY), into)


def test_headers_of_many_members_add_up_only_where_they_hold_for_all(into):
    of_one = header(tarfile.XHDTYPE, 400_000, record("comment=x").ljust(400_000, b"\0"))
    for_all = header(tarfile.XGLTYPE, 400_000, bytes(400_000))
    packed = b"".join(of_one + header(tarfile.DIRTYPE, 0) for _ in range(4))
    with pytest.raises(SourceError, match="has no member"):
        take(gzip.compress(packed + bytes(1024)), into)
    packed = b"".join(for_all + header(tarfile.DIRTYPE, 0) for _ in range(4))
    with pytest.raises(SourceError, match="a header of more than"):
        take(gzip.compress(packed), into)


def test_what_is_said_about_members_is_forgotten_with_them(into):
    name = b"d/" * (200 << 10)
    packed = gzip.compress((header(tarfile.GNUTYPE_LONGNAME, len(name), name) + header(tarfile.DIRTYPE, 0)) * 40)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="has no member"):
            take(packed, into)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ABOUT)
def test_a_header_of_less_than_nothing_and_endless_headers_are_refused(kind, into):
    for packed in (EMPTY + header(kind, -512) + EMPTY, header(kind, 0) * 3000):
        with pytest.raises(SourceError, match="is damaged"):
            take(gzip.compress(packed), into)


def test_maps_of_holes_are_refused(into):
    pax = record("GNU.sparse.major=1") + record("GNU.sparse.minor=0")
    for packed in (header(tarfile.GNUTYPE_SPARSE, 0), header(tarfile.XHDTYPE, len(pax), pax) + EMPTY):
        with pytest.raises(SourceError, match=r"damaged \(a file with holes\)"):
            take(packed, into)


@pytest.mark.parametrize("packed", [b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\x00", b"PK\x03\x04", b""])
def test_the_first_bytes_of_an_archive_are_none(packed, into):
    with pytest.raises(SourceError):
        take(packed, into)


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("a/b.csv", "a/*.csv", True),
        ("a/b/c.csv", "a/*.csv", False),
        ("a/c.csv", "a/**/*.csv", True),
        ("a/b/b/c.csv", "a/**/*.csv", True),
        ("x/a/b.csv", "a/*.csv", False),
        ("A/b.csv", "a/*.csv", False),
        ("a/b1.csv", "a/b[0-9].csv", True),
        ("a", "**", True),
        ("a/b", "*", False),
    ],
)
def test_globs_stay_within_folders(name, pattern, fits):
    assert archive.matches(name, pattern) is fits
