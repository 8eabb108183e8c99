"""A small experiment with one commit on main."""

from __future__ import annotations

from pathlib import Path

import pytest
from compare_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    found = Lab(tmp_path / "lab")
    found.commit("Run the default experiment")
    return found
