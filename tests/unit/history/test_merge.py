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


def _named(first: str, second: str, third: str = "a") -> str:
    """Stages that DVC quotes the names of."""
    names = {"aa": "'a: b'", "bb": "'null'", "cc": "'12'"}
    text = lock(
        **{name: (digit * 32, {"out": "f" * 32}) for name, digit in zip(names, (first, second, third), strict=True)}
    )
    for name, quoted in names.items():
        text = text.replace(f"\n  {name}:", f"\n  {quoted}:")
    return text


def test_names_that_yaml_would_take_for_something_else_stay_quoted() -> None:
    merged = merge.merge(_named("a", "a"), _named("b", "a"), _named("a", "c"))
    assert (merged.text, merged.conflicts) == (_named("b", "c"), ())
    assert merge.merge(_named("a", "a"), _named("b", "a"), _named("c", "a")).conflicts == ("a: b",)


@pytest.mark.parametrize(
    "name", ["null", "true", "Yes", "12", "1.5", "a: b", "- x", "#x", "train@0.1", "ü", "~", "a'b"]
)
def test_whatever_a_stage_is_called_the_merge_reads_as_it_was_meant(name: str) -> None:
    def side(digest: str) -> str:
        tree = {
            "schema": "2.0",
            "stages": {name: {"cmd": "x", "outs": [{"path": "o", "hash": "md5", "md5": digest * 32}]}},
        }
        return merge._dumped(tree)

    merged = merge.merge(side("1"), side("2"), side("1"))
    assert list(lockfile.read(merged.text)) == [name]
    assert lockfile.read(merged.text)[name].outs[0].md5 == "2" * 32


def test_what_both_sides_changed_to_the_same_is_kept() -> None:
    merged = merge.merge(_lock("1", "1", "1"), _lock("2", "1", "1"), _lock("2", "1", "3"))
    assert (merged.text, merged.conflicts) == (_lock("2", "1", "3"), ())
    merged = merge.merge("", _lock("2", "1", "1"), _lock("2", "1", "1"))
    assert (merged.text, merged.conflicts) == (_lock("2", "1", "1"), ())


def _with_data(revisions: dict[str, int], clean: str = "a") -> str:
    entries = "".join(f"- name: {name}\n  rev: {rev}\n" for name, rev in revisions.items())
    return _lock(clean, "a", "a") + f"datasets:\n{entries}"


def test_datasets_are_merged_too() -> None:
    merged = merge.merge(_with_data({"x": 1, "y": 1}), _with_data({"x": 2, "y": 1}), _with_data({"x": 1, "y": 3}, "b"))
    assert (merged.text, merged.conflicts) == (_with_data({"x": 2, "y": 3}, "b"), ())
    merged = merge.merge(_lock("a", "a", "a"), _lock("a", "a", "a"), _with_data({"x": 1}))
    assert merged.text == _with_data({"x": 1}), "one side alone has them"


def test_datasets_that_both_sides_changed_are_refused() -> None:
    with pytest.raises(lockfile.LockError, match="both branches changed dataset x"):
        merge.merge(_with_data({"x": 1}), _with_data({"x": 2}), _with_data({"x": 3}))
    texts = [_lock("a", "a", "a") + f"later: {i}\n" for i in range(3)]
    with pytest.raises(lockfile.LockError, match="both branches changed `later:`"):
        merge.merge(*texts)


def test_a_line_that_is_wrapped_elsewhere_is_no_difference() -> None:
    """One side was written by another tool, which also wraps a command that it did not touch."""
    long = f"python clean.py {'--keep everything ' * 8}--end"
    base, ours = (_lock("a", sft, "a").replace("python clean.py", long) for sft in "ab")
    wrapped = long.replace(" --end", "\n      --end")
    theirs = "# written by hand\n" + base.replace(long, wrapped).replace("schema: '2.0'", 'schema: "2.0"')
    merged = merge.merge(base, ours, theirs)
    assert merged.conflicts == ()
    assert lockfile.read(merged.text) == lockfile.read(ours)


def test_a_merge_that_would_not_read_as_it_was_meant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "_dumped", lambda tree: "schema: '2.0'\nstages: {}\n")
    with pytest.raises(lockfile.LockError, match="does not read as what was merged"):
        merge.merge(_named("a", "a"), _named("b", "a"), _named("a", "a"))
    monkeypatch.setattr(merge, "_indented", lambda name, block: f"  {name}:\n    cmd: other\n")
    with pytest.raises(lockfile.LockError, match="does not read as what was merged"):
        merge.merge(_lock("1", "1", "1"), _lock("2", "1", "1"), _lock("1", "1", "1"))


def test_what_git_refuses_at_installing_is_told(folder: Path) -> None:
    (folder / ".git/config.lock").write_text("")
    done = _run(folder, "clew", "merge-driver", "install")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("clew: error: git config: git did not take the setting: error: could not lock")
    assert done.stderr.count("\n") == 1
    assert not (folder / ".gitattributes").exists()


def test_attributes_keep_their_lines_and_line_ends(folder: Path) -> None:
    (folder / ".gitattributes").write_bytes(b"*.png binary\r\n*.csv text")
    assert _run(folder, "clew", "merge-driver", "install").returncode == 0
    kept = b"*.png binary\r\n*.csv text\r\ndvc.lock merge=clew-lock\r\n"
    assert (folder / ".gitattributes").read_bytes() == kept
    assert _run(folder, "clew", "merge-driver", "install").returncode == 0
    assert (folder / ".gitattributes").read_bytes() == kept


def test_attributes_that_cannot_be_read_and_bare_repositories_are_told(folder: Path, tmp_path: Path) -> None:
    (folder / ".gitattributes").write_bytes(b"*.\xff binary\n")
    said = _run(folder, "clew", "merge-driver", "install").stderr
    assert said.startswith("clew: error: .gitattributes: it is not UTF-8. ")
    git(tmp_path, "init", "-q", "--bare", "bare")
    said = _run(tmp_path / "bare", "clew", "merge-driver", "install").stderr
    assert said.startswith("clew: error: bare: a bare repository merges nothing. ")


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
