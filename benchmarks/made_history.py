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
from typing import IO, Any, cast

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
    lines += ["    metrics:", *(f"      - metrics/{name}.json: {{cache: false}}" for name in ("quality", "fit"))]
    return "\n".join(lines) + "\n"


ODD: dict[tuple[str, str], list[Any]] = {
    ("stage0", "p4"): [[1, 2], [1, 2, 3], [0.5], ["a", "b"], []],
    ("stage1", "p4"): [True, False, 1, 0, 2],
    ("stage2", "p4"): [None, 3, 0.5],
    ("stage4", "p4"): ["cosine", "linear", "constant with warm-up"],
    ("stage5", "p4"): [True, False],
    ("stage6", "p4"): [1, 1.0, 2, 1e-05],
}
"""Params that are no floats between 0 and 1. Of some, values are the same to Python (and DVC) and not to the eye."""


def drawn(draw: random.Random, stage: str, name: str) -> Any:
    """A value for a param."""
    odd = ODD.get((stage, name))
    return draw.choice(odd) if odd else round(draw.random(), 4)


class Experiment:
    """One commit's params, and what follows from them."""

    def __init__(self, params: dict[str, dict[str, Any]], seed: int) -> None:
        self.params, self.seed = params, seed

    def changed(self, draw: random.Random) -> Experiment:
        """Another value for one param."""
        stage = f"stage{draw.randrange(STAGES)}"
        name = draw.choice(sorted(self.params[stage]))
        values = self.params[stage] | {name: drawn(draw, stage, name)}
        return Experiment(self.params | {stage: values}, draw.randrange(1 << 30))

    def files(self) -> dict[str, str]:
        """dvc.lock, params.yaml and the metrics, as DVC and clew write them."""
        lock, made, metrics, fit = ["schema: '2.0'", "stages:"], "", "", ""
        for k in range(STAGES):
            values = self.params[f"stage{k}"]
            deps = [(f"src/stage{k}.py", _md5("code", k)), *([(f"data/{k - 1}.bin", made)] if k else [])]
            made = _md5(made, k, sorted(values.items(), key=lambda item: item[0]))
            outs = [(f"data/{k}.bin", made)]
            if k == STAGES - 1:
                metrics = _metrics(made)
                texts = {"metrics/quality.json": metrics, "metrics/fit.json": (fit := _fit(made))}
                outs += [(n, hashlib.md5(t.encode(), usedforsecurity=False).hexdigest()) for n, t in texts.items()]
            lock += [f"  stage{k}:", f"    cmd: python src/stage{k}.py", "    deps:", *_artifacts(deps)]
            lock += ["    params:", "      params.yaml:", f"        stage{k}:"]
            lock += [f"          {line}" for name, value in values.items() for line in _as_dvc(name, value)]
            lock += ["    outs:", *_artifacts(outs)]
        params = [line for stage, values in self.params.items() for line in (f"{stage}:", *_pairs(values))]
        return {
            "dvc.lock": "\n".join(lock) + "\n",
            "params.yaml": "\n".join(params) + "\n",
            "metrics/quality.json": metrics,
            "metrics/fit.json": fit,
        }


def _metrics(made: str) -> str:
    """The metrics of what was made last, as JSON."""
    draw = random.Random(made)
    metrics: dict[str, dict[str, float]] = {}
    for index in range(METRICS - len(FIT)):
        metrics.setdefault(f"variant{index % 4}", {})[f"metric{index // 4}"] = round(draw.random(), 6)
    return json.dumps(metrics, indent=2, sort_keys=True) + "\n"


FIT = ("loss", "steps", "converged", "stopped_by")


def _fit(made: str) -> str:
    """A second file: a whole number, true or false and a text among its numbers, and what is no metric to DVC."""
    draw = random.Random(made)
    values = [round(draw.random(), 6), draw.randrange(5), draw.random() < 0.5, draw.choice(["patience", "epochs"])]
    named = dict(zip(FIT, values, strict=True))
    return json.dumps({"sft": named, "curve": [values[0], 0.5], "unknown": None}, indent=2, sort_keys=True) + "\n"


def _artifacts(entries: list[tuple[str, str]]) -> list[str]:
    lines = []
    for path, md5 in entries:
        lines += [f"    - path: {path}", "      hash: md5", f"      md5: {md5}", "      size: 1000"]
    return lines


def _as_dvc(name: str, value: Any) -> list[str]:
    """A param in dvc.lock."""
    if isinstance(value, list) and value:
        return [f"{name}:", *(f"- {_yaml(item)}" for item in value)]
    return [f"{name}: {_yaml(value)}".rstrip()]


def _pairs(values: dict[str, Any]) -> list[str]:
    """The lines of params.yaml, as a person writes them."""
    return [f"  {name}: {_yaml(value)}".rstrip() for name, value in values.items()]


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def make(folder: Path, commits: int, branches: int, seed: int = 0) -> None:
    """Write the history into a new repository at `folder`, with main checked out."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    each = PARAMS // STAGES
    first = Experiment(
        {f"stage{k}": {f"p{i}": drawn(draw, f"stage{k}", f"p{i}") for i in range(each)} for k in range(STAGES)}, 0
    )
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
