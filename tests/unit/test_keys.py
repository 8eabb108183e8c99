"""Keys of row ids live outside git."""

from __future__ import annotations

import errno
import os
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


@pytest.mark.parametrize("folder", ["file", "/proc/clew"])
def test_a_folder_of_keys_that_is_none_is_told(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLEW_KEYS", str(tmp_path / folder))
    with pytest.raises(SetupError, match=r"the row key cannot be written \(.*\)\. Set CLEW_KEYS to a folder"):
        keys.make()


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_KEYS", str(tmp_path))
    (tmp_path / ("0" * 16)).mkdir()
    with pytest.raises(SetupError, match=r"0000: the row key cannot be read \(Is a directory\)"):
        keys.load("0" * 16)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_of_someone_elses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_KEYS", str(tmp_path))
    made = keys.make()
    made.chmod(0)
    with pytest.raises(SetupError, match=r"the row key cannot be read \(Permission denied\)"):
        keys.load(made.name)


def test_a_full_disk_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("CLEW_KEYS", str(tmp_path))
    monkeypatch.setattr(keys.os, "open", full)
    with pytest.raises(OSError, match="No space left"):
        keys.make()


def test_where_keys_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEW_KEYS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert keys.folder() == tmp_path / "clew/keys"
    monkeypatch.setenv("XDG_CONFIG_HOME", "~nobody-of-this-name/config")
    with pytest.raises(SetupError, match="there is no home folder"):
        keys.folder()
    monkeypatch.setenv("CLEW_KEYS", "elsewhere")
    assert keys.folder() == Path("elsewhere")
