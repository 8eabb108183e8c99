"""`clew rows trace` of one row over many models: builds the history, the row sets, and times the whole process.

    python benchmarks/rows_history.py FOLDER --models 1000 --rows 1000000      (again: measures only)

What is made, and what is not: a git repository of one commit a model on 20 branches, whose dvc.lock names a ledger of
the cleaning and a training set of its own. All models draw on the same rows, 5 % more than --rows, and each leaves out
its own (`--drops independent`: 5 %, drawn anew, which is the worst case for size; `successive`: 1 % of the rows are
decided anew from one model to the next). Parquet files of a million rows for every model would take 130 GB, so they are
written for the last --real models only, and the first question reads them as any others; the sets of the rest are added
from arrays by `RowSets.add`, which is what indexing a parquet file calls once its columns are read.

Membership, decisions and rules are asked of all models; scores, thresholds, weights and the text of the newest stories
from the files, as the command does without being asked. Every row has a score and a weight of its own in every model.
--row-group: rows of a group of the files; 1048576 is what pyarrow makes by itself, and clew did. `--text` is not
measured at all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clew.history.store import md5_of
from clew.io import ROW_GROUP
from clew.lineage import rowsets
from clew.lineage.row_origins import Origins
from clew.lineage.rowsets import IN, Group

BRANCHES = 20
DROPS = 0.05
RULES = ("length", "duplicate", "contradiction")


def md5(*parts: object) -> str:
    """Made-up, but of the right form."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


class Models:
    """What each model's cleaning decided. decisions of a model: one number a row, shape (n,): 0 kept, 1.. a rule."""

    def __init__(self, rows: int, drops: str) -> None:
        self.draw = np.random.default_rng(13)
        self.n = int(rows * (1 + DROPS))
        self.ids = self.draw.bytes(32 * self.n)
        self.drops = drops
        self.now = self._fresh(np.arange(self.n))

    def _fresh(self, positions: Any) -> Any:
        now = np.zeros(self.n, dtype=np.int8) if len(positions) == self.n else self.now.copy()
        dropped = self.draw.random(len(positions)) < DROPS
        now[positions] = np.where(dropped, self.draw.integers(1, len(RULES) + 1, len(positions)), 0)
        return now

    def next(self) -> Any:
        """The next model's decisions."""
        some = self.draw.integers(0, self.n, self.n // 100) if self.drops == "successive" else np.arange(self.n)
        self.now = self._fresh(some)
        return self.now

    def origins(self) -> Origins:
        """All from one file."""
        return Origins([("web", "web.jsonl")], np.zeros(self.n, dtype=np.int64), np.arange(self.n))


def groups(decisions: Any) -> list[Group]:
    """A ledger's groups, as indexing its parquet file finds them."""
    dropped = [Group("dropped", rule, np.flatnonzero(decisions == k)) for k, rule in enumerate(RULES, 1)]
    return [Group("kept", None, np.flatnonzero(decisions == 0)), *dropped]


def write_real(store: Path, models: Models, decisions: Any, row_group: int) -> tuple[str, str]:
    """A ledger and a training set as parquet, in DVC's cache under their md5s."""
    digests = models.ids.hex()
    ids = pa.array([digests[at : at + 64] for at in range(0, len(digests), 64)])
    names = np.array(["kept", *["dropped"] * len(RULES)])
    rules = pa.array([None, *RULES]).take(pa.array(decisions.astype(np.int32)))
    n = len(decisions)
    same = {"source": pa.array(["web"] * n), "file": pa.array(["web.jsonl"] * n), "record": pa.array(np.arange(n))}
    draw = np.random.default_rng(int(decisions[:1000].sum()))
    found = {
        "score": pa.array(draw.random(n).round(6)),
        "threshold": pa.array(np.full(n, 0.9)),
        "detail": pa.array([f"{k} words" for k in draw.integers(1, 99, n)]),
    }
    columns = {"row_id": ids, **same, "decision": pa.array(names[decisions]), "rule": rules, **found}
    ledger = _write(store, pa.table(columns), row_group)
    kept = pa.array(np.flatnonzero(decisions == 0))
    texts = pa.array([f"I could be homeless soon, says row {k}. " * 5 for k in range(n)])
    columns = {"row_id": ids, "source": same["source"], "text": texts, "weight": pa.array(draw.random(n))}
    return ledger, _write(store, pa.table(columns).take(kept), row_group)


def _write(store: Path, table: pa.Table, row_group: int) -> str:
    store.mkdir(parents=True, exist_ok=True)
    aside = store / "aside.parquet"
    pq.write_table(table, aside, compression="zstd", row_group_size=row_group)
    digest = md5_of(aside)
    path = store / digest[:2] / digest[2:]
    path.parent.mkdir(exist_ok=True)
    aside.rename(path)
    return digest


def lock(ledger: str, train: str, model: str) -> str:
    """A dvc.lock of four stages."""
    lines = ["schema: '2.0'", "stages:"]
    clean = [("data/clean.parquet", md5("clean", ledger)), ("data/ledger/clean.parquet", ledger)]
    for name, deps, outs in (
        ("prepare", [], [("data/rows.parquet", md5("rows"))]),
        ("clean", [("data/rows.parquet", md5("rows"))], clean),
        ("balance", clean[:1], [("data/train.parquet", train)]),
        ("sft", [("data/train.parquet", train)], [("models/sft", f"{model}.dir")]),
    ):
        lines += [f"  {name}:", f"    cmd: clew stage {name}"]
        for side, artifacts in (("deps", deps), ("outs", outs)):
            lines += [f"    {side}:"] if artifacts else []
            for path, digest in artifacts:
                lines += [f"    - path: {path}", "      hash: md5", f"      md5: {digest}", "      size: 1"]
    return "\n".join(lines) + "\n"


def make_history(folder: Path, locks: list[str]) -> None:
    """A commit for each dvc.lock, spread over branches that start from the first."""
    subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
    importer = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=folder, stdin=subprocess.PIPE)
    stream = importer.stdin
    assert stream is not None
    for number, text in enumerate(locks):
        branch = "main" if number % BRANCHES == 0 else f"branch{number % BRANCHES}"
        message, data = f"Model {number}", text.encode()
        start = number - BRANCHES if number >= BRANCHES else 0
        parent = f"from :{start + 1}\n" if number else ""
        stream.write(
            f"commit refs/heads/{branch}\nmark :{number + 1}\ncommitter A <a@example.org> {1700000000 + number} +0000\n"
            f"data {len(message)}\n{message}\n{parent}M 100644 inline dvc.lock\ndata {len(data)}\n".encode()
        )
        stream.write(data + b"\n")
    stream.close()
    assert importer.wait() == 0
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=folder, check=True)


