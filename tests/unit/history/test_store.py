"""Which cache DVC's configuration names, and what is believed of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.errors import HistoryError
from clew.history import repository
from clew.history import store as stores
from examples.history import commit, git


@pytest.fixture
def levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """DVC's four configuration files, none of them written yet."""
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    found = {"system": tmp_path / "system/config", "global": tmp_path / "global/config"}
    found |= {"repo": tmp_path / "lab/.dvc/config", "local": tmp_path / "lab/.dvc/config.local"}
    for path in found.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    return found


def _name(path: Path, cache: str) -> None:
    path.write_text(f"[core]\n    analytics = false\n[cache]\n    dir = {cache}\n['remote \"x\"']\n    url = /y\n")


def test_the_nearest_configuration_wins(levels: dict[str, Path], tmp_path: Path) -> None:
    own = tmp_path / "lab/.dvc/cache"
    assert stores.open_store(tmp_path / "lab").folders == (own,)
    for name, path in levels.items():
        _name(path, f"/caches/{name}")
        assert stores.open_store(tmp_path / "lab").folders == (Path(f"/caches/{name}"), own)


def test_a_relative_cache_lies_beside_the_file_that_names_it(levels: dict[str, Path], tmp_path: Path) -> None:
    _name(levels["repo"], "../../shared # of all")
    assert stores.open_store(tmp_path / "lab").folders[0] == tmp_path / "shared"


def test_a_bare_repository_has_the_cache_of_the_user_or_machine(levels: dict[str, Path]) -> None:
    assert stores.open_store(None).folders == ()
    _name(levels["global"], '"/caches/mine"')
    assert stores.open_store(None).folders == (Path("/caches/mine"),)


def test_a_bare_repository_has_the_folders_that_a_commit_names_by_a_whole_path(
    levels: dict[str, Path], tmp_path: Path
) -> None:
    config = "[core]\n    remote = team\n['remote \"team\"']\n    url = /shares/team\n"
    git(tmp_path, "init", "-q", "-b", "main", "made")
    first = commit(tmp_path / "made", "Remote", {".dvc/config": config})
    commit(tmp_path / "made", "Cache, too", {".dvc/config": f"{config}[cache]\n    dir = /caches/theirs\n"})
    git(tmp_path, "clone", "-q", "--bare", "made", "bare")
    repo = repository.open_repository(tmp_path / "bare")
    _name(levels["global"], "/caches/mine")
    assert stores.store_of(repo).folders == (Path("/caches/theirs"), Path("/shares/team"))
    assert stores.store_of(repo, first).folders == (Path("/caches/mine"), Path("/shares/team"))
    assert stores.open_store(None, "[cache]\ndir = ../cache\n").folders == (Path("/caches/mine"),)
    assert stores.open_store(None, "[cache").folders == (Path("/caches/mine"),)


def test_without_settings_of_its_own_dvc_looks_in_the_folders_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc import dirs

    for name in ("DVC_SYSTEM_CONFIG_DIR", "DVC_GLOBAL_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    wanted = [Path(dirs.system_config_dir()) / "config", Path(dirs.global_config_dir()) / "config"]
    assert stores.config_files(None) == wanted


@pytest.mark.parametrize("content", [b"\xff\xfe", b"no section", b"[cache\n"])
def test_a_configuration_that_cannot_be_read_names_nothing(levels: dict, tmp_path: Path, content: bytes) -> None:
    levels["repo"].write_bytes(content)
    assert stores.open_store(tmp_path / "lab").folders == (tmp_path / "lab/.dvc/cache",)


def test_what_the_cache_holds_under_another_name_is_not_believed(tmp_path: Path) -> None:
    store = stores.Store(lambda: (tmp_path,))
    md5 = "900150983cd24fb0d6963f7d28e17f72"  # of "abc"
    place = tmp_path / "files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True)
    place.write_text("abc")
    assert store.verified(md5) == place
    place.write_text("abd")
    with pytest.raises(HistoryError, match="the cache holds another file than 9001"):
        store.verified(md5)
    assert store.verified("0" * 32) is None


def test_a_file_of_a_folder_is_named_by_its_listing(tmp_path: Path) -> None:
    store = stores.Store(lambda: (tmp_path,))
    listing = f'[{{"md5": "{"1" * 32}", "relpath": "sft.parquet"}}]'
    aside = tmp_path / "aside"
    aside.write_text(listing)
    md5 = stores.md5_of(aside) + ".dir"
    assert store.digest("data/predictions", md5, "data/predictions/sft.parquet") == ""
    (tmp_path / md5[:2]).mkdir()
    aside.rename(tmp_path / md5[:2] / md5[2:])
    assert store.digest("data/predictions", md5, "data/predictions/sft.parquet") == "1" * 32
    assert store.digest("data/predictions", md5, "data/predictions/base.parquet") == ""
    (tmp_path / md5[:2] / md5[2:]).write_text("[]")
    with pytest.raises(HistoryError, match="the cache holds another file"):
        store.digest("data/predictions", md5, "data/predictions/sft.parquet")
