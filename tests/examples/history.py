"""Small histories, made by git itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

GIT = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")


def git(folder: Path, *arguments: str) -> str:
    """Run git and return what it printed."""
    done = subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, title: str, files: dict[str, str | None]) -> str:
    """Write files (None: remove) and commit them; returns the commit's id."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True) if text is None else path.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", title)
    return git(folder, "rev-parse", "HEAD")


PIPELINE = """\
stages:
  train:
    cmd: python train.py
    params: [train]
    metrics:
      - metrics/quality.json: {cache: false}
"""


def experiment(rate: float, f1: float) -> dict[str, str]:
    """The files of a commit: one param and one metric."""
    return {
        "dvc.yaml": PIPELINE,
        "params.yaml": f"train:\n  rate: {rate}\n  name: small\n",
        "metrics/quality.json": f'{{"sft": {{"stress": {{"f1": {f1}}}}}}}\n',
        "dvc.lock": lock(train=("a" * 32, {"metrics/quality.json": f"{round(f1 * 1e6):032x}"})),
    }


def lock(**stages: tuple[str, dict[str, str]]) -> str:
    """A dvc.lock in DVC's form: stage → (md5 of the dep data/<stage>.in, out → md5)."""
    lines = ["schema: '2.0'", "stages:"]
    for name, (dep, outs) in stages.items():
        lines += [f"  {name}:", f"    cmd: python {name}.py", "    deps:", *_artifact(f"data/{name}.in", dep)]
        lines += ["    outs:", *[line for path, md5 in outs.items() for line in _artifact(path, md5)]]
    return "\n".join(lines) + "\n"


def _artifact(path: str, md5: str) -> list[str]:
    return [f"    - path: {path}", "      hash: md5", f"      md5: {md5}", "      size: 10"]
