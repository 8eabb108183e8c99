"""A made-up history for benchmarks and tests: a pipeline of stages, each commit one changed param and what follows.

    python benchmarks/made_history.py FOLDER --commits 1000 --branches 20

Stage k depends on stage k - 1, so a commit that changes a param of stage k changes the blocks k, k + 1, … of dvc.lock
and all metrics, as a real run does. It is written by `git fast-import`, in DVC's own format.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
from pathlib import Path
from typing import IO, cast

STAGES, PARAMS, METRICS = 12, 60, 40


def _md5(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def pipeline() -> str:
    """dvc.yaml: a chain of stages, the last of which makes the metrics."""
    lines = ["stages:"]
    for k in range(STAGES):
        deps = [f"src/stage{k}.py", *([f"data/{k - 1}.bin"] if k else [])]
        lines += [f"  stage{k}:", f"    cmd: python src/stage{k}.py", f"    deps: [{', '.join(deps)}]"]
        lines += [f"    params: [stage{k}]", f"    outs: [data/{k}.bin]"]
    lines += ["    metrics:", "      - metrics/quality.json: {cache: false}"]
    return "\n".join(lines) + "\n"


class Experiment:
    """One commit's params, and what follows from them."""

    def __init__(self, params: dict[str, dict[str, float]], seed: int) -> None:
        self.params, self.seed = params, seed

    def changed(self, draw: random.Random) -> Experiment:
        """Another value for one param."""
        stage = f"stage{draw.randrange(STAGES)}"
        name = draw.choice(sorted(self.params[stage]))
        values = self.params[stage] | {name: round(draw.random(), 4)}
        return Experiment(self.params | {stage: values}, draw.randrange(1 << 30))

    def files(self) -> dict[str, str]:
        """dvc.lock, params.yaml and the metrics, as DVC and clew write them."""
        lock, made, metrics = ["schema: '2.0'", "stages:"], "", ""
        for k in range(STAGES):
            values = self.params[f"stage{k}"]
            deps = [(f"src/stage{k}.py", _md5("code", k)), *([(f"data/{k - 1}.bin", made)] if k else [])]
            made = _md5(made, k, sorted(values.items()))
            outs = [(f"data/{k}.bin", made)]
            if k == STAGES - 1:
                metrics = _metrics(made)
                outs.append(("metrics/quality.json", hashlib.md5(metrics.encode(), usedforsecurity=False).hexdigest()))
            lock += [f"  stage{k}:", f"    cmd: python src/stage{k}.py", "    deps:", *_artifacts(deps)]
            lock += ["    params:", "      params.yaml:", f"        stage{k}:"]
            lock += [f"          {name}: {value}" for name, value in values.items()]
            lock += ["    outs:", *_artifacts(outs)]
        params = [line for stage, values in self.params.items() for line in (f"{stage}:", *_pairs(values))]
        return {
            "dvc.lock": "\n".join(lock) + "\n",
            "params.yaml": "\n".join(params) + "\n",
            "metrics/quality.json": metrics,
        }


def _metrics(made: str) -> str:
    """The metrics of what was made last, as JSON."""
    draw = random.Random(made)
    metrics: dict[str, dict[str, float]] = {}
    for index in range(METRICS):
        metrics.setdefault(f"variant{index % 4}", {})[f"metric{index // 4}"] = round(draw.random(), 6)
    return json.dumps(metrics, indent=2, sort_keys=True) + "\n"


def _artifacts(entries: list[tuple[str, str]]) -> list[str]:
    lines = []
    for path, md5 in entries:
        lines += [f"    - path: {path}", "      hash: md5", f"      md5: {md5}", "      size: 1000"]
    return lines


def _pairs(values: dict[str, float]) -> list[str]:
    return [f"  {name}: {value}" for name, value in values.items()]


def make(folder: Path, commits: int, branches: int, seed: int = 0) -> None:
    """Write the history into a new repository at `folder`, with main checked out."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    each = PARAMS // STAGES
    first = Experiment({f"stage{k}": {f"p{i}": round(draw.random(), 4) for i in range(each)} for k in range(STAGES)}, 0)
    fixed = {
        "dvc.yaml": pipeline(),
        ".dvc/config": "[core]\n    analytics = false\n",
        ".gitignore": "/data\n.clew/\n/.dvc/tmp\n/.dvc/cache\n",
        **{f"src/stage{k}.py": f"print({k})\n" for k in range(STAGES)},
    }
    importing = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=folder, stdin=subprocess.PIPE)
    stream = cast("IO[bytes]", importing.stdin)
    names = ["main", *[f"branch{b}" for b in range(1, branches)]]
    tips: dict[str, tuple[int, Experiment]] = {}
    made = []
    for number in range(1, commits + 1):
        branch = "main" if number <= branches else names[number % branches]
        parent, experiment = tips.get(branch) or (draw.choice(made[:branches]) if made else (0, first))
        experiment = experiment.changed(draw) if made else experiment
        files = experiment.files() | (fixed if not made else {})
        stream.write(_commit(branch, number, parent, files))
        tips[branch] = (number, experiment)
        made.append(tips[branch])
    stream.close()
    if importing.wait():
        raise RuntimeError("git fast-import failed")
    subprocess.run(["git", "reset", "-q", "--hard", "main"], cwd=folder, check=True)


def _commit(branch: str, number: int, parent: int, files: dict[str, str]) -> bytes:
    title = f"Experiment {number}".encode()
    lines = [f"commit refs/heads/{branch}\nmark :{number}\n".encode()]
    lines.append(f"committer Ada <ada@example.org> {1_700_000_000 + 60 * number} +0000\n".encode())
    lines.append(b"data %d\n%s\n" % (len(title), title))
    if parent:
        lines.append(b"from :%d\n" % parent)
    for path, text in files.items():
        content = text.encode()
        lines.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content))
    return b"".join(lines) + b"\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--branches", type=int, default=20)
    given = parser.parse_args()
    make(given.folder, given.commits, given.branches)
