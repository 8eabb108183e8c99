"""dvc.lock merged by git itself, with the driver installed as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.history import lockfile, merge
from examples.history import GIT, commit, git, lock


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def _lock(clean: str, sft: str, report: str) -> str:
    stages = {"clean": clean, "sft": sft, "report": report}
    return lock(**{name: (digit * 32, {f"data/{name}": digit * 32}) for name, digit in stages.items()})


@pytest.fixture
def branches(folder: Path) -> Path:
    """main ran `report` again, side ran `clean` again."""
    assert _run(folder, "clew", "merge-driver", "install").returncode == 0
    commit(folder, "Base", {"dvc.lock": _lock("1", "1", "1")})
    git(folder, "switch", "-q", "-c", "side")
    commit(folder, "Side", {"dvc.lock": _lock("2", "1", "1")})
    git(folder, "switch", "-q", "main")
    commit(folder, "Main", {"dvc.lock": _lock("1", "1", "3")})
    return folder


def test_branches_that_ran_different_stages_just_merge(branches: Path) -> None:
    done = _run(branches, *GIT, "merge", "-q", "-m", "Merge", "side")
    assert done.returncode == 0, done.stderr
    assert (branches / "dvc.lock").read_text() == _lock("2", "1", "3")
    assert (branches / ".gitattributes").read_text() == "dvc.lock merge=clew-lock\n"


def test_a_stage_that_both_ran_is_left_out_and_named(branches: Path) -> None:
    commit(branches, "Also clean", {"dvc.lock": _lock("4", "1", "3")})
    done = _run(branches, *GIT, "merge", "-q", "-m", "Merge", "side")
    assert done.returncode == 1
    assert "both branches ran clean, with different results" in done.stderr
    assert "run `dvc repro`" in done.stderr
    assert list(lockfile.read((branches / "dvc.lock").read_text())) == ["sft", "report"]
    assert git(branches, "diff", "--name-only", "--diff-filter=U") == "dvc.lock"


def test_installing_twice_changes_nothing(branches: Path) -> None:
    before = (branches / ".gitattributes").read_text()
    assert _run(branches, "clew", "merge-driver", "install").returncode == 0
    assert (branches / ".gitattributes").read_text() == before


def test_a_lock_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for name in ("base", "ours", "theirs"):
        (tmp_path / name).write_text(_lock("1", "1", "1"))
    (tmp_path / "theirs").write_text("<<<<<<< HEAD\n")
    done = _run(tmp_path, "clew", "merge-driver", "run", "base", "ours", "theirs")
    assert done.returncode == 1
    assert "dvc.lock: cannot be merged: it holds conflict markers" in done.stderr
    assert (tmp_path / "ours").read_text() == _lock("1", "1", "1")


DIGITS = st.sampled_from("123")
LOCKS = st.dictionaries(st.sampled_from(["a", "b", "c"]), DIGITS).map(
    lambda stages: lock(**{name: (digit * 32, {}) for name, digit in stages.items()})
)


@given(LOCKS, LOCKS, LOCKS)
def test_a_merge_takes_nothing_that_neither_side_has(base: str, ours: str, theirs: str) -> None:
    merged = merge.merge(base, ours, theirs)
    found, mine, other = (lockfile.cut(text) for text in (merged.text, ours, theirs))
    assert all(block in (mine.get(name), other.get(name)) for name, block in found.items())
    assert not set(merged.conflicts) & set(found)
    swapped = merge.merge(base, theirs, ours)
    assert lockfile.cut(swapped.text) == found
    assert set(swapped.conflicts) == set(merged.conflicts)


@given(LOCKS, LOCKS)
def test_a_merge_with_an_unchanged_side_is_the_other_side(base: str, ours: str) -> None:
    assert lockfile.cut(merge.merge(base, ours, base).text) == lockfile.cut(ours)
    assert lockfile.cut(merge.merge(base, base, ours).text) == lockfile.cut(ours)
