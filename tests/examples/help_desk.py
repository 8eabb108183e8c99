"""Rows and predictions as the default experiment makes them, without a model: four tasks, biased on purpose.

`predictions(variant)` gives the same test rows for every variant, each with its skill and a little noise of its own.
Posts by `she` are called stressed less often than posts by `he` when both are, so that fairness has something to find.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from clew import io, paths, rows

SKILL = {"base": 0.2, "sft": 1.3, "aligned": 1.5, "int8": 1.45}
SIZES = {"stress": 160, "exam": 120, "vignettes": 140, "dialogues": 20}
LETTERS = {"exam": "ABCD", "vignettes": "ABCDE"}
GROUPS = {"stress": ("pronoun", ("he", "she", None)), "vignettes": ("patient", ("male", "female", None))}
SOURCES = {"stress": "dreaddit", "exam": "medmcqa", "vignettes": "medqa", "dialogues": "mtsdialog"}
TEXT = (
    "the patient reports chest pain for two days and denies fever cough or nausea she takes aspirin daily with no "
    "known allergies family history of diabetes follow up in one week"
)
WORDS = TEXT.split()


def row_id(task: str, index: int) -> str:
    """An id like a real one."""
    return hashlib.blake2b(f"{task} {index}".encode(), digest_size=32).hexdigest()


def predictions(variant: str = "sft", sizes: dict[str, int] | None = None, seed: int = 1) -> list[dict[str, Any]]:
    """Predictions of every task, in rows.PREDICTION_SCHEMA."""
    found = []
    for task, n in (sizes or SIZES).items():
        for index in range(n):
            rng = np.random.default_rng([seed, len(task), index])
            make = _text if task == "dialogues" else _choice
            found.append(make(task, index, variant, rng))
    return found


def train(n: int = 300, seed: int = 2) -> list[dict[str, Any]]:
    """Training rows of two tasks, in rows.SCHEMA: `he` posts are labelled stressed more often than `she` posts."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(n):
        task = "stress" if index % 4 else "exam"
        pronoun = str(rng.choice(["he", "she", ""])) if task == "stress" else ""
        stressed = rng.random() < {"he": 0.58, "she": 0.46, "": 0.5}[pronoun]
        label = ("yes" if stressed else "no") if task == "stress" else "ABCD"[int(rng.integers(4))]
        found.append(train_row(task, index, label, {"pronoun": pronoun} if pronoun else {}))
    return found


def train_row(task: str, index: int, label: str | None, groups: dict[str, str], weight: float = 1.0) -> dict[str, Any]:
    """One training row."""
    choices = ["yes", "no"] if task == "stress" else list(LETTERS.get(task, "")) or None
    return {
        "row_id": row_id(task, 10_000 + index),
        "source": SOURCES.get(task, "own"),
        "origin": {"file": f"{task}.csv", "record": index},
        "task": task,
        "messages": [{"role": "user", "content": f"{task} {index}"}],
        "text": f"{task} {index}",
        "completion": label or "A summary.",
        "label": label,
        "choices": choices,
        "rejected": None,
        "groups": groups,
        "annotations": None,
        "tokens": None,
        "tags": None,
        "labels": None,
        "options": None,
        "cluster": None,
        "weight": weight,
        "parent_ids": [],
    }


def write(variants: tuple[str, ...] = ("base", "sft"), sizes: dict[str, int] | None = None) -> None:
    """Write predictions and a small model folder for every variant, and the training split, below the cwd."""
    for variant in variants:
        write_predictions(variant, predictions(variant, sizes))
        folder = paths.MODELS / variant
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"\0" * (500 if variant == "int8" else 1000))
    rows.write(paths.SPLITS / "train.parquet", train())


def write_predictions(variant: str, found: list[dict[str, Any]]) -> Path:
    """Write one variant's predictions below the cwd."""
    path = paths.PREDICTIONS / f"{variant}.parquet"
    io.write_parquet(path, found, rows.PREDICTION_SCHEMA)
    return path


def _choice(task: str, index: int, variant: str, rng: np.random.Generator) -> dict[str, Any]:
    choices = ["yes", "no"] if task == "stress" else list(LETTERS[task])
    label = str(rng.choice(choices))
    attribute, values = GROUPS.get(task, ("", (None,)))
    group = values[int(rng.integers(len(values)))]
    noise = np.random.default_rng([index, len(task), list(SKILL).index(variant)]).normal(0, 0.4, len(choices))
    scores = rng.normal(-3, 1, len(choices)) + noise
    scores[choices.index(label)] += SKILL[variant]
    if task == "stress" and group == "she":
        scores[0] -= 0.6
    logprob = float(scores[choices.index(label)] - rng.random())
    return {
        "row_id": row_id(task, index),
        "source": SOURCES[task],
        "task": task,
        "label": label,
        "reference": label,
        "choices": choices,
        "scores": [float(score) for score in scores],
        "prediction": choices[int(np.argmax(scores))],
        "logprob": logprob,
        "tokens": 2,
        "groups": {attribute: group} if group else {},
    }


def _text(task: str, index: int, variant: str, rng: np.random.Generator) -> dict[str, Any]:
    reference = [str(word) for word in rng.choice(WORDS, size=int(rng.integers(12, 30)))]
    skill = SKILL[variant]
    right = rng.random(len(reference)) < 0.3 + 0.35 * skill
    others = [str(word) for word in rng.choice(WORDS, size=len(reference))]
    written = [word if own else other for word, other, own in zip(reference, others, right, strict=True)]
    return {
        "row_id": row_id(task, index),
        "source": SOURCES[task],
        "task": task,
        "label": None,
        "reference": " ".join(reference).capitalize() + ".",
        "choices": None,
        "scores": None,
        "prediction": " ".join(written).capitalize() + ".",
        "logprob": float(-len(reference) * (3.2 - skill) - rng.random()),
        "tokens": len(reference) + 3,
        "groups": {},
    }
