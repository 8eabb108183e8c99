"""Keys of row ids live outside git."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew import keys
from clew.errors import SetupError


def test_a_made_key_is_private_and_found_by_its_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_KEYS", str(tmp_path))
    made = keys.make()
    assert made.stat().st_mode & 0o077 == 0
    assert keys.fingerprint(keys.load(made.name)) == made.name
    assert keys.make().name != made.name


def test_a_missing_altered_or_broken_key_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_KEYS", str(tmp_path))
    made = keys.make()
    with pytest.raises(SetupError, match="not on this machine"):
        keys.load("0" * 16)
    made.write_text("00" * 32)
    with pytest.raises(SetupError, match="fingerprint is"):
        keys.load(made.name)
    made.write_text("not hex")
    with pytest.raises(SetupError, match="64 hex digits"):
        keys.load(made.name)
