"""Does cleaning labels make a better model? A fifth of the training labels is made wrong; the test labels are right.

    python benchmarks/cleaning_downstream.py FOLDER      (again: what was fetched is kept)

Trained on: the right labels; the noisy ones; the noisy ones without the rows that label_noise doubts; those rows at
half weight. label_noise (on tf-idf) sees the training rows only. Two models: a logistic regression on tf-idf, and
MiniLM fine-tuned whole with a linear layer on its mean-pooled output. A seed draws the rows, the wrong labels and the
order of training.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

import noisy_sets
from clew import paths
from clew.cleaning import Context, label_noise
from clew.params_clean import LabelNoiseRule, TfidfFeatures
from clew.training import device

FLIPPED = 0.2
WEIGHT = 0.5
TEST = 1000
TFIDF = TfidfFeatures(kind="tfidf", dimensions=128)
RULE = LabelNoiseRule(tasks=("t",), folds=5, threshold=0.5, min_accuracy=0.9, otherwise="downweight")
BATCH, EPOCHS, RATE = 16, 3, 1e-4
MAX_LENGTH = 64
WAYS = ("right labels", "noisy", "doubted dropped", "doubted at half weight")


class Train(NamedTuple):
    """Texts, their label's code and weight: (n,) each."""

    texts: list[str]
    codes: NDArray[np.int64]
    weights: NDArray[np.float64]


Model = Callable[[Train, Sequence[str], int, int], NDArray[np.int64]]
"""(train, texts, classes, seed) → the predicted code of each text."""


def logistic(train: Train, texts: Sequence[str], classes: int, seed: int) -> NDArray[np.int64]:  # noqa: ARG001
    """On tf-idf of words and pairs."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000)
    model.fit(words.fit_transform(train.texts), train.codes, sample_weight=train.weights)
    found: NDArray[np.int64] = model.predict(words.transform(texts))
    return found


def encoder(train: Train, texts: Sequence[str], classes: int, seed: int) -> NDArray[np.int64]:
    """MiniLM, all its weights trained."""
    torch.manual_seed(seed)
    folder = paths.RAW / "minilm"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    where = device.pick("auto")
    body = AutoModel.from_pretrained(folder).to(where.name)
    head = torch.nn.Linear(body.config.hidden_size, classes).to(where.name)
    optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=RATE)
    steps = EPOCHS * -(-len(train.texts) // BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)

    def logits(some: Sequence[str]) -> Any:
        batch = tokenizer(list(some), padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        batch = batch.to(where.name)
        mask = batch["attention_mask"][..., None]
        with where.autocast():
            return head((body(**batch).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)).float()

    draw = np.random.default_rng(seed)
    codes = torch.tensor(train.codes, device=where.name)
    weights = torch.tensor(train.weights, dtype=torch.float32, device=where.name)
    body.train()
    for _ in range(EPOCHS):
        order = draw.permutation(len(train.texts))
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH].tolist()
            losses = torch.nn.functional.cross_entropy(
                logits([train.texts[i] for i in some]), codes[some], reduction="none"
            )
            ((losses * weights[some]).sum() / weights[some].sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    body.eval()
    with torch.inference_mode():
        parts = [logits(texts[start : start + 128]).argmax(dim=1) for start in range(0, len(texts), 128)]
    return torch.cat(parts).cpu().numpy()


MODELS: dict[str, tuple[Model, int, dict[str, int]]] = {
    "logistic regression": (logistic, 20, {"topics": 3000, "movies": 8000, "dreaddit": 2500}),
    "MiniLM, fine-tuned": (encoder, 3, {"topics": 1000, "dreaddit": 800}),
}
"""name → model, seeds, and rows to train on by set."""


def accuracies(model: Model, data: noisy_sets.Labelled, rows: int, seed: int) -> dict[str, float]:
    """The accuracy on TEST rows of a model trained each way."""
    classes = sorted(set(data.labels))
    order = np.random.default_rng(seed).permutation(len(data.texts))
    test, train = order[:TEST].tolist(), order[TEST : TEST + rows].tolist()
    texts, right = [data.texts[i] for i in train], [data.labels[i] for i in train]
    noisy, _ = noisy_sets.flipped(right, FLIPPED, seed)
    findings = label_noise.find(noisy_sets.labelled(texts, noisy), RULE, Context(seed, TFIDF, None))
    doubted = np.zeros(rows, dtype=bool)
    doubted[list(findings.by_position)] = True

    def codes(labels: Sequence[str]) -> NDArray[np.int64]:
        return np.array([classes.index(label) for label in labels])

    ones, given = np.ones(rows), codes(noisy)
    kept = np.flatnonzero(~doubted)
    ways = {
        "right labels": Train(texts, codes(right), ones),
        "noisy": Train(texts, given, ones),
        "doubted dropped": Train([texts[i] for i in kept.tolist()], given[kept], ones[kept]),
        "doubted at half weight": Train(texts, given, np.where(doubted, WEIGHT, 1.0)),
    }
    wanted = codes([data.labels[i] for i in test])
    asked = [data.texts[i] for i in test]
    return {way: float((model(ways[way], asked, len(classes), seed) == wanted).mean()) for way in WAYS}


def interval(values: NDArray[np.float64]) -> str:
    """The mean and its 95 % interval (Student's t)."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.3f} ({values.mean() - half:+.3f} to {values.mean() + half:+.3f})"


def main() -> None:
    """Fetch, train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    noisy_sets.fetch(paths.RAW)
    print(f"| model | set | rows | seeds | {' | '.join(WAYS)} | gain by dropping | by half weight |")
    print(f"|---|---|---|---|{'---|' * len(WAYS)}---|---|")
    for name, (model, seeds, sizes) in MODELS.items():
        for kind, rows in sizes.items():
            data = noisy_sets.SETS[kind](paths.RAW)
            found = [accuracies(model, data, rows, seed) for seed in range(seeds)]
            columns = {way: np.array([one[way] for one in found]) for way in WAYS}
            means = " | ".join(f"{columns[way].mean():.3f}" for way in WAYS)
            gains = " | ".join(interval(columns[way] - columns["noisy"]) for way in WAYS[2:])
            print(f"| {name} | {kind} | {rows:,} | {seeds} | {means} | {gains} |", flush=True)


if __name__ == "__main__":
    main()
