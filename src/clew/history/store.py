"""DVC's cache, read and never written: the file that stands behind an md5 of dvc.lock.

DVC does not check what it finds there, so what is asked for with `verified` is hashed before it is believed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clew.errors import HistoryError
from clew.history import repository

if TYPE_CHECKING:
    import configparser

    from clew.history.git import Repository

DIR = ".dir"
CONFIG = ".dvc/config"


class Member(NamedTuple):
    """A file in a folder that DVC keeps: path within the folder."""

    path: str
    md5: str


class Store:
    """The cache of a repository. folders: tells where objects may lie; it is asked when one is looked for."""

    def __init__(self, folders: Callable[[], tuple[Path, ...]]) -> None:
        self._folders = folders

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        """Where objects may lie: the first that has one is taken."""
        return self._folders()

    def find(self, md5: str) -> Path | None:
        """The file of an md5 (with `.dir`: the listing of a folder); None where the cache lacks it."""
        for folder in self.folders:
            for path in (folder / "files" / "md5" / md5[:2] / md5[2:], folder / md5[:2] / md5[2:]):
                if path.is_file():
                    return path
        return None

    def members(self, md5: str) -> list[Member] | None:
        """The files of a folder; None where the cache lacks its listing."""
        path = self.find(md5)
        if path is None:
            return None
        return [Member(entry["relpath"], entry["md5"]) for entry in json.loads(path.read_bytes())]

    def digest(self, made_path: str, md5: str, wanted: str) -> str:
        """The md5 of the file `wanted` of the out at `made_path` with `md5`: the out itself, or a file of its folder.

        "" where the cache lacks the folder's listing, or the folder the file. Raises HistoryError as `verified` does.
        """
        if not md5.endswith(DIR):
            return md5
        if self.verified(md5) is None:
            return ""
        inner = wanted.removeprefix(made_path).lstrip("/")
        return next((member.md5 for member in self.members(md5) or () if member.path == inner), "")

    def verified(self, md5: str) -> Path | None:
        """The same as `find`, hashed first; raises HistoryError where the cache holds something else."""
        path = self.find(md5)
        if path is not None and md5_of(path) != md5.removesuffix(DIR):
            raise HistoryError(
                f"the cache holds another file than {md5}",
                where=str(path),
                fix="Delete it, then `dvc pull` or `dvc repro` brings the right one.",
            )
        return path


def store_of(repo: Repository, rev: str = "HEAD") -> Store:
    """The cache of a repository; of a bare one what the .dvc/config of a revision says counts, too."""
    if repo.workdir:
        return open_store(Path(repo.workdir))
    commit = repository.commit_at(repo, rev)
    tree = repository.tree_of(repo, commit) if commit else None
    blob = tree.blob(CONFIG) if tree else None
    content = tree.content(blob) if tree and blob else None
    return open_store(None, (content or b"").decode("utf-8", "replace"))


def open_store(root: Path | None, committed: str = "") -> Store:
    """The cache that DVC's configuration names (`cache.dir`), and the one in the repository.

    root: of the work tree; None for a bare repository, whose cache the settings of the user or machine may name, or a
    `committed` configuration: by a whole path, as `cache.dir` or as the folder of the default remote.
    """
    return Store(partial(_named, root, committed))


def _named(root: Path | None, committed: str) -> tuple[Path, ...]:
    named = None
    for file in config_files(root):
        try:
            config = _parsed(file.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, OSError):
            continue
        value = _setting(config, "cache", "dir")
        if value:
            named = (file.parent / Path(value).expanduser()).resolve()
    if root:
        return tuple([named, root / ".dvc" / "cache"] if named else [root / ".dvc" / "cache"])
    config = _parsed(committed)
    remote = _setting(config, "core", "remote")
    own, brought = _setting(config, "cache", "dir"), _setting(config, f"'remote \"{remote}\"'", "url")
    folders = (Path(own) if own.startswith("/") else named, Path(brought) if brought.startswith("/") else None)
    return tuple(folder for folder in folders if folder)


def _parsed(text: str) -> configparser.ConfigParser:
    """A configuration of DVC; an empty one where it cannot be read."""
    import configparser

    config = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=("#",))
    try:
        config.read_string(text)
    except configparser.Error:
        config.clear()
    return config


def _setting(config: configparser.ConfigParser, section: str, name: str) -> str:
    """A setting without its quotes; "" where there is none."""
    return config.get(section, name, fallback="").strip().strip("\"'")


def config_files(root: Path | None) -> list[Path]:
    """DVC's configuration, what goes over the others last: of the machine, the user, the repository, this clone."""
    import platformdirs

    system = os.environ.get("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir("dvc", "iterative")
    user = os.environ.get("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
    found = [Path(system) / "config", Path(user) / "config"]
    return [*found, root / ".dvc" / "config", root / ".dvc" / "config.local"] if root else found


def md5_of(path: Path) -> str:
    """MD5 of a file, read in chunks of 1 MiB: DVC's digest, which proves nothing against malice."""
    import hashlib

    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
