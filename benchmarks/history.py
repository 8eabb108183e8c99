"""How fast the history is read, beside DVC in the same run: `make bench`.

    python benchmarks/history.py --commits 1000 10000 --pairs 100

The history is made up (`made_history.py`): 12 stages, 60 params, 40 metrics, 20 branches. Cold: no index and none of
DVC's caches; warm: the second run. Seconds are of whole processes, the median of several runs where they are short.
Ends with a check that `clew compare --json` shows the params and metrics that DVC shows, for random pairs of commits.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import made_history

BIN = Path(sys.executable).parent
RUNS = 5


def seconds(folder: Path, *command: str, runs: int = 1) -> float:
    """The median time of a whole process, in seconds; its output is thrown away."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    took = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def cool(folder: Path) -> None:
    """Remove what either tool keeps between runs."""
    for name in (".clew", ".dvc/tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)


def add_commit(folder: Path, number: int) -> None:
    """One more experiment on main."""
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(f"{text}new{number}:\n  p: {number}\n")
    git = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-qam", "One more")
    subprocess.run(git, cwd=folder, check=True)


def measure(folder: Path, with_dvc: bool) -> dict[str, float]:
    """What the table shows, in seconds."""
    found: dict[str, float] = {}
    if with_dvc:
        cool(folder)
        found["dvc exp show -A, cold"] = seconds(folder, "dvc", "exp", "show", "-A", "--json")
        found["dvc exp show -A, warm"] = seconds(folder, "dvc", "exp", "show", "-A", "--json", runs=3)
        pair = ("main~1", "main")
        found["dvc params diff, warm"] = seconds(folder, "dvc", "params", "diff", "--json", *pair, runs=RUNS)
        found["dvc metrics diff, warm"] = seconds(folder, "dvc", "metrics", "diff", "--json", *pair, runs=RUNS)
    cool(folder)
    found["clew log, cold (first index)"] = seconds(folder, "clew", "log")
    found["clew log, warm"] = seconds(folder, "clew", "log", runs=RUNS)
    found["clew log --where --sort, warm"] = seconds(
        folder, "clew", "log", "--where", "stage3.p1 > 0.5", "--sort", "variant1.metric3", runs=RUNS
    )
    found["clew best, warm"] = seconds(folder, "clew", "best", "variant1.metric3", runs=RUNS)
    found["clew compare, warm"] = seconds(folder, "clew", "compare", "main~1", "main", "--no-tests", runs=RUNS)
    new = []
    for number in range(RUNS):
        add_commit(folder, number)
        new.append(seconds(folder, "clew", "log"))
    found["clew log, one new commit"] = statistics.median(new)
    found["  of it more than warm"] = found["clew log, one new commit"] - found["clew log, warm"]
    found["index, MB"] = (folder / ".clew/history.sqlite").stat().st_size / 1e6
    return found


def differing(folder: Path, before: str, after: str) -> dict[str, dict[str, Any]]:
    """What `clew compare --json` shows, in the form of `dvc params diff --json` and `dvc metrics diff --json`."""
    command = [sys.executable, "-m", "clew", "compare", before, after, "--no-tests", "--json"]
    printed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    (side,) = json.loads(printed)["revisions"]
    named = [(f"params.yaml:{name}", change) for name, change in side["asked"].items()]
    found: dict[str, dict[str, Any]] = {"params": {}, "metrics": {}}
    for kind, changes in (("params", named), ("metrics", side["other_metrics"].items())):
        for name, change in changes:
            file, _, own = name.partition(":")
            found[kind].setdefault(file, {})[own] = _change(*(_as_dvc(change.get(key)) for key in ("before", "after")))
    return found


def _as_dvc(value: Any) -> Any:
    """DVC prints a list as a text."""
    return str(value) if isinstance(value, list) else value


def _change(old: Any, new: Any) -> dict[str, Any]:
    change = {"old": old, "new": new}
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        change["diff"] = new - old
    return change


def dvc_differing(folder: Path, before: str, after: str) -> dict[str, dict[str, Any]]:
    """What DVC prints."""
    found = {}
    for kind in ("params", "metrics"):
        command = [str(BIN / "dvc"), kind, "diff", "--json", before, after]
        printed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
        found[kind] = json.loads(printed)
    return found


def check_equality(folder: Path, pairs: int) -> str:
    """Compare `pairs` random pairs of commits; raises AssertionError at the first difference."""
    ids = subprocess.run(["git", "rev-list", "--all"], cwd=folder, check=True, capture_output=True, text=True)
    draw = random.Random(0)
    for _ in range(pairs):
        before, after = draw.sample(ids.stdout.split(), 2)
        ours, theirs = differing(folder, before, after), dvc_differing(folder, before, after)
        assert ours == theirs, (before, after, ours, theirs)
    return f"{pairs} random pairs of commits: clew compare shows exactly the params and metrics that DVC shows"


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--branches", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=100)
    given = parser.parse_args()
    columns = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, commits in enumerate(given.commits):
            folder = Path(scratch) / str(commits)
            made_history.make(folder, commits, given.branches)
            columns[commits] = measure(folder, with_dvc=number == 0)
        print("| seconds |" + "".join(f" {commits:,} commits |" for commits in columns))
        print("|---|" + "---|" * len(columns))
        for name in columns[given.commits[0]]:
            cells = [f" {found[name]:.2f} |" if name in found else " |" for found in columns.values()]
            print(f"| {name} |" + "".join(cells))
        print()
        print(check_equality(Path(scratch) / str(given.commits[0]), given.pairs))


if __name__ == "__main__":
    main()
