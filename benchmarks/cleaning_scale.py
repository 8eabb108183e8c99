"""prepare, clean and split on many rows: seconds, peak memory and bytes of the ledgers, by stage and by rule.

    python benchmarks/cleaning_scale.py FOLDER --rows 100000 1000000      (again: made texts are kept)

The texts are made up of words of the real posts (source `dreaddit` of params.yaml): 50 words a text, drawn one by one
with the frequencies of each label, which are drawn apart (SHARPER) so that the words predict the label at about 90 %.
5 % of the rows are exact copies of earlier rows, 10 % copies with one or two words changed. The rules are those that
stand in params.yaml, or those of --rules. Every stage is a process of its own, in the environment of `clew stage`.
Beside them, with a limit of time: datasketch's MinHashLSH on the same texts and Datalab's defaults on the same tf-idf
features.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from clew import io, params, paths, process, runtime, sources

ROOT = Path(__file__).parents[1]
TASK = "stress"
WORDS = 50
CHUNK = 50_000
SHARPER = 0.9
"""Log-odds of a word between the labels, times this, are added to the real ones (less 1: taken off)."""


def posts(folder: Path) -> tuple[list[str], np.ndarray]:
    """The words of the real posts, and how often each stands in posts of label 0 and 1: (2, words)."""
    import pandas as pd

    raw = folder / "posts"
    if not raw.is_dir():
        with io.replace_folder(raw) as aside:
            sources.fetch(params.load(ROOT / "params.yaml").fetch_data.sources["dreaddit"], aside, "dreaddit")
    read = pd.concat([pd.read_csv(path) for path in sorted(raw.glob("*.csv"))])
    counts = [Counter(" ".join(read.text[read.label == label]).split()) for label in (0, 1)]
    words = sorted(counts[0] | counts[1])
    return words, np.array([[count[word] for word in words] for count in counts], dtype=np.float64)


def write_texts(path: Path, rows: int, folder: Path) -> None:
    """JSON lines {"text": …, "label": …}; the same each time."""
    words, counts = posts(folder)
    draw = np.random.default_rng(13)
    shares = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    both = shares.mean(axis=0)
    sharp = both * (shares / both) ** SHARPER
    steps = np.cumsum(sharp / sharp.sum(axis=1, keepdims=True), axis=1)
    steps[:, -1] = 1
    vocabulary = np.array(words, dtype=object)
    with io.replace_file(path) as aside, aside.open("w", encoding="utf-8") as file:
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            labels = draw.integers(0, 2, size)
            uniform = draw.random((size, WORDS))
            drawn = np.empty((size, WORDS), dtype=np.int64)
            for label in (0, 1):
                drawn[labels == label] = np.searchsorted(steps[label], uniform[labels == label])
            kind = draw.random(size)
            copies = np.flatnonzero(kind < 0.15)
            origin = draw.integers(0, np.maximum(copies, 1))
            for position, source, changed in zip(copies, origin, kind[copies] >= 0.05, strict=True):
                drawn[position], labels[position] = drawn[source], labels[source]
                if changed:
                    places = draw.integers(0, WORDS, draw.integers(1, 3))
                    drawn[position, places] = draw.integers(0, len(words), len(places))
            texts = vocabulary[drawn]
            file.writelines(
                json.dumps({"text": " ".join(text), "label": str(label)}, ensure_ascii=False) + "\n"
                for text, label in zip(texts.tolist(), labels.tolist(), strict=True)
            )


def declared(rules: dict[str, Any]) -> params.Params:
    """params.yaml with one task, with `rules` in place of its own, and a split that is not limited and drops leaks."""
    p = params.load(ROOT / "params.yaml").model_dump(mode="json")
    p["prepare"]["tasks"] = {TASK: p["prepare"]["tasks"][TASK] | {"files": "*.jsonl", "format": "jsonl"}}
    p["clean"] |= rules
    p["split"]["limits"] = {}
    for check in ("leakage", "contamination"):  # near copies that are less alike than `near_duplicates` asks stay apart
        p["split"][check]["action"] = "drop"
    _keep_tasks(p)
    return params.Params.model_validate_json(json.dumps(p))


def _keep_tasks(node: Any) -> None:
    """Take the names of other tasks out of all lists of tasks, and all audits."""
    for name, value in node.items() if isinstance(node, dict) else ():
        if name in ("tasks", "benchmarks") and isinstance(value, list):
            node[name] = [task for task in value if task == TASK]
        elif name == "audits":
            node[name] = []
        else:
            _keep_tasks(value)


def run_stage(name: str, rules: dict[str, Any]) -> None:
    """Run a stage here and print what it took: seconds (by rule, too) and the peak of its memory in bytes."""
    from clew.cleaning import chain
    from clew.stages import clean, prepare, split

    p = declared(rules)
    seconds: dict[str, float] = {}

    def timed(rule: str, find: Any) -> Any:
        def measured(*arguments: Any) -> Any:
            started = time.perf_counter()
            found = find(*arguments)
            seconds[rule] = time.perf_counter() - started
            return found

        return measured

    for rule, find in list(chain.RULES.items()):
        chain.RULES[rule] = timed(rule, find)
    arguments = {"prepare": (p.prepare,), "clean": (p.clean, p.seed), "split": (p.split, p.seed)}[name]
    started = time.perf_counter()
    {"prepare": prepare, "clean": clean, "split": split}[name].run(*arguments)
    took = time.perf_counter() - started
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak = (times[0].ru_maxrss + process.cores() * times[1].ru_maxrss) << 10  # of the workers the largest is known
    cpu = sum(one.ru_utime + one.ru_stime for one in times)
    print(json.dumps({"seconds": took, "cpu": cpu, "rules": seconds, "peak": peak}))


def run_datasketch(texts: Path) -> None:
    """MinHashLSH as its documentation has it: 128 permutations, Jaccard 0.8, shingles of 3 words."""
    from datasketch import MinHash, MinHashLSH

    started = time.perf_counter()
    index = MinHashLSH(threshold=0.8, num_perm=128)
    found = 0
    for number, line in enumerate(texts.open(encoding="utf-8")):
        words = json.loads(line)["text"].split()
        sketch = MinHash(num_perm=128)
        sketch.update_batch([" ".join(words[at : at + 3]).encode() for at in range(max(1, len(words) - 2))])
        found += bool(index.query(sketch))
        index.insert(str(number), sketch)
    _print_own(started, found)


def run_datalab(texts: Path) -> None:
    """Datalab's defaults on 128 dimensions of tf-idf; making these is not measured."""
    from cleanlab import Datalab
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    records = [json.loads(line) for line in texts.open(encoding="utf-8")]
    tfidf = TfidfVectorizer(min_df=5, sublinear_tf=True).fit_transform([record["text"] for record in records])
    features = TruncatedSVD(128, random_state=13).fit_transform(tfidf)
    print("ready", file=sys.stderr, flush=True)
    started = time.perf_counter()
    lab = Datalab({"label": [record["label"] for record in records]}, label_name="label", verbosity=0)
    lab.find_issues(features=features)
    _print_own(started, int(lab.get_issues()["is_near_duplicate_issue"].sum()))


