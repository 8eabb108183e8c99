"""fetch_data makes data/raw what params.yaml declares: no less, and no more."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clew import params, paths
from clew.errors import SourceError
from clew.stages import fetch_data


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    return tmp_path


def section(**contents: str) -> params.FetchData:
    """Declare `name.csv` with this content, by name; the files are written as declared."""
    sources = {}
    for name, content in contents.items():
        Path(f"{name}.csv").write_text(content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        sources[name] = params.Source(uri=f"file:{name}.csv", sha256=digest, license="MIT")
    return params.FetchData(sources=sources)


def raw() -> dict[str, str]:
    return {p.relative_to(paths.RAW).as_posix(): p.read_text() for p in paths.RAW.rglob("*") if p.is_file()}


def test_each_source_has_its_folder():
    facts = fetch_data.run(section(posts="p", exams="ee"))
    assert raw() == {"posts/posts.csv": "p", "exams/exams.csv": "ee"}
    assert facts == {
        "sources": {
            "posts": {"files": 1, "bytes": 1, "cached": False},
            "exams": {"files": 1, "bytes": 2, "cached": False},
        }
    }


def test_what_is_no_longer_declared_goes():
    fetch_data.run(section(posts="p", exams="e"))
    fetch_data.run(section(exams="e"))
    assert raw() == {"exams/exams.csv": "e"}


def test_a_source_that_fails_is_named_and_what_was_there_stays():
    declared = section(posts="p", exams="e")
    fetch_data.run(declared)
    Path("exams.csv").write_text("altered")
    with pytest.raises(SourceError, match=r"^fetch_data\.sources\.exams: file:exams.csv has the SHA-256 "):
        fetch_data.run(declared)
    assert raw() == {"posts/posts.csv": "p", "exams/exams.csv": "e"}
    assert not list(Path().rglob("*.part"))
