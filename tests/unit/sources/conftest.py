"""Packages, indexes and servers on this machine: the sources' real code runs, the network is not needed."""

from __future__ import annotations

import functools
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clew import params, sources
from clew.sources import Fetched

Files = Mapping[str, bytes]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository as cwd, with a cache of its own."""
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture
def fetch(repository: Path) -> Callable[[str, str], tuple[Fetched, dict[str, bytes]]]:
    """fetch(uri, sha256): what `sources.fetch` says and the files that came, by name."""

    def go(uri: str, sha256: str) -> tuple[Fetched, dict[str, bytes]]:
        into = repository / "into"
        if into.exists():
            for path in sorted(into.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
        into.mkdir(exist_ok=True)
        source = params.Source(uri=uri, sha256=sha256, license="MIT")
        fetched = sources.fetch(source, into, "fetch_data.sources.posts")
        return fetched, read(into)

    return go


def read(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def zip_bytes(files: Files) -> bytes:
    """A zip archive of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tar_bytes(files: Files) -> bytes:
    """A tar.gz archive of these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels and sdists that pip, told by its own settings, takes for the only index."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_wheel(shelf: Path, name: str, version: str, files: Files, tag: str = "py3-none-any") -> None:
    """Put a wheel that holds `files` on the shelf."""
    about = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.99\n"
    wheel = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
    meta = {f"{about}/METADATA": metadata.encode(), f"{about}/WHEEL": wheel.encode(), f"{about}/RECORD": b""}
    (shelf / f"{name}-{version}-{tag}.whl").write_bytes(zip_bytes({**files, **meta}))


def put_sdist(shelf: Path, name: str, version: str, files: Files) -> None:
    """Put an sdist on the shelf, whose setup.py leaves a trace beside it when it runs."""
    root = f"{name}-{version}"
    trace = f"open({str(shelf / 'setup.py-ran')!r}, 'w')\nfrom setuptools import setup\nsetup(name={name!r})\n"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    own = {"setup.py": trace.encode(), "PKG-INFO": about.encode()}
    content = {f"{root}/{path}": data for path, data in {**own, **files}.items()}
    (shelf / f"{root}.tar.gz").write_bytes(tar_bytes(content))


class Quiet(BaseHTTPRequestHandler):
    """A handler that keeps the test's output clean."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
        pass


class QuietFiles(Quiet, SimpleHTTPRequestHandler):
    """The same, for a folder of files."""


@pytest.fixture
def serve() -> Iterator[Callable[..., ThreadingHTTPServer]]:
    """serve(handler): a server on a free port of this machine, until the test ends."""
    running: list[ThreadingHTTPServer] = []

    def start(handler: Callable[..., BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def serve_folder(serve: Callable[..., ThreadingHTTPServer]) -> Callable[[Path], str]:
    """serve_folder(path): its address as http://127.0.0.1:PORT."""
    return lambda path: f"http://127.0.0.1:{serve(functools.partial(QuietFiles, directory=str(path))).server_port}"
