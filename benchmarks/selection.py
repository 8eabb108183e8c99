"""What `select` keeps, and how well one learns from it: the stress posts of the default experiment.

    python benchmarks/selection.py FOLDER      (with data/rows.parquet of the default params.yaml, which is read)

Labels of a share of all posts are turned round (drawn with a seed), then clean, split (without limits) and select run
as in the pipeline. From the rows that are kept a logistic regression on tf-idf of words and pairs learns; accuracy is
against the labels as they were, on valid and test. Mean and standard deviation of SEEDS seeds of select.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from clew import params, paths, rows
from clew.stages import clean, select, split

ROOT = Path(__file__).resolve().parents[1]
SEEDS, SEED, TASK = 5, 13, "stress"
SCORE = {"rule": "label_noise", "best": "high"}
FEATURES = {"kind": "tfidf", "dimensions": 128}


def diversity(method: str, pool: float = 1.0) -> dict[str, Any]:
    """The section `select.diversity`."""
    return {"method": method, "pool": pool, "features": FEATURES}


WAYS: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
    "random": (None, None),
    "score": (SCORE, None),
    "facility location": (None, diversity("facility_location")),
    "farthest point": (None, diversity("farthest_point")),
    "score, then facility location (pool 1.5)": (SCORE, diversity("facility_location", 1.5)),
}


def declared() -> params.Params:
    """The default experiment, of which all posts are used."""
    tree = params.load(ROOT / "params.yaml").model_dump(mode="json")
    tree["split"] |= {"limits": {}, "leakage": None, "contamination": None}
    return params.Params.model_validate_json(json.dumps(tree))


def of_task(path: Path) -> list[dict[str, Any]]:
    """The posts of a file."""
    return [row for row in rows.read(path) if row["task"] == TASK]


def accuracy(train: list[dict[str, Any]], test: list[dict[str, Any]], truth: dict[str, str]) -> float:
    """Of a classifier that learns the labels as they stand, against those that are true."""
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    known = words.fit_transform([row["text"] for row in train])
    model = LogisticRegression(C=4, max_iter=500).fit(known, [row["label"] for row in train])
    asked = words.transform([row["text"] for row in test])
    return float(model.score(asked, [truth[row["row_id"]] for row in test]))


def measure(before: list[dict[str, Any]], noise: float) -> None:
    """Print a table of what each way keeps and what is learnt from it."""
    truth = {row["row_id"]: row["label"] for row in before if row["task"] == TASK}
    draw = random.Random(SEED)
    wrong = {row_id for row_id in truth if draw.random() < noise}
    turned = {"yes": "no", "no": "yes"}
    rows.write(
        paths.ROWS,
        [
            row | {name: turned[row[name]] for name in ("label", "completion", "rejected")}
            if row["row_id"] in wrong
            else row
            for row in before
        ],
    )
    p = declared()
    clean.run(p.clean, p.prepare, SEED)
    split.run(p.split, SEED)
    train = of_task(paths.SPLITS / "train.parquet")
    test = [row for side in ("valid", "test") for row in of_task(paths.SPLITS / f"{side}.parquet")]
    share = np.mean([row["row_id"] in wrong for row in train])
    print(f"\nturned round: {noise:.0%}; {len(train)} rows to learn from, {len(test)} to ask about")
    print(f"all: accuracy {accuracy(train, test, truth):.3f}, wrong labels {share:.3f}")
    for keep in (0.1, 0.25, 0.5, 0.75):
        for way, (score, diverse) in WAYS.items():
            section = {"enabled": True, "keep": {TASK: keep}, "score": score, "diversity": diverse}
            found, shares = [], []
            for seed in range(SEEDS):
                select.run(params.Select.model_validate_json(json.dumps(section)), seed)
                kept = of_task(paths.SELECTED)
                found.append(accuracy(kept, test, truth))
                shares.append(np.mean([row["row_id"] in wrong for row in kept]))
            print(
                f"| {keep} | {way} | {np.mean(found):.3f} ± {np.std(found):.3f} | {np.mean(shares):.3f} |", flush=True
            )


def main() -> None:
    """Measure without noise, and with a fifth of the labels turned round."""
    before = rows.read(Path(sys.argv[1]) / paths.ROWS)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for noise in (0.0, 0.2):
            measure(before, noise)


if __name__ == "__main__":
    main()
