"""The work tree's code is what git would store of it: what git calls clean has no changes, whatever lies on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from compare_lab import Lab

from clew.history.compare import words as told
from examples.history import git


@pytest.fixture
def training(lab: Lab) -> Path:
    """The folder src/training, which a stage reads, with loop.py in it; not committed yet."""
    folder = lab.root / "src/training"
    folder.mkdir()
    (folder / "loop.py").write_text("first\nsecond\n")
    lock = lab.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: src/train.py", "path: src/training"))
    return folder


def _commit(lab: Lab) -> None:
    lab.git("add", "-A")
    lab.git("commit", "-qm", "Make it a folder")
    assert lab.git("status", "--porcelain") == ""


def _code(lab: Lab) -> dict[str, str]:
    return {file.path: told.file(file) for file in lab.side(tests=False).code}


def test_line_ends_that_git_takes_away_are_no_change(lab: Lab, training: Path) -> None:
    (lab.root / ".gitattributes").write_text("*.py text eol=crlf\n")
    (training / "loop.py").write_bytes(b"first\r\nsecond\r\n")
    _commit(lab)
    assert _code(lab) == {}
    (training / "loop.py").write_bytes(b"first\r\nthird\r\n")
    (training / "new.py").write_bytes(b"new\r\n")
    assert _code(lab) == {
        "src/training/loop.py": "changed, edited, not run yet, in no commit",
        "src/training/new.py": "added, edited, not run yet, in no commit",
    }
    lab.git("checkout", "-q", "-b", "mine")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "Commit it")
    assert _code(lab).keys() == {"src/training/loop.py", "src/training/new.py"}
    lab.git("rm", "-q", "--cached", "src/training/new.py")
    assert {file.path for file in lab.side("HEAD", tests=False).code} == set(), "it lies there all the same"


def test_a_link_is_what_it_names_and_not_what_lies_there(lab: Lab, training: Path) -> None:
    (training / "best.py").symlink_to("loop.py")
    (training / "all").symlink_to("..")
    _commit(lab)
    assert _code(lab) == {}
    (training / "best.py").unlink()
    (training / "best.py").symlink_to("nothing.py")
    assert _code(lab) == {"src/training/best.py": "changed, edited, not run yet, in no commit"}


def test_a_submodule_is_its_commit(lab: Lab, training: Path) -> None:
    sub = training / "sub"
    git(lab.root, "init", "-q", str(sub))
    (sub / "inner.py").write_text("inner\n")
    git(sub, "add", "-A")
    git(sub, "commit", "-qm", "Inner")
    _commit(lab)
    assert _code(lab) == {}
    git(sub, "commit", "-q", "--allow-empty", "-m", "Go on")
    assert _code(lab) == {"src/training/sub": "changed, edited, not run yet, by files in no commit, or ignored ones"}
    lab.git("commit", "-qam", "Take the new one")
    assert _code(lab) == {}


def test_names_that_are_not_utf8_are_told_apart(lab: Lab, training: Path) -> None:
    for name in (b"\xff.py", b"\xfe.py", b'q"\n\\.py'):
        Path(os.fsdecode(os.fsencode(training) + b"/" + name)).write_text("one\n")
    _commit(lab)
    assert _code(lab) == {}
    Path(os.fsdecode(os.fsencode(training) + b"/\xff.py")).write_text("two\n")
    Path(os.fsdecode(os.fsencode(training) + b'/q"\n\\.py')).write_text("two\n")
    assert _code(lab).keys() == {"src/training/\\xff.py", 'src/training/q"\n\\.py'}


def test_a_file_that_cannot_be_read_is_told_as_changed(lab: Lab, training: Path) -> None:
    _commit(lab)
    (lab.root / ".gitattributes").write_text("*.big filter=gone\n")
    lab.git("config", "filter.gone.clean", "false")
    lab.git("config", "filter.gone.required", "true")
    (training / "a.big").write_text("large")
    (training / "b.py").write_text("small")
    assert {path: said.partition(",")[0] for path, said in _code(lab).items()} == {
        "src/training/a.big": "added",
        "src/training/b.py": "added",
    }
