"""An empty repository to make a history in."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.history import git


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty repository on branch main."""
    path = tmp_path / "experiment"
    git(tmp_path, "init", "-q", "-b", "main", str(path))
    (path / ".gitignore").write_text(".clew/\n")
    return path