def _print_own(started: float, found: int) -> None:
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps({"seconds": took, "peak": peak, "found": found}))


def child(*arguments: str, folder: Path, limit: float | None = None) -> dict[str, Any] | None:
    """What another process of this script prints last; None where it is not done within the limit."""
    environment = {**os.environ, **runtime.ENVIRONMENT, **runtime.OFFLINE}
    command = [sys.executable, __file__, *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, rows: int, options: argparse.Namespace, late: set[str]) -> dict[str, str]:
    """Line of the table → its value for so many rows. late: which of OTHERS were not done in time with fewer rows."""
    texts = folder / f"{rows}.jsonl"
    if not texts.exists():
        write_texts(texts, rows, folder)
    place = folder / f"of-{rows}"
    raw = place / paths.RAW / "dreaddit/posts.jsonl"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.unlink(missing_ok=True)
    raw.hardlink_to(texts)
    found: dict[str, str] = {}
    took = {stage: child("--stage", stage, "--rules", options.rules, folder=place) or {} for stage in STAGES}
    for stage, figures in took.items():
        found[f"{stage}, s"] = f"{figures['seconds']:.1f}"
        found |= {f"– of it {rule}, s": f"{seconds:.1f}" for rule, seconds in figures["rules"].items()}
        found[f"{stage}, s of processor time"] = f"{figures['cpu']:.1f}"
        found[f"{stage}, peak GB"] = f"{figures['peak'] / 1e9:.2f}"
        ledger = place / paths.ledger(stage)
        found[f"{stage}, bytes of the ledger a row"] = f"{ledger.stat().st_size / rows:.1f}"
    found["all three, s"] = f"{sum(figures['seconds'] for figures in took.values()):.1f}"
    cleaned = io.read_json(place / paths.CLEAN_METRICS)
    found["rows left by clean"] = f"{cleaned['rows_out']:,}"
    for name in OTHERS:
        if name in late:
            found[f"{name}, s"] = "not tried"
            continue
        other = child("--other", name, "--texts", str(texts), folder=place, limit=options.limit)
        if other is None:
            late.add(name)
        found[f"{name}, s"] = f"{other['seconds']:.1f}" if other else f"not within {options.limit:.0f}"
        found[f"{name}, peak GB"] = f"{other['peak'] / 1e9:.2f}" if other else ""
    return found


STAGES = ("prepare", "clean", "split")
OTHERS = {"datasketch MinHashLSH": run_datasketch, "Datalab's defaults": run_datalab}


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="keeps the made texts and what the stages write")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rules", default="{}", help="JSON: rules of `clean` on top of params.yaml, or null for off")
    parser.add_argument(
        "--limit", type=float, default=600, help="seconds that each of the others has, its start and features included"
    )
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--other", choices=OTHERS, help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_stage(options.stage, json.loads(options.rules))
    elif options.other:
        OTHERS[options.other](options.texts)
    else:
        with tempfile.TemporaryDirectory() as own:
            folder = (options.folder or Path(own)).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            late: set[str] = set()
            columns = [measure(folder, rows, options, late) for rows in sorted(options.rows)]
        print("| | " + " | ".join(f"{rows:,} rows" for rows in sorted(options.rows)) + " |")
        print("|---" * (len(columns) + 1) + "|")
        for line in dict.fromkeys(line for column in columns for line in column):
            print(f"| {line} | " + " | ".join(column.get(line, "") for column in columns) + " |")


if __name__ == "__main__":
    main()