def build(folder: Path, models: Models, n: int, real: int, row_group: int) -> dict[str, Any]:
    """The history and its row sets; seconds and sizes."""
    folder.mkdir(parents=True)
    names = [(md5("ledger", k), md5("train", k), md5("model", k)) for k in range(n)]
    (folder / ".clew").mkdir()
    store = folder / ".dvc/cache/files/md5"
    added = 0.0
    place = folder / ".clew/rows.sqlite"
    with rowsets.opened(place) as sets:
        for number, (ledger, train, _) in enumerate(names):
            decisions = models.next()
            started = time.perf_counter()
            if number >= n - real:
                names[number] = (*write_real(store, models, decisions, row_group), names[number][2])
                continue
            kept = np.flatnonzero(decisions == 0)
            whole = np.frombuffer(models.ids, dtype="V32")
            sets.add(ledger, models.ids, groups(decisions), origins=models.origins)
            sets.add(train, whole[kept].tobytes(), [Group(IN, None, np.arange(len(kept)))])
            added += time.perf_counter() - started
    make_history(folder, [lock(*one) for one in names])
    rows = [*(int(np.flatnonzero(models.now == kind)[7]) for kind in (0, 1)), models.n - 1]
    return {
        "ids": [models.ids[32 * row :][:32].hex() for row in rows],
        "building_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "seconds_a_model_from_arrays": round(added / max(1, n - real), 3),
        "index_of_those_mb": round(place.stat().st_size / 1e6, 1),
    }


def timed(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """Seconds and MB (largest resident set) of a whole process, and what it printed."""
    command = [sys.executable, "-m", "clew", *arguments]
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, printed
    return time.perf_counter() - started, usage.ru_maxrss / 1024, printed


def main() -> None:
    """Build and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--real", type=int, default=20)
    parser.add_argument("--row-group", type=int, default=ROW_GROUP)
    parser.add_argument("--drops", choices=["independent", "successive"], default="independent")
    parser.add_argument("--build-only", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.build_only:
        made = {name: getattr(asked, name) for name in ("models", "rows", "real", "row_group", "drops")}
        made |= build(asked.folder, Models(asked.rows, asked.drops), asked.models, asked.real, asked.row_group)
        (asked.folder / "figures.json").write_text(json.dumps(made))
        return
    built = asked.folder / "figures.json"
    if not built.exists():  # by another process: a child's largest resident set begins with that of its parent
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--build-only"], check=True)
        figures: dict[str, Any] = json.loads(built.read_text())
        seconds, mb, _ = timed(asked.folder, "rows", "trace", figures["ids"][0])
        figures |= {"first_trace_s": round(seconds, 1), "first_trace_peak_mb": round(mb)}
        figures["index_mb"] = round((asked.folder / ".clew/rows.sqlite").stat().st_size / 1e6, 1)
        built.write_text(json.dumps(figures))
    figures = json.loads(built.read_text())
    ids = figures.pop("ids")
    runs = [timed(asked.folder, "rows", "trace", row) for row in ids for _ in range(5)]
    figures["warm_trace_s"] = sorted(round(seconds, 3) for seconds, *_ in runs)
    figures["warm_trace_peak_mb"] = round(max(mb for _, mb, _ in runs))
    (told,) = json.loads(timed(asked.folder, "rows", "trace", ids[0], "--json")[2])["rows"]
    scored = [one for one in told["chapters"] if one["decisions"][0]["score"] is not None]
    figures["models_whose_scores_were_read"] = sum(one["commits"] for one in scored)
    figures["of_those_with_a_weight"] = sum(one["commits"] for one in scored if one["weight"] is not None)
    figures["text_was_read"] = bool(told["text"])
    figures["not_measured"] = "--text; scores of the models that come from arrays, for they are in no file"
    print(runs[-1][2][:3000])
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
