"""MD5s of the files that lie here, as DVC has them; those of large files are remembered while their times stand still.

.clew/digests.json: {"models/sft/model.safetensors": [538090408, 1764043211000000000, 1837, "5c9f…"]}
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from clew import io
from clew.history.store import Member, md5_of
from clew.lineage.revision import listing_md5

LARGE = 1 << 20
"""Bytes from which on a file's MD5 is remembered."""
PLACE = Path(".clew/digests.json")


class Digests:
    """MD5s by path, below a repository's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listed: dict[str, list[Member]] = {}
        self.found: dict[str, str | None] = {}
        self.known: dict[str, list[Any]] = {}
        with suppress(OSError, ValueError):
            self.known = json.loads((root / PLACE).read_text(encoding="utf-8"))
        self.new = False

    def md5(self, path: str) -> str | None:
        """DVC's digest of a file or folder (with `.dir` at its end); None where there is none."""
        if path not in self.found:
            place = self.root / path
            if place.is_dir():
                self.found[path] = listing_md5(self.members(path))
            else:
                self.found[path] = self._of_file(path) if place.is_file() else None
        return self.found[path]

    def members(self, path: str) -> list[Member]:
        """The files of a folder, without those that .dvcignore leaves out; none of what is no folder."""
        if path not in self.listed:
            names = (file.relative_to(self.root).as_posix() for file in (self.root / path).rglob("*") if file.is_file())
            kept = sorted(name for name in names if not self._ignored.match_file(name))
            self.listed[path] = [Member(name.removeprefix(f"{path}/"), self._of_file(name)) for name in kept]
        return self.listed[path]

    def keep(self) -> None:
        """Remember the MD5s of large files for the next time."""
        if self.new:
            with suppress(OSError):  # a work tree that may only be read
                (self.root / PLACE).parent.mkdir(exist_ok=True)
                io.write_json(self.root / PLACE, self.known)

    @cached_property
    def _ignored(self) -> Any:
        import pathspec

        file = self.root / ".dvcignore"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
        return pathspec.PathSpec.from_lines("gitwildmatch", [*lines, ".git/", ".dvc/"])

    def _of_file(self, path: str) -> str:
        about = (self.root / path).stat()
        if about.st_size < LARGE:
            return md5_of(self.root / path)
        stamp = [about.st_size, about.st_mtime_ns, about.st_ino]
        known = self.known.get(path)
        if known and known[:3] == stamp:
            return str(known[3])
        md5 = md5_of(self.root / path)
        self.known[path], self.new = [*stamp, md5], True
        return md5
