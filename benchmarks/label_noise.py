"""Wrong labels put in on purpose: how many the rules find, how many of the finds are right, and what they decide.

    python benchmarks/label_noise.py FOLDER      (again: what was fetched and embedded is kept)

label_noise: of topics (StereoSet, 4 classes), movies (VADER's film reviews) and dreaddit a share of the labels is
turned into another, DRAWS times. annotators: 2, 3 or 5 of a panel of 20 raters are drawn for each sentence of VADER's
Amazon reviews; right is what most of the panel say (sentences where the panel is tied are left out). preferences:
pairs of film snippets, of which the higher rated one is the better; a share is swapped. No package has tagged words
that may be used freely, so token_labels is not measured here.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import noisy_sets
from clew import paths
from clew.cleaning import Context, annotators, label_noise, preferences, store
from clew.params_clean import (
    AnnotatorsRule,
    EncoderFeatures,
    Features,
    LabelNoiseRule,
    PreferencesRule,
    TfidfFeatures,
)

SHARES = (0.0, 0.1, 0.2, 0.3)
DRAWS = 5
RATER_DRAWS = 20
PAIRS, GAP = 3000, 1.0
KINDS: dict[str, Features] = {
    "tf-idf": TfidfFeatures(kind="tfidf", dimensions=128),
    "MiniLM": EncoderFeatures(kind="encoder", source="minilm", batch_size=32, max_length=128),
}
NOISE = LabelNoiseRule(tasks=("t",), folds=5, threshold=0.5, min_accuracy=0.9, otherwise="downweight")
FIRST_ROUND = LabelNoiseRule(tasks=("t",), folds=5, threshold=0.5, min_accuracy=1.0, otherwise="downweight")
SWAPPED = PreferencesRule(tasks=("t",), folds=5, threshold=0.5, min_accuracy=0.9, otherwise="downweight")
SEVERAL = AnnotatorsRule(tasks=("t",), folds=5, threshold=0.0, otherwise="review")


def quality(found: Sequence[int], wrong: NDArray[np.bool_]) -> tuple[float, float]:
    """Precision (of nothing: nan) and recall (where nothing is wrong: nan) of the rows found."""
    right = int(wrong[list(found)].sum())
    return right / len(found) if found else np.nan, right / wrong.sum() if wrong.any() else np.nan


def span(values: Sequence[float]) -> str:
    """The mean, with the lowest and the highest."""
    return "" if np.isnan(values).any() else f"{np.mean(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def labels(raw: Path) -> None:
    """The table of label_noise."""
    print("\n| set | features | flipped | found | precision | recall | accuracy, estimated | true | actions | s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, load in noisy_sets.SETS.items():
        texts, right = load(raw)
        for kind, features in KINDS.items():
            for share in SHARES:
                runs = []
                started = time.process_time()
                for seed in range(DRAWS if share else 1):
                    noisy, wrong = noisy_sets.flipped(right, share, seed)
                    rows = noisy_sets.labelled(texts, noisy)
                    findings = label_noise.find(rows, NOISE, Context(seed, features, None))
                    told = findings.figures["t"]
                    found = list(findings.by_position)
                    true = true_accuracy(rows, right, Context(seed, features, None))
                    runs.append(
                        (len(found) / len(texts), *quality(found, wrong), told["accuracy"], true, told["action"])
                    )
                seconds = (time.process_time() - started) / len(runs)
                columns = list(zip(*runs, strict=True))
                actions = " ".join(f"{columns[5].count(one)} {one}" for one in sorted(set(columns[5])))
                figures = " | ".join(span(column) for column in columns[1:4])
                print(
                    f"| {name} | {kind} | {share:.0%} | {np.mean(columns[0]):.1%} | {figures} "
                    f"| {np.mean(columns[4]):.2f} | {actions} | {seconds:.1f} |",
                    flush=True,
                )


def true_accuracy(rows: store.Rows, right: Sequence[str], context: Context) -> float:
    """Of the classifier that decides, against right labels: what the estimate is to be near."""
    given = list(rows.values("label"))
    vectors = label_noise.features_of(list(rows.values("text")), len(set(given)), context, "here")
    doubts = label_noise.doubted(vectors, given, [None] * len(given), FIRST_ROUND, context.seed)
    return float((doubts.likeliest == np.array(right, dtype=object)).mean())


def raters(raw: Path) -> None:
    """The table of annotators."""
    texts, panel = noisy_sets.amazon(raw)
    counts = np.stack([(panel == code).sum(axis=1) for code in range(3)], axis=1)
    ordered = np.sort(counts, axis=1)
    clear = ordered[:, 2] > ordered[:, 1]
    right = counts.argmax(axis=1)
    print(f"\n{len(texts):,} sentences, {clear.sum():,} without a tie of the panel, {RATER_DRAWS} draws of raters")
    print("\n| raters | features | majority vote | consensus | difference, 95 % | consensus better in |")
    print("|---|---|---|---|---|---|")
    for number in (2, 3, 5):
        for kind, features in KINDS.items():
            shares = []
            for seed in range(RATER_DRAWS):
                majority, rows = drawn(texts, panel, number, seed)
                findings = annotators.find(rows, SEVERAL, Context(seed, features, None))
                consensus = majority.copy()
                for position, finding in findings.by_position.items():
                    if finding.changes:
                        consensus[position] = noisy_sets.SENTIMENTS.index(finding.changes["label"])
                shares.append([float((one == right)[clear].mean()) for one in (majority, consensus)])
            before, after = np.array(shares).T
            difference = after - before
            low, high = stats.t.interval(
                0.95, RATER_DRAWS - 1, difference.mean(), difference.std(ddof=1) / np.sqrt(RATER_DRAWS)
            )
            print(
                f"| {number} | {kind} | {before.mean():.4f} | {after.mean():.4f} "
                f"| {difference.mean():+.4f} ({low:+.4f} to {high:+.4f}) | {(difference > 0).sum()} of {RATER_DRAWS} |",
                flush=True,
            )


def drawn(
    texts: Sequence[str], panel: NDArray[np.int64], number: int, seed: int
) -> tuple[NDArray[np.int64], store.Rows]:
    """The majority vote of `number` raters drawn for each text (n,), ties drawn, and the rows with that label."""
    draw = np.random.default_rng(seed)
    chosen = np.argsort(draw.random(panel.shape), axis=1)[:, :number]
    said = np.take_along_axis(panel, chosen, axis=1)
    counts = np.stack([(said == code).sum(axis=1) for code in range(3)], axis=1)
    majority = (counts + 0.5 * draw.random(counts.shape)).argmax(axis=1)
    words = noisy_sets.SENTIMENTS
    rows = [
        {
            "text": text,
            "label": words[int(label)],
            "completion": words[int(label)],
            "choices": words,
            "annotations": [
                {"annotator": f"{rater:02}", "label": words[int(one)]} for rater, one in zip(who, what, strict=True)
            ],
        }
        for text, label, who, what in zip(texts, majority, chosen, said, strict=True)
    ]
    return majority, noisy_sets.table(rows)


def pairs(raw: Path) -> None:
    """The table of preferences."""
    print(f"\n{PAIRS:,} pairs of film snippets, ratings {GAP:g} or more apart")
    print("\n| features | swapped | found | precision | recall | accuracy, estimated | actions | left swapped |")
    print("|---|---|---|---|---|---|---|---|")
    made = noisy_sets.film_pairs(raw, PAIRS, GAP, 0)
    for kind, features in KINDS.items():
        for share in SHARES:
            runs = []
            for seed in range(DRAWS if share else 1):
                draw = np.random.default_rng(seed)
                wrong = np.zeros(PAIRS, dtype=bool)
                wrong[draw.choice(PAIRS, round(share * PAIRS), replace=False)] = True
                rows = [
                    {"text": "?", "completion": pair[int(swap)], "rejected": pair[1 - int(swap)]}
                    for pair, swap in zip(made, wrong, strict=True)
                ]
                findings = preferences.find(noisy_sets.table(rows), SWAPPED, Context(seed, features, None))
                found, told = list(findings.by_position), findings.figures["t"]
                left = (wrong.sum() - wrong[found].sum()) / (PAIRS - len(found))
                runs.append((len(found) / PAIRS, *quality(found, wrong), told["accuracy"], left, told["action"]))
            columns = list(zip(*runs, strict=True))
            actions = " ".join(f"{columns[5].count(one)} {one}" for one in sorted(set(columns[5])))
            figures = " | ".join(span(column) for column in columns[1:4])
            print(
                f"| {kind} | {share:.0%} | {np.mean(columns[0]):.1%} | {figures} | {actions} "
                f"| {np.mean(columns[4]):.1%} |",
                flush=True,
            )


def main() -> None:
    """Fetch and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--only", choices=["labels", "raters", "pairs"], nargs="*", default=["labels", "raters", "pairs"]
    )
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    noisy_sets.fetch(paths.RAW)
    for name in asked.only:
        {"labels": labels, "raters": raters, "pairs": pairs}[name](paths.RAW)


if __name__ == "__main__":
    main()
