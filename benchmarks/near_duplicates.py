"""Near duplicates and the split at scale, beside datasketch in the same run: `make bench`.

    python benchmarks/near_duplicates.py --rows 100000 1000000

Rows are made up: 50 words each, drawn as often as words are in a language (Zipf), and every tenth row is another one
with up to three words changed. Each figure is of a process of its own. CPU: seconds of all its threads, which other
work on the machine disturbs less; peak memory includes the rows. Recall: of the copies whose Jaccard similarity (plain
Python sets) is at least the threshold, those put with their original. Precision: of the pairs that a tool puts
together, those that are so similar. The split looks for leaks and contamination, too.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clew import io, params, paths, rows, similarity
from clew.cleaning import Context, chain, near_duplicates, store
from clew.params_clean import NearDuplicatesRule, TfidfFeatures
from clew.stages import split

THRESHOLD, SHINGLE, PERMUTATIONS = 0.8, 3, 128
RULE = NearDuplicatesRule(action="keep", threshold=THRESHOLD, shingle=SHINGLE, permutations=PERMUTATIONS)
WORDS, LENGTH, CHANGED = 50_000, 50, 3
FIND_WITH_DATASKETCH = 100_000
"""Rows at most: it takes minutes for a million."""


def made(n: int) -> tuple[pa.Array, dict[int, int]]:
    """n texts in random order, and of each copy the position of its original."""
    draw = np.random.default_rng(0)
    share = 1 / np.arange(1, WORDS + 1)
    texts = draw.choice(WORDS, size=(n - n // 10, LENGTH), p=share / share.sum())
    originals = draw.choice(len(texts), size=n // 10, replace=False)
    copies = texts[originals]
    for copy, number in zip(copies, draw.integers(0, CHANGED + 1, size=len(copies)), strict=True):
        copy[draw.choice(LENGTH, number, replace=False)] = draw.choice(WORDS, number)
    order = draw.permutation(n)
    place = np.argsort(order)
    names = np.array([f"word{number}" for number in range(WORDS)], dtype=object)
    whole = np.concatenate([texts, copies])[order]
    joined = pa.array((" ".join(names[row]) for row in whole), type=pa.large_string(), size=n)
    return joined, dict(zip(place[len(texts) :].tolist(), place[originals].tolist(), strict=True))


def jaccard(texts: pa.Array, one: int, other: int) -> float:
    """The plain way."""
    words = (texts[position].as_py().split() for position in (one, other))
    a, b = ({tuple(some[i : i + SHINGLE]) for i in range(len(some) - SHINGLE + 1)} for some in words)
    return len(a & b) / len(a | b)


def judged(texts: pa.Array, original: dict[int, int], pairs: set[tuple[int, int]]) -> dict[str, float]:
    """Recall and precision of pairs of positions, the smaller first."""
    near = {tuple(sorted(pair)) for pair in original.items() if jaccard(texts, *pair) >= THRESHOLD}
    right = sum(pair in near or jaccard(texts, *pair) >= THRESHOLD for pair in pairs)
    return {"recall": len(near & pairs) / len(near), "precision": right / len(pairs), "pairs": len(pairs)}


def find(n: int) -> dict[str, float]:
    """The rule as `clean` calls it, and the pairs that it measures."""
    texts, original = made(n)
    table = store.of_table(_table(texts).select(chain.SEEN), Path())
    context = Context(0, TfidfFeatures(kind="tfidf", dimensions=16), None)
    started = _now()
    found = near_duplicates.find(table, RULE, context)
    took = _took(started)
    told = similarity.near_pairs(similarity.in_memory(texts), THRESHOLD, SHINGLE, PERMUTATIONS, 0)
    near = told.jaccard >= THRESHOLD
    pairs = set(zip(told.left[near].tolist(), told.right[near].tolist(), strict=True))
    return took | judged(texts, original, pairs) | {"found": len(found.by_position)}


def datasketch(n: int) -> dict[str, float]:
    """datasketch's LSH with as many permutations; its candidates as they come."""
    from datasketch import MinHash, MinHashLSH

    texts, original = made(n)
    started = _now()
    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    sets = (
        [" ".join(words[i : i + SHINGLE]).encode() for i in range(len(words) - SHINGLE + 1)]
        for words in (text.split() for text in texts.to_pylist())
    )
    pairs = set()
    for position, hashed in enumerate(MinHash.generator(sets, num_perm=PERMUTATIONS)):
        pairs.update((other, position) for other in lsh.query(hashed))
        lsh.insert(position, hashed, check_duplication=False)
    return _took(started) | judged(texts, original, pairs)


