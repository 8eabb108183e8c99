"""Posts on disk with a few wrong labels, prepared and cleaned by the real stages, and the dvc.lock that tells of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from clew import params, paths
from clew.stages import clean, prepare

ROOT = Path(__file__).parents[2]
WORDS = {"1": ["fear", "worry", "panic", "tired", "sleepless"], "0": ["sunny", "picnic", "holiday", "cake", "garden"]}


def write(number: int = 120, wrong: int = 10) -> None:
    """Raw posts of two easily told kinds; the labels of the first `wrong` are turned round. One is short."""
    draw = random.Random(0)
    records = []
    for n in range(number):
        label = str(n % 2)
        text = f"post {n} " + " ".join(draw.choices(WORDS[label], k=6 + n % 3))
        records.append({"text": text, "label": str(1 - n % 2) if n < wrong else label})
    records.append({"text": "far too short", "label": "1"})
    folder = paths.RAW / "dreaddit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "posts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def declared(**clean_changes: Any) -> params.Params:
    """The default experiment over these posts; rules of `clean` can be changed. Label noise asks a person."""
    loaded = params.load(ROOT / "params.yaml").model_dump(mode="json")
    stress = loaded["prepare"]["tasks"]["stress"] | {"files": "*.jsonl", "format": "jsonl"}
    loaded["prepare"]["tasks"] = {"stress": stress}
    every_rule = dict.fromkeys(params.Clean.model_fields)
    loaded["clean"] = every_rule | {
        "features": {"kind": "tfidf", "dimensions": 16},
        "downweight": 0.5,
        "length": {"action": "drop", "min_words": 5, "max_words": 600},
        "label_noise": {
            "tasks": ["stress"],
            "folds": 5,
            "threshold": 0.5,
            "min_accuracy": 1.0,
            "otherwise": "review",
        },
        **clean_changes,
    }
    return params.Params.model_validate_json(json.dumps(loaded))


def run(p: params.Params) -> None:
    """prepare and clean, and a dvc.lock that says with what."""
    prepare.run(p.prepare)
    clean.run(p.clean, p.prepare, p.seed)
    lock = {
        "schema": "2.0",
        "stages": {
            "clean": {
                "cmd": "clew stage clean",
                "params": {"params.yaml": {"clean": p.clean.model_dump(mode="json"), "seed": p.seed}},
            }
        },
    }
    with Path("dvc.lock").open("w") as file:
        YAML(typ="safe").dump(lock, file)
