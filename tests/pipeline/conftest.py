"""A clone of this repository with the tiny experiment, made by `dvc repro` as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
DVC = str(Path(sys.executable).parent / "dvc")
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


def environment() -> dict[str, str]:
    """The environment of a user who typed `make repro`: the venv first on PATH."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(
    command: list[str] | tuple[str, ...], cwd: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end, with `variables` over the environment; what failed is shown."""
    env = environment() | (variables or {})
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def merged(base: Any, changes: Any) -> Any:
    """`base` with `changes` laid over it, mapping by mapping."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return base | {key: merged(base.get(key), value) for key, value in changes.items()}


def tiny_params() -> dict[str, Any]:
    yaml = YAML(typ="safe")
    changes = yaml.load((ROOT / "tests/pipeline/tiny.yaml").read_text())
    loaded: dict[str, Any] = merged(yaml.load((ROOT / "params.yaml").read_text()), changes)
    return loaded


def clone(into: Path, tree: dict[str, Any] | None = None) -> Path:
    """The work tree as it is, in a repository of its own, without dvc.lock; `tree`: its params, else the tiny ones."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("metrics/", "dvc.lock")):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    with (into / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(tree or tiny_params(), file)
    for command in (("git", "init", "-q"), (*GIT, "add", "-A"), (*GIT, "commit", "-qm", "tiny")):
        run(command, into)
    return into


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny experiment, made once; tests read it and leave it as it is."""
    into = clone(tmp_path_factory.mktemp("one"))
    run([DVC, "repro"], into)
    return into