def divide(n: int) -> dict[str, float]:
    """The stage `split`, on rows with their clusters."""
    texts, _ = made(n)
    table = _table(texts)
    context = Context(0, TfidfFeatures(kind="tfidf", dimensions=16), None)
    clusters = near_duplicates.find(store.of_table(table.select(chain.SEEN), Path()), RULE, context).columns["cluster"]
    table = table.set_column(rows.SCHEMA.get_field_index("cluster"), "cluster", clusters.cast(pa.string()))
    declared = params.Split(
        valid_share=0.1,
        test_share=0.2,
        limits={"t": params.Sides(train=n // 2, valid=n, test=n)},
        leakage=params.Leakage(
            near=THRESHOLD, shingle=SHINGLE, permutations=PERMUTATIONS, action="fail", max_share=0.01
        ),
        contamination=params.Contamination(ngram=13, overlap=0.5, benchmarks=(), action="drop", max_share=0.01),
    )
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        with io.parquet_writer(paths.CLEAN, rows.SCHEMA) as write:
            write(table)
        del table, texts, clusters
        started = _now()
        counts = split.run(declared, 0)
        return _took(started) | counts | io.read_json(paths.SPLIT_METRICS)["leakage"]


def _table(texts: pa.Array) -> pa.Table:
    n = len(texts)
    ids = pa.array((f"{number:064x}" for number in range(n)), type=pa.string(), size=n)
    messages = pa.StructArray.from_arrays([pa.repeat("user", n), texts.cast(pa.string())], ["role", "content"])
    labels = pa.array(np.where(np.arange(n) % 3, "yes", "no"))
    origin = pa.StructArray.from_arrays([pa.repeat("f", n), pa.array(np.arange(n))], ["file", "record"])
    given = {
        "row_id": ids,
        "source": pa.repeat("s", n),
        "origin": origin,
        "task": pa.repeat("t", n),
        "messages": pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32)), messages),
        "text": texts.cast(pa.string()),
        "completion": labels,
        "label": labels,
        "weight": pa.repeat(1.0, n),
    }
    arrays = [given[field.name] if field.name in given else pa.nulls(n, field.type) for field in rows.SCHEMA]
    return pa.table(arrays, schema=rows.SCHEMA)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _took(started: tuple[float, float]) -> dict[str, float]:
    seconds, cpu = (after - before for after, before in zip(_now(), started, strict=True))
    return {"seconds": seconds, "cpu": cpu, "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


TOOLS: dict[str, Callable[[int], dict[str, float]]] = {
    "near_duplicates": find,
    "datasketch": datasketch,
    "split": divide,
}


def _measured(tool: str, n: int) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), "--one", tool, "--rows", str(n)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--one", choices=TOOLS, help="measure one tool in this process and print JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(TOOLS[given.one](given.rows[0])))
        return
    print("| | rows | seconds | CPU | peak GB | recall | precision |")
    print("|---|---|---|---|---|---|---|")
    for tool in TOOLS:
        for n in given.rows:
            if tool == "datasketch" and n > FIND_WITH_DATASKETCH:
                continue
            found = _measured(tool, n)
            shares = "".join(f" {found[name]:.4f} |" if name in found else " |" for name in ("recall", "precision"))
            print(
                f"| {tool} | {n:,} | {found['seconds']:.1f} | {found['cpu']:.1f} | {found['GB']:.2f} |{shares}",
                flush=True,
            )
            print(found, file=sys.stderr)


if __name__ == "__main__":
    main()
