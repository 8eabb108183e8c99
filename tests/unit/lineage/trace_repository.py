"""A small real repository: git's own commits, DVC's own dvc.lock and cache, written without running DVC."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

Content = str | dict[str, str]
"""A file's text, or a folder's files by their path in it."""


def md5_of(content: Content) -> str:
    if isinstance(content, str):
        return hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()
    return hashlib.md5(listing(content), usedforsecurity=False).hexdigest() + ".dir"


def listing(files: dict[str, str]) -> bytes:
    return json.dumps([{"md5": md5_of(files[name]), "relpath": name} for name in sorted(files)]).encode()


def sha256_of(content: Content) -> str:
    if isinstance(content, str):
        return hashlib.sha256(content.encode()).hexdigest()
    lines = [f"{sha256_of(content[name])}  {name}\n" for name in sorted(content)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Repository:
    """root: of the work tree. lock: stage → its block as dvc.lock has it. kept: the folder that goes with it."""

    kept: object = None

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock: dict[str, dict[str, Any]] = {}
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.write(".dvc/config", "[core]\n    analytics = false\n")
        self.write(".gitignore", "/data/\n/models/\n.clew/\n/.dvc/cache/\n")

    def git(self, *arguments: str, author: str = "Ada") -> str:
        name = ["-c", f"user.name={author}", "-c", f"user.email={author.lower()}@example.org"]
        command = ["git", *name, "-c", "commit.gpgsign=false", *arguments]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, path: str, content: Content) -> None:
        files = {path: content} if isinstance(content, str) else {f"{path}/{n}": text for n, text in content.items()}
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def read(self, path: str) -> Content:
        place = self.root / path
        if place.is_file():
            return place.read_text()
        return {file.relative_to(place).as_posix(): file.read_text() for file in place.rglob("*") if file.is_file()}

    def run(
        self,
        stage: str,
        deps: list[str],
        outs: dict[str, Content],
        params: dict[str, Any] | None = None,
        *,
        cached: bool = True,
        record: bool = False,
    ) -> None:
        """What `dvc repro` leaves of a stage: its outs, their objects in the cache, its block in dvc.lock."""
        block: dict[str, Any] = {"cmd": f"run {stage}", "deps": [self._entry(dep, self.read(dep)) for dep in deps]}
        if params:
            block["params"] = {"params.yaml": params}
        block["outs"] = [self._entry(path, content) for path, content in outs.items()]
        self.lock[stage] = block
        for path, content in outs.items():
            shutil.rmtree(self.root / path, ignore_errors=True)
            self.write(path, content)
            if cached:
                self._cache(content)
        self.write("dvc.lock", json.dumps({"schema": "2.0", "stages": self.lock}, indent=1))
        if record:
            self.record(stage, {path: sha256_of(content) for path, content in outs.items()})

    def record(self, stage: str, outs: dict[str, str], **facts: Any) -> None:
        found = {"stage": stage, "outs": outs, "seconds": 2.5, "hardware": {"cpu": f"cpu of {stage}", "cores": 4}}
        found |= {"versions": {"torch": "2.13.0"}, "started": "2026-01-02T03:04:05+00:00", "who": "Ada", **facts}
        self.write(f"metrics/runtime/{stage}.json", json.dumps(found))

    @staticmethod
    def _entry(path: str, content: Content) -> dict[str, Any]:
        if isinstance(content, str):
            return {"path": path, "hash": "md5", "md5": md5_of(content), "size": len(content.encode())}
        size = sum(len(text.encode()) for text in content.values())
        return {"path": path, "hash": "md5", "md5": md5_of(content), "size": size, "nfiles": len(content)}

    def _cache(self, content: Content) -> None:
        texts = [content] if isinstance(content, str) else list(content.values())
        for text in texts:
            self.object(md5_of(text)).write_text(text)
        if isinstance(content, dict):
            self.object(md5_of(content)).write_bytes(listing(content))

    def object(self, md5: str) -> Path:
        """The place of an object in the cache."""
        place = self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def commit(self, title: str, author: str = "Ada") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", title, author=author)
        return self.git("rev-parse", "HEAD")


NOTES = {"notes/a.csv": "text\nred\n", "notes/b.csv": "text\nblue\n", "exams/q.jsonl": "{}\n"}
FETCH = {
    "fetch": {
        "sources": {
            "notes": {"uri": "file://notes/*.csv", "sha256": "ab" * 32, "license": "MIT"},
            "exams": {"uri": "file://q.jsonl", "sha256": "cd" * 32, "license": "CC0"},
        }
    }
}
QUALITY = {
    v: {"stress": {"f1": {"value": x, "low": x - 0.1, "high": x + 0.1, "n": 9}}}
    for v, x in (("base", 0.5), ("aligned", 0.7))
}
PIPELINE = """stages:
  fetch:
    cmd: run fetch
  prepare:
    cmd: run prepare
  base:
    cmd: run base
  train:
    cmd: run train
  predict:
    foreach: ${predict.variants}
    do:
      cmd: run predict ${item}
  evaluate:
    cmd: run evaluate
    metrics:
      - metrics/quality.json: {cache: false}
"""


def experiment(root: Path) -> Repository:
    """raw → rows → models/aligned, with a base model; predictions of both; quality.json of the predictions' folder.

    Bob writes src/train.py, Ada all else; two commits of code, one of the run. It is made once and then copied.
    """
    made = _made()
    shutil.copytree(made.root, root)
    repo = copy.copy(made)
    repo.root, repo.lock = root, dict(made.lock)
    return repo


@functools.cache
def _made() -> Repository:
    kept = tempfile.TemporaryDirectory()
    repo = Repository(Path(kept.name) / "repo")
    repo.kept = kept
    repo.write("src/prepare.py", "print('prepare')\n")
    repo.write("src/lib", {"a.py": "a = 1\n", "b.py": "b = 2\n"})
    repo.write("params.yaml", "predict:\n  variants: [base, aligned]\n")
    repo.write("dvc.yaml", PIPELINE)
    repo.commit("Write the pipeline")
    repo.write("src/train.py", "print('train')\n")
    repo.commit("Train slowly", author="Bob")
    run(repo)
    repo.commit("Run it all")
    return repo


def run(repo: Repository, rate: float = 0.1, raw: dict[str, str] = NOTES) -> None:
    """The whole pipeline; another rate, or other raw files, give other bytes all the way down."""
    repo.run("fetch", [], {"data/raw": raw}, FETCH, record=True)
    repo.run("prepare", ["data/raw", "src/prepare.py", "src/lib"], {"data/rows.bin": f"rows of {sorted(raw.items())}"})
    repo.run("base", [], {"models/base": {"w.bin": "base weights", "t.json": "{}"}})
    rows = repo.read("data/rows.bin")
    model = {"w.bin": f"weights of {rows} at {rate}", "t.json": "{}"}
    deps = ["data/rows.bin", "models/base", "src/train.py", "src/lib"]
    repo.run("train", deps, {"models/aligned": model}, {"seed": 13, "train": {"rate": rate}}, record=True)
    for variant in ("base", "aligned"):
        repo.run(
            f"predict@{variant}",
            [f"models/{variant}"],
            {f"data/predictions/{variant}.bin": f"predictions of {repo.read(f'models/{variant}')}"},
        )
    text = json.dumps(QUALITY | {"rate": rate, "seen": md5_of(repo.read("data/predictions"))}, indent=1)
    repo.run("evaluate", ["data/predictions", "models"], {"metrics/quality.json": text}, cached=False)
