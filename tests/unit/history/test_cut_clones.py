"""A clone that has not got everything, partial or shallow: every command says so, and takes nothing for absent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples.history import commit, experiment, git


def _clew(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clew", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _clone(folder: Path, *options: str) -> Path:
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(folder.parent, "clone", "-q", *options, f"file://{folder}", "clone")
    return folder.parent / "clone"


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "main", "tiny"),
        ("trace", "metrics/quality.json", "--rev", "tiny"),
        ("trace", "metrics/quality.json"),
        ("best", "stress.f1@sft"),
        ("log", "stress.f1@sft"),
    ],
)
def test_a_partial_clone_says_what_git_has_not_got(folder: Path, kind: str, arguments: tuple[str, ...]) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    git(folder, "tag", "tiny")
    commit(folder, "Second", experiment(0.2, 0.6))
    done = _clew(_clone(folder, "--no-checkout", f"--filter={kind}"), *arguments)
    assert done.returncode == 1
    assert "git does not have it here (a partial clone: `git fetch --refetch --no-filter`" in done.stderr
    assert "git does not" in done.stderr.splitlines()[-1]


def test_a_shallow_clones_edge_is_no_commit_that_changed_something(folder: Path) -> None:
    commit(folder, "First", experiment(0.1, 0.5))
    commit(folder, "Words", {"README.md": "x"})
    commit(folder, "Second", experiment(0.2, 0.6))
    clone = _clone(folder, "--depth", "2")
    for arguments in (("log",), ("best", "stress.f1@sft")):
        done = _clew(clone, *arguments)
        assert "! this clone is shallow: older commits were not searched (`git fetch --unshallow`)" in done.stderr
        assert "Words (perhaps nothing: at the edge of a shallow clone)" in done.stdout
        found = json.loads(_clew(clone, *arguments, "--json").stdout)
        assert {line["title"]: (line["at_edge"], line["changed"]) for line in found} == {
            "Second": (False, {"train.rate": [0.1, 0.2]}),
            "Words": (True, {}),
        }
    git(clone, "fetch", "-q", "--unshallow")
    done = _clew(clone, "log", "--json")
    assert [(line["title"], line["at_edge"]) for line in json.loads(done.stdout)] == [
        ("Second", False),
        ("First", False),
    ]
    assert done.stderr == ""
